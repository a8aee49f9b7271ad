"""``affidavit keys``: the key that signs the log's checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from affidavit.cli import _common as common
from affidavit.cli.seal import KeyFile, sealer_of, settings
from affidavit.errors import ConfigError, SealError

if TYPE_CHECKING:
    from affidavit.config import AuditConfig
    from affidavit.integrity.note import Signer
    from affidavit.sealer.keys import LogKey
    from affidavit.store.sealing import SealStore

commands = typer.Typer(
    help="The key that signs the log's checkpoints.", no_args_is_help=True, rich_markup_mode=None
)


@commands.command("show")
def show(
    key_file: KeyFile = None,
    uri: common.Uri = None,
    collection: common.Collection = None,
    json: common.Json = False,
) -> None:
    """Show the log's name, its public key, and whether the private one is on this host.

    Exits with 1 where a key is here that is not the log's, or nobody has sealed yet.
    """
    from affidavit.cli import _output as output
    from affidavit.cli._errors import FOUND_WRONG

    config = settings(collection, key_file)
    with common.opened(uri, config) as log:
        said = _described(log.seals, config)
    if json:
        output.as_json(said)
    else:
        output.say(f"log          {said['origin']}, since {output.moment(said['created_at'])} UTC")
        output.say(f"public key   {said['vkey']}")
        output.say(f"key before   {said['first_vkey']}") if said["rotated"] else None
        output.say(f"private key  {said['private']}")
    if said["wrong"]:
        raise typer.Exit(FOUND_WRONG)


@commands.command("export")
def export(
    out: Annotated[
        Path | None, typer.Option("--out", help="Write it to this file.", show_default=False)
    ] = None,
    private: Annotated[
        bool, typer.Option("--private", help="The private key, for a backup; needs --out.")
    ] = False,
    key_file: KeyFile = None,
    uri: common.Uri = None,
    collection: common.Collection = None,
    json: common.Json = False,
) -> None:
    """Print the log's public key, for whoever verifies; or write its private one to a backup."""
    from affidavit.cli import _output as output
    from affidavit.sealer import keys

    if private and out is None:
        msg = "A private key is not printed. Say where to write it: --private --out FILE."
        raise ConfigError(msg)
    config = settings(collection, key_file)
    with common.opened(uri, config) as log:
        store = log.seals
        identity = _identity(store)
        vkey = keys.current_vkey(store, identity)
        if private and out is not None:
            _write(out, _in_memory(keys.open_key(store, config, create=False)))
        elif out is not None:
            out.write_text(f"{vkey}\n", encoding="utf-8")
    if json:
        output.as_json({"origin": identity["origin"], "vkey": vkey, "private": private, "out": out})
    elif out is not None:
        output.say(f"{'The private' if private else 'The public'} key is in {out}.")
    else:
        typer.echo(vkey)


@commands.command("rotate")
def rotate(
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="File for the new private key, where the old one is in seal_key.",
            show_default=False,
        ),
    ] = None,
    key_file: KeyFile = None,
    uri: common.Uri = None,
    collection: common.Collection = None,
    json: common.Json = False,
) -> None:
    """Replace the log's key: the old one signs for the new one, inside the log.

    Needs the old key, and a database user who may insert seals and ledger records. Sealers on other
    hosts stop until they are given the new key.
    """
    from affidavit.cli import _output as output
    from affidavit.sealer import keys
    from affidavit.sealer.run import seal_once

    config = settings(collection, key_file)
    with common.opened(uri, config) as log:
        store = log.seals
        _identity(store)
        old = keys.open_key(store, config, create=False)
        place = keys.next_file(old.path) if old.path is not None else out
        if place is None:
            msg = "The old key is in seal_key. Say where to write the new one: --out FILE."
            raise ConfigError(msg)
        new = keys.following(place, old)
        log.note_key_rotation(old.vkey, new.vkey)
        sealer = sealer_of(store, config)
        seal_once(sealer)
        done = sealer.rotate(new)
        while done is None:
            done = sealer.rotate(new)
        if old.path is not None:
            place = keys.open_key(store, config, create=False).path
    said = {"origin": old.origin, "from": old.vkey, "to": new.vkey, "seal": done.k, "file": place}
    if json:
        output.as_json(said)
        return
    output.say(f"From seal {done.k + 1} on, {old.origin} is signed by the new key in {place}:")
    output.say(new.vkey)
    output.say("Verifiers that pin the old key follow: it has signed for the new one.")


def _identity(store: SealStore) -> dict[str, Any]:
    identity = store.identity()
    if identity is None:
        msg = "Nobody has sealed this log yet. `affidavit seal --once` makes its key."
        raise SealError(msg)
    return identity


def _described(store: SealStore, config: AuditConfig) -> dict[str, Any]:
    from affidavit.sealer import keys

    identity = _identity(store)
    vkey, wrong = keys.current_vkey(store, identity), False
    try:
        key = keys.open_key(store, config, create=False)
        private = str(key.path or "in the setting seal_key")
    except keys.KeyMissing:
        private = "not on this host"
    except SealError as error:
        private, wrong = str(error), True
    return {
        "origin": identity["origin"],
        "created_at": identity["created_at"],
        "vkey": vkey,
        "first_vkey": identity["vkey"],
        "rotated": vkey != identity["vkey"],
        "private": private,
        "wrong": wrong,
    }


def _in_memory(key: LogKey) -> Signer:
    from affidavit.integrity.note import Signer

    if isinstance(key.signer, Signer):
        return key.signer
    msg = "The private key is kept elsewhere and cannot be exported."
    raise SealError(msg)


def _write(path: Path, signer: Signer) -> None:
    from affidavit.sealer.keys import write_key

    if not write_key(path, signer):
        msg = f"{path} exists already, and a key is never overwritten. Choose another file."
        raise ConfigError(msg)

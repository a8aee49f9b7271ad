"""``affidavit redact``: try the rules on any text, see the presets, make and use keys."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from affidavit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from affidavit.config import AuditConfig
    from affidavit.pipeline.redact import Redactor

commands = typer.Typer(
    help="Try the rules for secrets and personal data on any text; keys for them.",
    invoke_without_command=True,
    rich_markup_mode=None,
)

_KEY_BYTES = 32
_OWNER_ONLY = 0o600

Preset = Annotated[
    str | None,
    typer.Option("--preset", help="Instead of the settings in force.", show_default=False),
]


@commands.callback()
def redact(
    context: typer.Context,
    preset: Preset = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show what is done with each kind.")
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Read one JSON string a line; print text and findings.")
    ] = False,
) -> None:
    """Redact standard input line by line, as records would be. Nothing is stored.

    A secret of several lines, such as a private key, is one text only with --json.
    """
    if context.invoked_subcommand is not None:
        return
    config = _config(preset)
    if explain:
        _explain(config, json=json)
        return
    from affidavit.cli import _output as output

    redactor = _redactor(config)
    for line in _lines(json=json):
        text, found = redactor.redact_text(line)
        if json:
            output.as_json({"text": text, "redactions": found}, indent=None)
        else:
            output.raw(_safe(text))


@commands.command("key")
def key(
    path: Annotated[Path, typer.Argument(help="The file to make; it must not exist yet.")],
) -> None:
    """Make a file with a random key, for redaction_key."""
    import secrets

    from affidavit.cli import _output as output

    _write(path, secrets.token_hex(_KEY_BYTES).encode())
    output.say(f"Wrote {path}. Set redaction_key to this path, and keep a copy of the file safe.")


@commands.command("keypair")
def keypair(
    path: Annotated[Path, typer.Argument(help="The file for the private half; a new one.")],
) -> None:
    """Make a pair of keys for sealing; prints the public half."""
    from affidavit.cli import _output as output
    from affidavit.pipeline.redact import seal

    private, public = seal.keypair()
    _write(path, private.hex().encode())
    output.say(f"seal_public_key: {public.hex()}")
    output.note(f"The private half is in {path}: move it to where the application cannot read it.")


@commands.command("token")
def token(
    kind: Annotated[str, typer.Argument(help="email, card, ... or user_id, session_id, ...")],
    value: Annotated[str, typer.Argument(help="The value, as it was written.")],
) -> None:
    """Show which token stands for a value, to search for it."""
    from affidavit.cli import _output as output
    from affidavit.pipeline.redact import act
    from affidavit.pipeline.redact.configured import policy_of
    from affidavit.pipeline.redact.kinds import KINDS
    from affidavit.pipeline.redact.record import KEYED

    held = policy_of(_config(None)).key
    if held is None:
        msg = "There is no key. Set redaction_key as the application has it."
        raise ConfigError(msg)
    if kind in {*KEYED, "ip_address"}:
        output.say(act.identity(held, kind, value))
    elif kind in KINDS:
        output.say(f"<{kind}:{act.pseudonym(held, kind, value)}>")
    else:
        msg = f"{kind!r} is no kind. Use one of {', '.join((*KINDS, *KEYED, 'ip_address'))}."
        raise ConfigError(msg)


@commands.command("open")
def open_(
    path: Annotated[Path, typer.Option("--private-key", help="File of the private half.")],
) -> None:
    """Open sealed originals; reads records as JSON, one a line, as mongoexport writes them.

    Prints the originals by the numbers in the placeholders. Exits with 1 when one does not open.
    """
    import base64

    from affidavit.cli import _output as output
    from affidavit.cli._errors import FOUND_WRONG
    from affidavit.pipeline.redact import seal

    private = _private(path)
    wrong = sealed = 0
    for number, record in enumerate(_records(), 1):
        identity, box = _plain(record.get("_id")), _plain(record.get("sealed"))
        if box is None:
            continue
        sealed += 1
        try:
            originals = seal.open_box(private, base64.b64decode(box), bytes.fromhex(identity or ""))
        except ValueError as error:
            wrong += 1
            output.note(f"Record {number} ({identity}): {error}")
        else:
            output.as_json({"_id": identity, "originals": originals}, indent=None)
    if not sealed:
        output.note("No record of the input has sealed originals: nothing to open.")
    if wrong:
        raise typer.Exit(FOUND_WRONG)


def _config(preset: str | None) -> AuditConfig:
    from affidavit.cli import _common as common

    return common.settings(redaction=preset) if preset else common.settings()


def _redactor(config: AuditConfig) -> Redactor:
    from affidavit.pipeline.redact import Redactor
    from affidavit.pipeline.redact.configured import policy_of

    return Redactor(policy_of(config))


def _explain(config: AuditConfig, *, json: bool) -> None:
    from affidavit.cli import _output as output
    from affidavit.pipeline.redact import PRESETS
    from affidavit.pipeline.redact.configured import policy_of
    from affidavit.pipeline.redact.kinds import KINDS

    policy = policy_of(config)
    own = [kind for kind, _pattern in policy.patterns]
    actions = {kind: policy.action(kind, ()).value for kind in (*KINDS, *own)}
    rules = [
        {
            "path": ".".join(rule.path),
            "actions": "withhold"
            if rule.withhold
            else {k: a.value for k, a in rule.actions.items()},
        }
        for rule in policy.fields
    ]
    if json:
        output.as_json(
            {
                "preset": policy.preset,
                "presets": {name: preset.purpose for name, preset in PRESETS.items()},
                "identity": "keyed" if policy.keyed_identity else "plain",
                "actions": actions,
                "fields": rules,
            }
        )
        return
    for name, preset in PRESETS.items():
        output.say(f"{'*' if name == policy.preset else ' '} {name}: {preset.purpose}")
    output.say(f"identity: {'keyed' if policy.keyed_identity else 'plain'}")
    rows = [(kind, action, KINDS.get(kind, "own pattern")) for kind, action in actions.items()]
    output.table(("kind", "action", "what it is"), rows, wrapped=("what it is",))
    for rule in rules:
        output.say(f"{rule['path']}: {output.cell(rule['actions'])}")


def _lines(*, json: bool) -> Iterator[str]:
    for number, line in enumerate(sys.stdin, 1):
        if not json:
            yield line.removesuffix("\n")
        elif line.strip():
            yield _string(line, number)


def _string(line: str, number: int) -> str:
    import json

    try:
        value = json.loads(line)
    except ValueError:
        value = None
    if not isinstance(value, str):
        msg = f"Line {number} of the input is no JSON string. Write one in double quotes a line."
        raise ConfigError(msg)
    return value


def _records() -> Iterator[dict[str, Any]]:
    import json

    for number, line in enumerate(sys.stdin, 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict):
            msg = f"Line {number} of the input is no JSON object. Write one record a line."
            raise ConfigError(msg)
        yield record


def _plain(value: Any) -> str | None:
    """Read an id or bytes, plain or as MongoDB's extended JSON has them."""
    while isinstance(value, dict):
        value = next((value[k] for k in ("$oid", "$binary", "base64") if k in value), None)
    return value if isinstance(value, str) else None


def _private(path: Path) -> bytes:
    from affidavit.pipeline.redact.seal import KEY_SIZE

    try:
        key = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except (OSError, ValueError) as error:
        msg = f"{path} holds no private key. `affidavit redact keypair` makes such a file."
        raise ConfigError(msg) from error
    if len(key) != KEY_SIZE:
        msg = (
            f"{path} holds {len(key)} bytes, and a private key has {KEY_SIZE}. Use the file that "
            "`affidavit redact keypair` made."
        )
        raise ConfigError(msg)
    return key


def _write(path: Path, content: bytes) -> None:
    import os

    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY)
        with os.fdopen(handle, "wb") as file:
            file.write(content + b"\n")
    except OSError as error:
        msg = f"{path} cannot be made ({error.strerror}). Choose a new file in an existing folder."
        raise ConfigError(msg) from error


def _safe(text: str) -> str:
    from affidavit.cli._text import escape

    return escape(text, keep="\t")

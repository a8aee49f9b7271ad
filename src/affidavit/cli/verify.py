"""``affidavit verify``: whether the log is what it was, and if not, what was done to it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from affidavit.cli import _common as common

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from affidavit.config import AuditConfig
    from affidavit.integrity.compare import Comparer
    from affidavit.integrity.findings import Report
    from affidavit.integrity.trust import Trust
    from affidavit.integrity.verify import Scope
    from affidavit.store.sealing import SealStore

_FROM_CHECKPOINT = "checkpoint"


def verify(  # noqa: PLR0913 - one parameter for each option
    path: Annotated[
        Path | None,
        typer.Argument(
            metavar="[PATH]",
            help="An export or a bundle; without it the live log.",
            show_default=False,
        ),
    ] = None,
    *,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            "--checkpoint", help="A checkpoint that was saved before.", show_default=False
        ),
    ] = None,
    vkey: Annotated[
        str | None,
        typer.Option(
            "--vkey", help="The log's key, as it is known beforehand.", show_default=False
        ),
    ] = None,
    witness: Annotated[
        list[str] | None,
        typer.Option(
            "--witness", help="Key of a witness of the saved checkpoint.", show_default=False
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            help="Read only records from then on (24h, 2026-11-01, …), or, with the word "
            "checkpoint, only what was added after the saved one.",
            show_default=False,
        ),
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option(
            "--sample", min=1, help="Read so many records, at random.", show_default=False
        ),
    ] = None,
    accept_excuses: Annotated[
        bool,
        typer.Option(
            "--accept-excuses",
            help="Take all reasons that the ledger gives for what is gone: you have asked.",
        ),
    ] = False,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Take none of them, retention included."),
    ] = False,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            min=1,
            max=16,
            help="Processes that read a live log's records (else one for each processor, and one "
            "for a small log).",
            show_default=False,
        ),
    ] = None,
    uri: common.Uri = None,
    collection: common.Collection = None,
    json: common.Json = False,
) -> None:
    """Verify the log, or what was taken from it, and name what is wrong.

    The first line is the verdict. Records that are gone for a reason which the ledger gives are
    counted there; where a reason came after the saved checkpoint, nobody has confirmed it yet.

    Exit codes: 0 nothing is wrong; 1 there is nothing to verify; 2 to 4 as everywhere; 10 and more
    for what was found, the gravest of it: 10 foreign_key, 11 forged_checkpoint, 12 rolled_back,
    13 cut_off, 14 altered, 15 missing, 16 deleted_too_early, 17 inserted, 18 reordered,
    19 unsigned_batch, 20 erased_without_record; 21 nothing was found, and reasons that are not
    confirmed. The reading is noted in the ledger.
    """
    from affidavit.cli import _output as output
    from affidavit.cli._errors import FOUND_WRONG
    from affidavit.errors import ConfigError
    from affidavit.integrity.findings import Policy

    if accept_excuses and strict:
        msg = "--accept-excuses takes every reason, --strict takes none: give one of them."
        raise ConfigError(msg)
    config = common.settings(collection)
    scope = _scope(since, sample, checkpoint)
    outside = (checkpoint, vkey, witness or [])
    report = _verified(path, outside, scope, _Place(uri, config, jobs))
    report.policy = Policy.STRICT if strict else Policy.DEFAULT
    if accept_excuses:
        report.policy = Policy.ACCEPT
    if json:
        output.as_json(report.as_dict())
    else:
        _print(report)
    if report.exit_code or not report.size:
        raise typer.Exit(report.exit_code or FOUND_WRONG)


class _Place(NamedTuple):
    """Where the live log is, and how to read it."""

    uri: str | None
    config: AuditConfig
    jobs: int | None


def _verified(
    path: Path | None,
    outside: tuple[Path | None, str | None, list[str]],
    scope: Scope,
    place: _Place,
) -> Report:
    from affidavit.errors import ConfigError
    from affidavit.evidence.inspect import is_bundle, verify_bundle
    from affidavit.integrity.errors import IntegrityError
    from affidavit.integrity.note import VerifierKey
    from affidavit.integrity.trust import Trust

    checkpoint, vkey, witnesses = outside
    saved = None if checkpoint is None else _read(checkpoint)
    pinned_by = "vkey" if vkey is not None else "configuration"
    known = vkey if vkey is not None else place.config.seal_vkey
    try:
        if path is not None and is_bundle(path):
            return verify_bundle(path, known, pinned_by, saved)
        keys = [VerifierKey.parse(key) for key in witnesses]
        trust = Trust(known, pinned_by, saved, keys)
        if path is None:
            return _live(trust, scope, place)
        return _folder(path, trust, scope, place.config)
    except IntegrityError as error:  # a key or checkpoint of the caller's, which is none
        raise ConfigError(str(error)) from error


def _live(trust: Trust, scope: Scope, place: _Place) -> Report:
    from affidavit.anchors.attest import hold_against_anchors

    with common.opened(place.uri, place.config) as log:
        wanted = {"since_ms": scope.since_ms, "sample": scope.sample}
        log.note_access("verify", wanted, None)
        seals = log.seals
        with _comparer(seals, place) as comparer:
            report = _run(seals, trust, scope, comparer)
        hold_against_anchors(seals, place.config, report)
        return report


def _comparer(seals: SealStore, place: _Place) -> AbstractContextManager[Comparer | None]:
    """Start other processes where that is worth it; None: everything in this one."""
    from contextlib import nullcontext

    from affidavit.evidence.apart import LEAST_LEAVES, Apart, processors
    from affidavit.integrity.reader import size_of

    jobs = place.jobs
    if jobs is None:
        last = seals.last_seal() or {}
        jobs = processors() if size_of(last.get("size")) >= LEAST_LEAVES else 1
    return Apart(common.address(place.uri), place.config, jobs) if jobs > 1 else nullcontext()


def _folder(path: Path, trust: Trust, scope: Scope, config: AuditConfig) -> Report:
    from affidavit.anchors.attest import hold_export_against_folder
    from affidavit.evidence.folder import ExportFolder

    folder = ExportFolder(path)
    report = _run(folder, trust, scope)
    folder.check_manifest(report, trust.keys)
    hold_export_against_folder(folder.seals(), config, report)
    return report


def _run(reader: Any, trust: Trust, scope: Scope, comparer: Comparer | None = None) -> Report:
    from datetime import UTC, datetime

    from affidavit.evidence.apart import seldom_collected
    from affidavit.integrity.verify import verify as check

    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    with _Progress() as tell, seldom_collected():
        return check(reader, trust, now_ms=now_ms, scope=scope, progress=tell, comparer=comparer)


class _Progress:
    """One line on a terminal that counts; nothing elsewhere."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()
        self._last = 0

    def __enter__(self) -> Callable[[int, int], None]:
        return self._tell

    def __exit__(self, *_: object) -> None:
        if self._last:
            sys.stderr.write("\r\x1b[K")

    def _tell(self, done: int, _total: int) -> None:
        if self._shown and done - self._last >= 1000:  # noqa: PLR2004 - often enough to see it
            self._last = done
            sys.stderr.write(f"\r{done:,} leaves")
            sys.stderr.flush()


def _scope(since: str | None, sample: int | None, checkpoint: Path | None) -> Scope:
    from affidavit.errors import ConfigError
    from affidavit.integrity.verify import Scope

    if since == _FROM_CHECKPOINT:
        if checkpoint is None:
            msg = "--since checkpoint needs the saved checkpoint: add --checkpoint FILE."
            raise ConfigError(msg)
        return Scope(sample=sample, from_saved=True)
    start = common.when(since, "--since")
    return Scope(None if start is None else int(start.timestamp() * 1000), sample)


def _read(path: Path) -> str:
    from affidavit.errors import ConfigError

    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        msg = f"The saved checkpoint {str(path)!r} cannot be read ({type(error).__name__})."
        raise ConfigError(msg) from error


def _print(report: Report) -> None:
    from affidavit.cli import _output as output
    from affidavit.integrity import words

    verdict = words.verdict(report)
    output.say(verdict)
    output.say("")
    for label, text in words.told(report):
        output.say(f"{label:<8} {text}")
    if report.findings:
        output.say("")
    for finding in words.findings(report):
        output.say(finding)
    more = words.more(report)
    if more:
        output.say(f"and {more} more; --json shows up to 1,000.")
    if report.findings:
        output.say(verdict)
    advice = words.advice(report)
    if advice is not None:
        output.note(advice)

"""``affidavit doctor``: look at everything the log depends on, with a remedy for each finding."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from affidavit.cli import _common as common

if TYPE_CHECKING:
    from collections.abc import Iterator

    from affidavit.config import AuditConfig
    from affidavit.store.findings import Finding

_LOW_BYTES = 512 * 1024**2
_MARKS = {"ok": "✓", "note": "·", "wrong": "✗"}


def doctor(
    uri: common.Uri = None,
    collection: common.Collection = None,
    json: common.Json = False,
) -> None:
    """Check connection, rights, set-up, writers, sealing, anchors, spool, clock and clients.

    Exits with 1 when something is wrong. Reads no records, so nothing is noted in the ledger.
    """
    from affidavit.cli import _output as output
    from affidavit.cli._anchors import findings as anchors
    from affidavit.cli._erasing import findings as erasing
    from affidavit.cli._errors import FOUND_WRONG
    from affidavit.cli._sealing import findings as sealing
    from affidavit.store.findings import Level

    config = common.settings(collection)
    with common.opened(uri, config) as log:
        findings = list(log.examine())
        if not any(f.check == "connection" and f.level is Level.WRONG for f in findings):
            findings += [*sealing(config, log), *anchors(config, log), *erasing(log)]
        findings += [*_spool(config, log.dataset), *_clients(config)]
    if json:
        output.as_json(findings)
    else:
        for finding in findings:
            output.say(f"{_MARKS[finding.level]} {finding.check:14s} {finding.text}")
            if finding.remedy and finding.level is not Level.OK:
                output.say(f"  {'':14s} → {finding.remedy}")
    if any(finding.level is Level.WRONG for finding in findings):
        raise typer.Exit(FOUND_WRONG)


def _spool(config: AuditConfig, dataset: str) -> Iterator[Finding]:
    """Check the local spool directory of this user on this machine."""
    from affidavit.spool.dead import DeadLetters
    from affidavit.spool.owner import (
        dataset_folder,
        default_directory,
        file_system,
        is_network,
        open_to_others,
        orphan_count,
    )
    from affidavit.store.findings import Finding, Level

    directory = Path(config.spool_dir) if config.spool_dir else default_directory()
    existing = next(p for p in (directory, *directory.parents) if p.exists())
    if not os.access(existing, os.W_OK | os.X_OK) or not existing.is_dir():
        yield Finding(
            "spool",
            Level.WRONG,
            f"{directory} cannot be written",
            "Set spool_dir (AFFIDAVIT_SPOOL_DIR) to a writable local directory.",
        )
        return
    if is_network(existing):
        yield Finding(
            "spool",
            Level.WRONG,
            f"{directory} lies on a network file system ({file_system(existing)})",
            "Set spool_dir (AFFIDAVIT_SPOOL_DIR) to a local directory.",
        )
    free = shutil.disk_usage(existing).free
    room = f"{free / 1024**3:.1f} GiB free"
    if free < min(_LOW_BYTES, config.max_spool_bytes):
        yield Finding(
            "spool",
            Level.WRONG,
            f"{directory}: only {room}",
            "Free disk space: a long outage fills up to max_spool_bytes.",
        )
    else:
        yield Finding("spool", Level.OK, f"{directory} can be written, {room}")
    if not directory.exists():
        return
    folder = dataset_folder(directory, dataset)
    for place, problem in open_to_others(directory, folder):
        remedy = f"chmod 700 {place}, or set spool_dir to a directory of this user alone."
        yield Finding("spool", Level.WRONG, problem, remedy)
    left = orphan_count(folder)
    if left:
        yield Finding(
            "spool",
            Level.NOTE,
            f"{left} spools of processes that are gone",
            "The next process that records to this log takes them over.",
        )
    dead = len(DeadLetters(folder).all())
    if dead:
        yield Finding(
            "dead letters",
            Level.WRONG,
            f"{dead} records the database refused",
            "`affidavit dead-letters list` shows why, `… retry` sends them again.",
        )


def _clients(config: AuditConfig) -> Iterator[Finding]:
    """Look at the clients of language models that are installed beside this command."""
    from affidavit.capture.coverage import Coverage, installed
    from affidavit.store.findings import Finding, Level

    found = installed()
    if not found:
        yield Finding("clients", Level.OK, "no client of language models is installed here")
    for client in found:
        known, name = client.known, f"{client.known.package} {client.version}"
        if not client.is_tested:
            yield Finding(
                "clients",
                Level.NOTE,
                f"{name} was not tested; {known.oldest} and newer, below {known.below}, was",
                "Look at a record of each kind of call, or install a tested version.",
            )
        elif known.coverage is Coverage.HOOK:
            yield Finding("clients", Level.OK, f"{name} is recorded by {known.way}")
        elif known.coverage is Coverage.CALLBACK:
            yield Finding("clients", Level.OK, f"{name} is recorded where {known.way} is in place")
        else:
            yield Finding(
                "clients", Level.NOTE, f"{name} is not recorded by itself", f"Use {known.way}."
            )
    uncovered = [client for client in found if client.known.coverage is Coverage.NONE]
    if uncovered and config.guard == "off":
        yield Finding(
            "guard",
            Level.NOTE,
            "the guard is off in these settings",
            "guard='record' leaves an event where an uncovered client is used; "
            "docs/how-to/guard.md.",
        )
    else:
        yield Finding("guard", Level.OK, f"guard={config.guard!r} in these settings")

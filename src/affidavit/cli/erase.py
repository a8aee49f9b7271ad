"""``affidavit erase``: take content out of stored records, and keep their proofs."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from affidavit.cli import _common as common

if TYPE_CHECKING:
    from affidavit.config import AuditConfig
    from affidavit.lifecycle.erasure import Planned, Receipt
    from affidavit.store.erasing import Chosen
    from affidavit.store.mongo.log import MongoLog


def erase(  # noqa: PLR0913 - one parameter for each option
    *,
    user: Annotated[
        str | None,
        typer.Option(
            "--user", help="Everything of this user's calls and events.", show_default=False
        ),
    ] = None,
    call: Annotated[
        list[str] | None,
        typer.Option(
            "--call", help="All records of this call; can be repeated.", show_default=False
        ),
    ] = None,
    record: Annotated[
        list[str] | None,
        typer.Option(
            "--record", help="The record with this _id; can be repeated.", show_default=False
        ),
    ] = None,
    since: common.Since = None,
    until: common.Until = None,
    groups: Annotated[
        str | None,
        typer.Option(
            "--groups",
            help="Only these, with commas: subject,client,request,request_fields,response,"
            "response_fields,error,findings,details,sealed,other. Without it all.",
            show_default=False,
        ),
    ] = None,
    reason: Annotated[
        str | None,
        typer.Option(
            "--reason", help="Goes into the ledger: a ticket, not a name.", show_default=False
        ),
    ] = None,
    finish: Annotated[
        bool, typer.Option("--finish", help="Finish erasures that were interrupted.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be erased; erase nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    uri: common.Uri = None,
    collection: common.Collection = None,
    json: common.Json = False,
) -> None:
    """Erase content on a person's request: what was said, and by whom. Figures and proofs stay.

    Cannot be undone. The ledger is told before and after, and never what was erased or whose it
    was. Needs the role llm_audit_privacy. Exits with 1 where records keep their content: under a
    hold, or altered; and with an erasure that was interrupted, until --finish has finished it.
    """
    from affidavit.cli import _output as output
    from affidavit.cli._errors import FOUND_WRONG
    from affidavit.lifecycle import asked, erasure

    config = common.settings(collection)
    if finish:
        _finish(uri, config, yes=yes, json=json)
        return
    chosen = _chosen(user, call, record, (since, until), config)
    wanted = asked.groups_of(groups)
    said = "" if dry_run else asked.reason_of(reason)
    receipt: Receipt | None = None
    with common.opened(uri, config) as log:
        store = log.erasing
        planned = erasure.plan(store, chosen, wanted)
        if dry_run or not planned.doomed or planned.held:
            noted = {"by": planned.by, "groups": list(planned.groups), "dry_run": dry_run}
            log.note_access("erase", noted, len(planned.doomed))
        if not json:
            _print_plan(planned)
        if planned.doomed and not dry_run and not planned.held:
            _confirm(len(planned.doomed), yes=yes)
            receipt = erasure.carry_out(store, planned, said, _progress())
        waiting = [each.erasure for each in erasure.unfinished(store)]
        letters = _dead_letters(config, log)
        summed = receipt is not None and "subject" in receipt.groups and log.rollups.current()
    if json:
        output.as_json({
            "dry_run": dry_run,
            "planned": _plain(planned),
            "receipt": None if receipt is None else asdict(receipt),
            "interrupted": waiting,
            "dead_letters_here": letters,
            "rollups_to_rebuild": bool(summed),
        })  # fmt: skip
    else:
        _print_end(planned, receipt, letters, dry_run=dry_run)
        if summed:
            output.note(
                "Sums by user still hold the user's id: run `affidavit rollups rebuild` twice, as "
                "there are two sides of them."
            )
        for name in waiting:
            output.note(f"{name} was announced and not finished: `affidavit erase --finish`.")
    if planned.held or planned.altered or waiting or (receipt is not None and receipt.left):
        raise typer.Exit(FOUND_WRONG)


def _finish(uri: str | None, config: AuditConfig, *, yes: bool, json: bool) -> None:
    """Show what was interrupted, ask, and finish it."""
    from affidavit.cli import _output as output
    from affidavit.cli._errors import FOUND_WRONG
    from affidavit.lifecycle import erasure

    receipts = []
    with common.opened(uri, config) as log:
        store = log.erasing
        waiting = erasure.unfinished(store)
        for begun in waiting:
            who = f"{begun.actor.get('os_user')}@{begun.actor.get('host')}"
            output.note(
                f"{begun.erasure}, announced {output.moment(begun.at)} UTC by {who}: "
                f"{', '.join(begun.groups)} of {len(begun.ids):,} records. Reason: {begun.reason}"
            )
        if waiting:
            _confirm(sum(len(begun.ids) for begun in waiting), yes=yes)
            store.check_right()
        receipts = [erasure.finish(store, begun, _progress()) for begun in waiting]
    if json:
        output.as_json([asdict(each) for each in receipts])
    else:
        for receipt in receipts:
            _print_receipt(receipt)
        output.note(f"{len(receipts)} erasures were finished.")
    if any(each.left for each in receipts):
        raise typer.Exit(FOUND_WRONG)


def _chosen(
    user: str | None,
    calls: list[str] | None,
    records: list[str] | None,
    between: tuple[str | None, str | None],
    config: AuditConfig,
) -> Chosen:
    from affidavit.errors import ConfigError
    from affidavit.lifecycle.asked import forms_of
    from affidavit.store.erasing import Chosen

    if sum(map(bool, (user, calls, records))) != 1:
        msg = "Say what to erase with one of --user, --call and --record."
        raise ConfigError(msg)
    start, end = common.span(*between)
    if user is None and (start or end):
        msg = "--since and --until go with --user only."
        raise ConfigError(msg)
    users = () if user is None else forms_of(user, config)
    return Chosen(users, tuple(calls or ()), tuple(records or ()), start, end)


def _confirm(many: int, *, yes: bool) -> None:
    from affidavit.errors import ConfigError

    if yes:
        return
    if not sys.stdin.isatty():
        msg = "Nobody can be asked here. Add --yes; `--dry-run` shows what would be erased."
        raise ConfigError(msg)
    if not typer.confirm(f"Erase this from {many:,} records? It cannot be undone.", err=True):
        raise typer.Exit(1)


def _dead_letters(config: AuditConfig, log: MongoLog) -> int:
    from affidavit._engine.retry import dead_letters

    return len(dead_letters(config, log.dataset).all())


def _plain(planned: Planned) -> dict[str, Any]:
    return {
        "groups": planned.groups,
        "records": len(planned.doomed),
        "by_group": planned.by_group,
        "without_proof": sum(not each.proved for each in planned.doomed),
        "nothing_to_erase": planned.done,
        "altered": planned.altered,
        "held": dict(planned.held),
    }


def _print_plan(planned: Planned) -> None:
    from affidavit.cli import _output as output

    said = _plain(planned)
    output.say(f"records  {said['records']:,} with something to erase")
    for group, count in said["by_group"].items():
        output.say(f"         {count:,} {group}")
    for name, words in (
        ("without_proof", "of another logger or an older version, never proved"),
        ("nothing_to_erase", "with nothing to erase, or nothing more"),
    ):
        if said[name]:
            output.say(f"         {said[name]:,} {words}")


def _print_end(planned: Planned, receipt: Receipt | None, letters: int, *, dry_run: bool) -> None:
    from affidavit.cli import _output as output

    for hold, count in planned.held.items():
        output.note(f"{hold} covers {count} of them: nothing was erased. `affidavit hold list`.")
    for name in planned.altered[:20]:
        output.note(f"{name} was altered, and has no proof to keep: `affidavit verify`.")
    if receipt is not None:
        _print_receipt(receipt)
    elif dry_run:
        output.say("Nothing was erased.")
    if letters:
        output.note(
            f"{letters} dead letters are on this machine, and are not looked at: "
            "`affidavit dead-letters list`."
        )
    if receipt is not None:
        output.note("Backups, earlier exports and spools of other machines are not reached.")


def _print_receipt(receipt: Receipt) -> None:
    from affidavit.cli import _output as output

    output.say(f"receipt  {receipt.erasure}: {receipt.erased:,} erased, and read again")
    for words, count in (("gone meanwhile", receipt.gone), ("done before", receipt.already)):
        if count:
            output.say(f"         {count:,} {words}")
    for name in receipt.left[:20]:
        output.note(f"{name} keeps its content: it is held, or was altered.")


def _progress() -> Any:
    if not sys.stderr.isatty():
        return None

    def tell(done: int, total: int) -> None:
        sys.stderr.write(f"\r{done:,} of {total:,} records\x1b[K" + ("\n" if done == total else ""))
        sys.stderr.flush()

    return tell

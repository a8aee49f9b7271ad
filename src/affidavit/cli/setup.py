"""``affidavit setup``: collections, indexes, validators, views, retention and roles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from affidavit.cli import _common as common

if TYPE_CHECKING:
    from collections.abc import Mapping

    from affidavit.store.planning import Plan, Step


def setup(  # noqa: PLR0913, PLR0917 - one parameter for each option
    plan: Annotated[
        bool, typer.Option("--plan", help="Show what would be done, with commands; do nothing.")
    ] = False,
    enforce: Annotated[
        bool, typer.Option("--enforce", help="From now on refuse documents of older loggers.")
    ] = False,
    change_ttl: Annotated[
        bool,
        typer.Option("--change-ttl", help="Confirm a retention that removes records there are."),
    ] = False,
    roles: Annotated[
        bool, typer.Option("--roles", help="Make the roles too (needs a user administrator).")
    ] = False,
    close_adoption: Annotated[
        bool,
        typer.Option(
            "--close-adoption", help="Commit to an older logger's documents: no more are to come."
        ),
    ] = False,
    ttl_days: Annotated[
        int | None,
        typer.Option("--ttl-days", help="Days until a record expires.", show_default=False),
    ] = None,
    legacy_timezone: common.Timezone = None,
    uri: common.Uri = None,
    collection: common.Collection = None,
    json: common.Json = False,
) -> None:
    """Make what the log needs in MongoDB; safe to repeat.

    Nothing that is there is replaced: what has another shape is reported with the exact command,
    and the exit code is 1.
    """
    from affidavit.cli import _output as output
    from affidavit.cli._errors import FOUND_WRONG
    from affidavit.store.planning import State

    with common.opened(uri, common.settings(collection, legacy_timezone, ttl_days=ttl_days)) as log:
        made = log.plan(enforce=enforce, change_ttl=change_ttl, with_roles=roles)
        progress = None if plan or json else _progress
        result = made if plan else log.apply(made, progress)
        closed = log.close_adoption() if close_adoption and not plan else None
    if json:
        said = {"planned_only": plan, "adoption": result.adoption, "closed": closed}
        output.as_json({**said, "steps": result.steps})
    else:
        _print(result, only_planned=plan)
        _print_closed(closed)
    if result.in_state(State.CLASH):
        raise typer.Exit(FOUND_WRONG)


def _print_closed(closed: Mapping[str, Any] | None) -> None:
    from affidavit.cli import _output as output

    if closed is None:
        return
    output.say(
        f"The adoption is closed since {closed['day']}: a digest of each of {closed['count']:,} "
        "documents is in the ledger. What else comes in their shape is a finding from now on."
    )
    if closed["without_form"]:
        output.note(
            f"{closed['without_form']:,} of them hold values that cannot be hashed; of these only "
            "that they are there is committed to."
        )


_MARKS = {"done": "✓", "todo": "•", "clash": "✗"}


def _progress(step: Step) -> None:
    from affidavit.cli import _output as output

    output.say(f"{_MARKS[step.state]} {step.what}" + (f" ({step.note})" if step.note else ""))


def _print(result: Plan, *, only_planned: bool) -> None:
    from affidavit.cli import _output as output
    from affidavit.store.planning import State

    if only_planned:
        for step in result.steps:
            output.say(f"{_MARKS[step.state]} {step.what}: {step.why}")
            if step.note:
                output.say(f"    {step.note}")
            if step.state is not State.DONE and step.mongosh:
                output.say(f"    {step.mongosh}")
    if result.adoption is not None:
        count, first = result.adoption["count"], output.moment(result.adoption["first"])
        output.say(f"{count} documents of an older logger, from {first} on; they stay as they are.")
    clashes = result.in_state(State.CLASH)
    if clashes and not only_planned:
        output.note("")
        output.note("Not forced; decide and run:")
        for step in clashes:
            output.note(f"  {step.what}: {step.note}")
            if step.mongosh:
                output.note(f"    {step.mongosh}")
    todo = len(result.in_state(State.TODO))
    if only_planned:
        output.say(f"{todo} to do, {len(clashes)} to decide. Nothing was changed.")

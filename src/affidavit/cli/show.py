"""``affidavit show``: everything that is known of one call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from affidavit.cli import _common as common
from affidavit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from affidavit.store.questions import CallRecords


def show(
    call_id: Annotated[str, typer.Argument(help="The call's id, or an old document's _id.")],
    uri: common.Uri = None,
    collection: common.Collection = None,
    legacy_timezone: common.Timezone = None,
    json: common.Json = False,
) -> None:
    """Show one call: request, answer, outcome and annotations. The reading is noted."""
    from affidavit.cli import _output as output
    from affidavit.cli._errors import FOUND_WRONG

    if not call_id.strip():
        msg = "The call's id is empty. `affidavit search` lists calls with theirs, in column id."
        raise ConfigError(msg)
    with common.reading(uri, common.settings(collection, legacy_timezone)) as log:
        found = log.reader.call(call_id)
        log.note_access("show", {"call_id": call_id}, int(found is not None))
    if found is None:
        output.note(f"No call {call_id} in this log. `affidavit search` lists calls.")
        raise typer.Exit(FOUND_WRONG)
    if json:
        output.as_json(found)
        return
    _print(found)


def _print(found: CallRecords) -> None:
    from affidavit.cli import _output as output
    from affidavit.tally.facts import CORRECTION

    call = dict(found.call)
    for text in _cost(found):
        output.say(text)
    request, response = call.pop("request_data", None), call.pop("response_data", None)
    details = call.pop("details", None)
    for name, value in call.items():
        if value is not None:
            output.say(f"{name:22s} {output.cell(value)}")
    for title, part in (("request", request), ("response", response), ("details", details)):
        if isinstance(part, dict) and part:
            _section(title, part)
    for record in found.annotations:
        kind = "correction" if record.get("event_type") == CORRECTION else "annotation"
        title = f"{kind} at {output.moment(record.get('timestamp'))}"
        _section(title, record.get("details") or {})
    if found.intent is None and not found.outcomes:
        output.note(
            "The call itself is not stored: only what was recorded about this id. It may have "
            "expired, or `annotate` was given an id that is none; `affidavit search` lists calls."
        )
    if found.intent is not None and call.get("status") == "initiated":
        output.note("There is no outcome: the call is under way, or its process ended before it.")
    if len(found.outcomes) > 1:
        output.note(f"There are {len(found.outcomes)} outcomes; --json shows them all.")


def _cost(found: CallRecords) -> Iterator[str]:
    """Tell first what a call counts for where its price was corrected, then what was recorded."""
    from affidavit.cli import _output as output
    from affidavit.cli._rows import counted
    from affidavit.tally.facts import CORRECTION

    corrections = [r for r in found.annotations if r.get("event_type") == CORRECTION]
    if not corrections:
        return
    before, now = counted(found.call, ()), counted(found.call, corrections)
    last = corrections[-1]
    book = f" by the price book {last['price_book']}" if last.get("price_book") else ""
    yield f"{'cost USD':22s} {output.cell(now)}, corrected"
    yield f"{'':22s} {output.cell(before)} was recorded; corrected last at"
    yield f"{'':22s} {output.moment(last.get('timestamp'))} UTC{book}"


def _section(title: str, part: Mapping[str, Any]) -> None:
    from affidavit.cli import _output as output
    from affidavit.cli._text import lines

    output.say("")
    output.say(f"── {title}")
    for name, value in part.items():
        text = output.cell(value)
        if "\n" in text or len(text) > 76:  # noqa: PLR2004 - what fits beside a name
            output.say(f"{name}:")
            for row in lines(text).split("\n"):
                output.raw(f"  {row}")
        else:
            output.say(f"{name:22s} {text}")

"""Who uses the models, how much and when; who is new and who stays away; who hits limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from affidavit.analytics.answers import Answer, Row, answer, order, ratio
from affidavit.analytics.questions import ALIASES, Request
from affidavit.errors import ConfigError
from affidavit.store.analytics import Different, Engine, Key, SumQuestion, TooManyGroups
from affidavit.tally.sketch import Sketch
from affidavit.tally.sums import Sums
from affidavit.tally.times import UNITS

LOOK_BACK: Final = timedelta(days=90)
"""So far back, at least, a user must have been silent to count as new."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageRow(Row):
    """Use by one group. Lengths are characters; percentiles are within two percent."""

    calls: int
    completed: int
    failed: int
    aborted: int
    share: float | None
    """Of all calls."""
    users: int
    """Different users; calls without one do not count."""
    sessions: int
    tokens: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    reasoning_tokens: int
    prompt_chars_p50: int | None
    prompt_chars_p90: int | None
    prompt_chars_p99: int | None
    answer_chars_p50: int | None
    answer_chars_p90: int | None
    answer_chars_p99: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageTotals(UsageRow):
    """Use in all."""

    new_users: int | None
    """With calls now, and none for 90 days before (or as long as the time asked for)."""
    lapsed_users: int | None
    """With calls in the time before, of the same length, and none now."""


_OF_HITS: Final = (
    "user_id", "department", "tenant", "environment", "service", "session_id", "conversation_id",
)  # fmt: skip
_SHORT: Final = {name: short for short, name in ALIASES.items()}

PersonState = Literal["new", "kept", "lapsed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonRow(Row):
    """One user, now and before."""

    state: PersonState
    """``new``, ``kept`` or ``lapsed``."""
    calls: int
    calls_before: int
    """In the 90 days before, or as long as the time asked for."""
    first_at: datetime | None
    last_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonTotals(Row):
    """How many there are of each."""

    new: int
    kept: int
    lapsed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitRow(Row):
    """Hits of one kind of rate limit by one group."""

    limit_type: str
    hits: int
    calls: int
    """Finished calls of the group in the same time."""
    per_100_calls: float | None
    last_at: datetime | None


def usage(engine: Engine, request: Request) -> Answer[UsageRow, UsageTotals]:
    """Answer who uses what, and when."""
    question = request.sums("tokens", "prompt", "answer")
    source = engine.source(question)
    groups = dict(engine.sums(question))
    alone = question.by == ("user_id",)  # then each group is one user, and nothing is to be asked
    counted = engine.counted(question, ("session_id",) if alone else ("session_id", "user_id"))
    sessions = counted["session_id"]
    each = {key: int(key[0] is not None) for key in groups} if alone else {}
    users = counted.get("user_id", Different(each, sum(each.values())))
    total = Sums()
    for sums in groups.values():
        total.merge(sums)
    rows = [
        UsageRow(
            key=request.named(key),
            users=users.by.get(key, 0),
            sessions=sessions.by.get(key, 0),
            **_values(sums, total),
        )
        for key, sums in groups.items()
    ]
    notes = []
    new = lapsed = None
    try:
        people = _people(engine, request, groups if alone else None)
        states = [state for state, _now, _before in people.values()]
        new, lapsed = states.count("new"), states.count("lapsed")
    except TooManyGroups:
        notes.append("New and lapsed users are not counted: there are too many users for that.")
    totals = UsageTotals(
        users=users.whole,
        sessions=sessions.whole,
        new_users=new,
        lapsed_users=lapsed,
        **_values(total, total),
    )
    sizes = {id(row): row.calls for row in rows}
    return answer("usage", request, source, order(request, rows, sizes), totals, *notes)


def people(engine: Engine, request: Request) -> Answer[PersonRow, PersonTotals]:
    """Answer who is new, who is still there, and who stays away."""
    source = engine.source(request.sums(by=("user_id",)))
    rows = [
        PersonRow(
            key={"user": who},
            state=state,
            calls=now.calls,
            calls_before=before.calls,
            first_at=before.first_at or now.first_at,
            last_at=now.last_at or before.last_at,
        )
        for who, (state, now, before) in _people(engine, request).items()
    ]
    rows.sort(key=lambda row: (row.state, -row.calls, -row.calls_before, str(row.key["user"])))
    states = [row.state for row in rows]
    totals = PersonTotals(
        new=states.count("new"), kept=states.count("kept"), lapsed=states.count("lapsed")
    )
    back = request.span.since - _look_back(request)
    note = f"New is who had no call between {back:%Y-%m-%d %H:%M} UTC and the time asked for."
    return answer("people", request, source, rows, totals, note)


def limits(engine: Engine, request: Request) -> Answer[LimitRow, LimitRow]:
    """Answer who hits rate limits, how often.

    Raises ConfigError for a key that a hit does not have: it tells who and when.
    """
    asked = ((name, ALIASES.get(name, name)) for name in (*request.names, *request.filters))
    foreign = [name for name, key in asked if not (key in _OF_HITS or key in UNITS)]
    if foreign:
        known = ", ".join(_SHORT.get(name, name) for name in _OF_HITS)
        msg = (
            f"A hit of a rate limit tells who and when: a hit has no {', '.join(foreign)}. "
            f"Use {known}, or a time."
        )
        raise ConfigError(msg)
    question = request.sums()
    source = engine.source(question)
    calls = {key: sums.calls for key, sums in engine.sums(question)}
    rows: list[LimitRow] = []
    last: datetime | None = None
    for key, kind, found in engine.limits(question):
        last = found.last if last is None else max(last, found.last)
        rows.append(_limit(request.named(key), kind, found.hits, calls.get(key, 0), found.last))
    sizes = {id(row): row.hits for row in rows}
    totals = _limit({}, "all", sum(row.hits for row in rows), sum(calls.values()), last)
    return answer("limits", request, source, order(request, rows, sizes), totals)


def _limit(
    key: Mapping[str, str | None], kind: str, hits: int, calls: int, last: datetime | None
) -> LimitRow:
    each = ratio(100 * hits, calls)
    return LimitRow(
        key=key, limit_type=kind, hits=hits, calls=calls, per_100_calls=each, last_at=last
    )


def _values(sums: Sums, total: Sums) -> dict[str, Any]:
    """Give what rows and totals have in common."""
    found: dict[str, Any] = {
        "calls": sums.calls,
        "completed": sums.completed,
        "failed": sums.failed,
        "aborted": sums.aborted,
        "share": ratio(sums.calls, total.calls),
        "tokens": sums.tokens,
        "input_tokens": sums.input_tokens,
        "output_tokens": sums.output_tokens,
        "cached_tokens": sums.cached_tokens,
        "reasoning_tokens": sums.reasoning_tokens,
    }
    for name, sketch in (("prompt", sums.prompt), ("answer", sums.answer)):
        for percent in (50, 90, 99):
            found[f"{name}_chars_p{percent}"] = _characters(sketch, percent)
    return found


def _characters(sketch: Sketch, percent: int) -> int | None:
    found = sketch.percentile(percent)
    return None if found is None else round(found)


def _look_back(request: Request) -> timedelta:
    return max(LOOK_BACK, request.span.since - request.span.before)


def _people(
    engine: Engine, request: Request, groups: Mapping[Key, Sums] | None = None
) -> dict[str, tuple[PersonState, Sums, Sums]]:
    """Find each user's state; of those who stayed away for longer, nothing is said.

    ``groups`` are the sums by user of the time asked for, where they are known already.
    """
    by = ("user_id",)
    known = dict(engine.sums(request.sums(by=by))) if groups is None else groups
    now = {key[0]: sums for key, sums in known.items() if key[0] is not None}
    back = request.span.since - _look_back(request)
    asked: SumQuestion = request.sums(by=by, since=back, until=request.span.since)
    before = {key[0]: sums for key, sums in engine.sums(asked) if key[0] is not None}
    found: dict[str, tuple[PersonState, Sums, Sums]] = {}
    for who, sums in now.items():
        earlier = before.get(who, Sums())
        found[who] = ("kept" if earlier.calls else "new", sums, earlier)
    for who, earlier in before.items():
        last = earlier.last_at
        if who not in now and last is not None and last >= request.span.before:
            found[who] = ("lapsed", Sums(), earlier)
    return found

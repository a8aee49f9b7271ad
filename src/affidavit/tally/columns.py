"""Many finished calls at once, value by value in columns: what a keeper of rollups reads and folds.

A call counts for what :func:`affidavit.tally.facts.fact_of` says, and adds to cells what
:meth:`affidavit.tally.cells.Fold.add` would. Read one by one, most of the time of keeping rollups
went into objects of Python; in columns it is a handful of steps for each call. Tests hold the two
ways together, and the contract suite holds both to the oracle.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import compress
from operator import itemgetter
from typing import Any, Final, NamedTuple, TypeAlias

from affidavit.event import EPOCH, Status, utc_from_ms
from affidavit.tally.cells import ENDINGS, HOURS, MODELS, TEAMS, USERS, Fold, Slots, Times
from affidavit.tally.facts import CUT_OFF, MAX_COUNT, MAX_MS, count_of, ms_of, nano_of, text_of
from affidavit.tally.pace import HURRY, Pace
from affidavit.tally.sketch import bucket_of

Row: TypeAlias = Sequence[Any]
"""One finished call: the values of :data:`OWN` in their order, then those of :data:`ANSWERED` and
of :data:`ASKED` as sequences, None for either where the record has no such part."""

OWN: Final = (
    "seq", "timestamp", "success", "status", "provider", "model", "user_id", "department", "tenant",
    "error_type", "finish_reason", "cost_status", "input_tokens", "output_tokens", "cached_tokens",
    "reasoning_tokens", "time_to_first_token_ms",
)  # fmt: skip
"""Values as they are stored, but for ``timestamp``: milliseconds since 1970 as a float, None where
it is no time."""

ANSWERED: Final = (
    "provider_used", "tokens_used", "cost_usd", "processing_time_ms", "response_length", "retries",
    "tool_calls",
)  # fmt: skip
"""Of ``response_data``. ``cost_usd`` is a float, whole nano-dollars, or a sequence with the value
as it is stored; ``tool_calls`` says whether there is such a field."""

ASKED: Final = ("provider", "model", "message_length")
"""Of ``request_data``."""

_NO_ANSWER: Final = (None,) * 2 + ((None,),) + (None,) * 3 + (False,)
_NOT_ASKED: Final = (None,) * len(ASKED)
_MS: Final = timedelta(milliseconds=1)
_FIRST_MS: Final = (datetime(1, 1, 3, tzinfo=UTC) - EPOCH) / _MS
_END_MS: Final = (datetime(9999, 12, 30, tzinfo=UTC) - EPOCH) / _MS
"""Times outside of these are no times in every zone."""

_QUARTER_MS: Final = 15 * 60 * 1000
_QUARTERS_MS: Final = (datetime(1973, 1, 1, tzinfo=UTC) - EPOCH) // _MS
"""From then on all slots of every zone begin at quarters of an hour."""

_COMPLETED: Final = Status.COMPLETED.value
_ABORTED: Final = Status.ABORTED.value
_FAILED: Final = Status.FAILED.value

Texts = list[str | None]
Numbers = list[int | None]
Columns = Sequence[tuple[str, list[int]]]


class Table:
    """Calls that are to be folded together, each with the seal that holds it.

    They are kept in columns from the beginning: a row is three objects that the interpreter's
    garbage collector would look at again and again.
    """

    def __init__(self) -> None:
        self._columns: list[list[Any]] = [[] for _ in (*OWN, *ANSWERED, *ASKED)]
        self._seals: list[int] = []

    def __len__(self) -> int:
        return len(self._seals)

    def extend(self, rows: Sequence[Row], seals: Iterable[int]) -> None:
        """Add calls."""
        if not rows:
            return
        *own, answers, asked = zip(*rows, strict=True)
        answered = zip(*[_NO_ANSWER if each is None else each for each in answers], strict=True)
        asked_for = zip(*[_NOT_ASKED if each is None else each for each in asked], strict=True)
        for column, more in zip(self._columns, (*own, *answered, *asked_for), strict=True):
            column.extend(more)
        self._seals += seals

    def cut(self, before: int) -> None:
        """Leave out what is in seal ``before`` and those after it."""
        self._keep([k < before for k in self._seals])

    def _keep(self, kept: list[bool]) -> None:
        if not all(kept):
            self._columns = [list(compress(column, kept)) for column in self._columns]
            self._seals = list(compress(self._seals, kept))

    def fold(self, into: Fold, pace: Pace = HURRY) -> None:
        """Add all of them to cells; what is no call, or too old, is left out for good."""
        since_ms = _FIRST_MS if into.since is None else (into.since - EPOCH) / _MS
        since_ms = max(_FIRST_MS, since_ms)
        times, successes = (
            self._columns[OWN.index("timestamp")],
            self._columns[OWN.index("success")],
        )
        self._keep(
            [
                type(ms) is float and since_ms <= ms < _END_MS and type(good) is bool
                for ms, good in zip(times, successes, strict=True)
            ]
        )
        if self._seals:
            _Folding(self._columns, self._seals, into, pace).run()


class _Folding:
    """The columns of some calls, and their way into cells."""

    def __init__(self, columns: list[list[Any]], seals: list[int], into: Fold, pace: Pace) -> None:
        self._into = into
        self._pace = pace
        self._k = seals
        more = len(OWN) + len(ANSWERED)
        own = dict(zip(OWN, columns, strict=False))
        answered = dict(zip(ANSWERED, columns[len(OWN) : more], strict=True))
        asked = dict(zip(ASKED, columns[more:], strict=True))
        self._at_ms = [int(ms) for ms in own["timestamp"]]
        self._texts = {
            name: _text(own[name])
            for name in (
                "user_id", "department", "tenant", "error_type", "finish_reason", "cost_status"
            )
        }  # fmt: skip
        self._texts["provider"] = _text(
            _first(_first(answered["provider_used"], own["provider"]), asked["provider"])
        )
        self._texts["model"] = _text(_first(own["model"], asked["model"]))
        done = own["success"]
        self._texts["status"] = [
            _COMPLETED if good else _ABORTED if said == _ABORTED else _FAILED
            for good, said in zip(done, own["status"], strict=True)
        ]
        pace.rest()
        self._measure(own, answered, asked)

    def _measure(
        self,
        own: dict[str, list[Any]],
        answered: dict[str, list[Any]],
        asked: dict[str, list[Any]],
    ) -> None:
        """Make the columns of counters and of buckets: plain ones, those of time, and the rest."""
        done: list[bool] = own["success"]
        status, finish = self._texts["status"], self._texts["finish_reason"]
        incoming, outgoing = _counts(own["input_tokens"]), _counts(own["output_tokens"])
        tokens = [
            told if told is not None
            else None if came is None and went is None else (came or 0) + (went or 0)
            for told, came, went in zip(
                _counts(answered["tokens_used"]), incoming, outgoing, strict=True
            )
        ]  # fmt: skip
        nano = _nanos(answered["cost_usd"])
        asked_chars = _counts(asked["message_length"])
        chars = _counts(answered["response_length"])
        retries = _zeros(_counts(answered["retries"]))
        cuts = {text: (text or "").lower() in CUT_OFF for text in set(finish)}
        estimated = self._texts["cost_status"]
        self._pace.rest()
        self._plain = _some(
            ("calls", [1] * len(done)),
            ("completed", [text == _COMPLETED for text in status]),
            ("aborted", [text == _ABORTED for text in status]),
            ("failed", [text == _FAILED for text in status]),
            ("retried", [n > 0 for n in retries]),
            ("retries", retries),
            ("empty", [
                good and n == 0 and not tools
                for good, n, tools in zip(done, chars, answered["tool_calls"], strict=True)
            ]),
            ("cut", [cuts[text] for text in finish]),
            ("unpriced", [
                cost is None and (good or bool(n))
                for cost, good, n in zip(nano, done, tokens, strict=True)
            ]),
            ("priced", [cost is not None for cost in nano]),
            ("cost_nano", _zeros(nano)),
            ("estimated", [
                cost is not None and text == "estimated"
                for cost, text in zip(nano, estimated, strict=True)
            ]),
            ("tokens", _zeros(tokens)),
            ("input_tokens", _zeros(incoming)),
            ("output_tokens", _zeros(outgoing)),
            ("cached_tokens", _zeros(_counts(own["cached_tokens"]))),
            ("reasoning_tokens", _zeros(_counts(own["reasoning_tokens"]))),
        )  # fmt: skip
        self._pace.rest()
        latency = _times(answered["processing_time_ms"], done)
        first = _times(own["time_to_first_token_ms"], done)
        speed = [
            went * 1000.0 / ms if went and ms else None
            for went, ms in zip(outgoing, latency, strict=True)
        ]
        self._timed = _some(("latency_us", _micros(latency)), ("ttft_us", _micros(first)))
        self._timed_in = [_buckets("latency", latency), _buckets("ttft", first)]
        self._pace.rest()
        self._rest = _some(("prompt_chars", _zeros(asked_chars)), ("answer_chars", _zeros(chars)))
        self._rest_in = [
            _buckets("speed", speed),
            _buckets("spread", nano),
            _buckets("prompt", asked_chars),
            _buckets("answer", chars),
        ]

    def run(self) -> None:
        """Add everything to cells."""
        quarters = [ms - ms % _QUARTER_MS if ms >= _QUARTERS_MS else ms for ms in self._at_ms]
        slots = {ms: self._into.slots(utc_from_ms(ms)) for ms in set(quarters)}
        hours = {ms: slot.of(HOURS)[1] for ms, slot in slots.items()}
        days = {ms: slot.of(MODELS)[1] for ms, slot in slots.items()}
        of_hour, of_day = [hours[ms] for ms in quarters], [days[ms] for ms in quarters]
        self._by_ending(of_hour, [slots[ms] for ms in quarters])
        self._by_user(of_day, [slots[ms] for ms in quarters])

    def _by_ending(self, hours: list[str], slots: list[Slots]) -> None:
        """Sort calls by hour, model and ending: the finest of what three shapes are made of."""
        for key, places in self._pace.through(self._groups(hours, ENDINGS.keys)):
            slot, ending = slots[places[0]], key[1:]
            counted = self._sum(places, (*self._plain, *self._timed), self._timed_in)
            rest = self._sum(places, self._rest, self._rest_in)
            for shape, values in ((HOURS, ending[:2]), (ENDINGS, ending), (MODELS, ending[:2])):
                held = self._into.cell(shape, slot, values, counted.k).own
                held.absorb(counted.counts, counted.times)
                if shape is MODELS:
                    held.absorb(rest.counts, counted.times)

    def _by_user(self, days: list[str], slots: list[Slots]) -> None:
        """Sort calls by day and user, and by day and team."""
        self._users(days, slots)
        columns = (*self._plain, *self._timed, *self._rest)
        named = (*self._timed_in, *self._rest_in)
        for key, places in self._pace.through(self._groups(days, TEAMS.keys)):
            counted = self._sum(places, columns, named)
            held = self._into.cell(TEAMS, slots[places[0]], key[1:], counted.k).own
            held.absorb(counted.counts, counted.times)

    def _users(self, days: list[str], slots: list[Slots]) -> None:
        """Sort calls by day and user: many groups of a few calls, so all are added up at once."""
        places: dict[Any, int] = {}
        keys = zip(days, *(self._texts[name] for name in USERS.keys), strict=True)
        groups = [places.setdefault(key, len(places)) for key in keys]
        names = [name for name, _ in self._plain]
        sums = []
        for _, column in self._plain:
            added = [0] * len(places)
            for group, value in zip(groups, column, strict=True):
                added[group] += value
            sums.append(added)
            self._pace.rest()
        firsts, lasts, ks = [_END_MS] * len(places), [_FIRST_MS] * len(places), [-1] * len(places)
        slot_of: list[Slots] = [slots[0]] * len(places)
        # Comparing is three times as quick as asking min() and max() of each call.
        for group, ms, k, slot in zip(groups, self._at_ms, self._k, slots, strict=True):
            if ms < firsts[group]:  # noqa: PLR1730 - see above
                firsts[group] = ms
            if ms > lasts[group]:  # noqa: PLR1730
                lasts[group] = ms
            if k > ks[group]:  # noqa: PLR1730
                ks[group] = k
            slot_of[group] = slot
        rows = zip(places, slot_of, ks, firsts, lasts, zip(*sums, strict=True), strict=True)
        for key, slot, k, first, last, values in self._pace.through(rows):
            held = self._into.cell(USERS, slot, key[1:], k).day(slot.day_of_month)
            counts = {name: value for name, value in zip(names, values, strict=True) if value}
            held.absorb(counts, Times(int(first), int(last)))

    def _groups(
        self, slots: list[str], names: Iterable[str]
    ) -> Iterable[tuple[tuple[Any, ...], list[int]]]:
        """Sort the places of calls by slot and keys."""
        found: dict[Any, list[int]] = defaultdict(list)
        for place, key in enumerate(zip(slots, *(self._texts[n] for n in names), strict=True)):
            found[key].append(place)
        return found.items()

    def _sum(self, places: list[int], columns: Columns, named: Iterable[Texts] = ()) -> _Summed:
        """Add up the calls at some places, and leave out what is zero in every one of them."""
        if len(places) == 1:
            [place] = places
            found = {name: value for name, column in columns if (value := column[place])}
            found |= {text: 1 for texts in named if (text := texts[place]) is not None}
            at_ms = self._at_ms[place]
            return _Summed(found, Times(at_ms, at_ms), self._k[place])
        pick = itemgetter(*places)
        found = {}
        for name, column in columns:
            values = pick(column)
            if any(values):
                found[name] = sum(values)
        for texts in named:
            counted = Counter(pick(texts))
            counted.pop(None, None)
            found.update(counted)
        times = pick(self._at_ms)
        return _Summed(found, Times(min(times), max(times)), max(pick(self._k)))


class _Summed(NamedTuple):
    """What some calls count for, when they were, and the newest seal of theirs."""

    counts: dict[str, int]
    times: Times
    k: int


def _some(*columns: tuple[str, list[Any]]) -> Columns:
    """Leave out columns in which nothing is; a database does not add truth up."""
    return [(name, list(map(int, column))) for name, column in columns if any(column)]


def _first(values: Sequence[Any], others: Sequence[Any]) -> list[Any]:
    return [b if a is None else a for a, b in zip(values, others, strict=True)]


def _text(column: Sequence[Any]) -> Texts:
    return [v if v is None or type(v) is str else text_of(v) for v in column]


def _counts(column: Sequence[Any]) -> Numbers:
    return [
        v if v is None or (type(v) is int and 0 <= v < MAX_COUNT) else count_of(v) for v in column
    ]


def _zeros(column: Sequence[int | None]) -> list[int]:
    return [v or 0 for v in column]


def _nanos(column: Sequence[Any]) -> Numbers:
    return [int(v) if type(v) is float else nano_of(v[0]) for v in column]


def _times(column: Sequence[Any], done: Sequence[bool]) -> list[float | None]:
    """Read durations; only those of calls that succeeded count."""
    return [
        None if v is None or not good
        else v if type(v) is float and 0 <= v < MAX_MS else ms_of(v)
        for v, good in zip(column, done, strict=True)
    ]  # fmt: skip


def _micros(column: Sequence[float | None]) -> list[int]:
    return [0 if ms is None else round(ms * 1000) for ms in column]


def _buckets(sketch: str, column: Sequence[float | None]) -> Texts:
    """Name the bucket of each value, as a cell's field."""
    values = set(column)
    values.discard(None)
    named: dict[float | None, str | None] = {v: f"{sketch}.{bucket_of(v)}" for v in values}  # type: ignore[arg-type]
    named[None] = None
    return [named[value] for value in column]

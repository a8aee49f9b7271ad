"""What every engine answers about finished calls: sums by keys, over a span of time.

Engines: plain Python over facts (the tests' oracle), MongoDB's records, MongoDB's rollups. They
give equal answers, which tests/contract holds them to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Final, Literal, NamedTuple, Protocol, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from affidavit.errors import ConfigError
from affidavit.tally.facts import CONTENT, FIELD, FIELD_NAME, KEYS, Fact, key_of
from affidavit.tally.sums import MEASURES, Sums
from affidavit.tally.times import UNITS

Key: TypeAlias = tuple[str | None, ...]
"""One value for each name in ``SumQuestion.by``; None where a call has none."""

MAX_KEYS: Final = 4
MAX_GROUPS: Final = 50_000
"""Groups that one question may have; beyond it an engine raises :class:`TooManyGroups`."""


class TooManyGroups(ConfigError):  # noqa: N818 - what the question has, as an operator says it
    """The question has more groups than an answer may hold. The text names what to do."""

    def __init__(self, by: tuple[str, ...], limit: int) -> None:
        super().__init__(
            f"By {', '.join(by) or 'nothing'} there are more than {limit:,} groups in that time. "
            "Ask for a shorter time, for fewer keys, or choose with a filter."
        )


@dataclass(frozen=True)
class SumQuestion:
    """Sums of the calls in a span of time, by keys.

    ``since`` is included, ``until`` is not; both aware. ``by`` names keys of
    :data:`affidavit.tally.facts.KEYS`, ``field:<name>``, and time units, which are those of
    ``zone``. ``filters`` chooses calls by equality; None chooses those without a value. An engine
    may leave out every measure that is not asked for, but for the counts.

    ``within`` is what whoever asks may see: for each key the values that a call must have one of.
    No filter widens it, and a call without a value lies outside.

    Raises ConfigError for an unknown key, measure or zone, and for a span that ends before it
    begins.

    ``needs`` names counters where not all of the measures' are looked at: an engine may leave out
    the others, and the times of the first and last call. Calls are always counted.
    """

    since: datetime
    until: datetime
    by: tuple[str, ...] = ()
    filters: Mapping[str, str | None] = field(default_factory=dict)
    zone: str = "UTC"
    measures: frozenset[str] = frozenset({"counts", "cost", "tokens"})
    limit: int = MAX_GROUPS
    within: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    needs: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.since.tzinfo is None or self.until.tzinfo is None:
            msg = "since and until must have a time zone, as in datetime.now(timezone.utc)."
            raise ConfigError(msg)
        if self.since >= self.until:
            msg = (
                f"The time asked for ends ({self.until:%Y-%m-%d %H:%M:%S%z}) before it begins "
                f"({self.since:%Y-%m-%d %H:%M:%S%z}). Exchange or correct the two."
            )
            raise ConfigError(msg)
        twice = next((name for n, name in enumerate(self.by) if name in self.by[:n]), None)
        if twice is not None:
            msg = f"Group by each key once: {twice} is named twice."
            raise ConfigError(msg)
        if len(self.by) > MAX_KEYS:
            msg = f"Group by at most {MAX_KEYS} keys; these are {', '.join(self.by)}."
            raise ConfigError(msg)
        for name in self.by:
            check_key(name)
        for name in (*self.filters, *self.within):
            check_key(name, times=False)
        unknown = self.measures - MEASURES.keys()
        if unknown:
            msg = f"Unknown measures {', '.join(sorted(unknown))}: use {', '.join(MEASURES)}."
            raise ConfigError(msg)
        foreign = self.needs - _counters(self.measures)
        if foreign:
            msg = f"{', '.join(sorted(foreign))}: no counters of the measures that are asked for."
            raise ConfigError(msg)
        _ = self.tz

    @cached_property
    def tz(self) -> ZoneInfo:
        """The time zone itself."""
        try:
            return ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            msg = f"{self.zone!r} is no time zone. Write one as 'Europe/Madrid' or 'UTC'."
            raise ConfigError(msg) from error

    @cached_property
    def counters(self) -> frozenset[str]:
        """The counters that an answer must have."""
        return self.needs | {"calls"} if self.needs else _counters(self.measures)

    def wants(self, fact: Fact) -> bool:
        """Whether a call belongs to the question."""
        if not self.since <= fact.at < self.until:
            return False
        if any(key_of(fact, name, self.tz) not in allowed for name, allowed in self.within.items()):
            return False
        return all(key_of(fact, name, self.tz) == value for name, value in self.filters.items())

    def key(self, fact: Fact) -> Key:
        """Tell which group a call belongs to."""
        return tuple(key_of(fact, name, self.tz) for name in self.by)


def _counters(measures: frozenset[str]) -> frozenset[str]:
    return frozenset(name for measure in measures | {"counts"} for name in MEASURES[measure])


class Source(NamedTuple):
    """Where sums come from."""

    name: Literal["rollups", "records"]
    as_of: datetime
    """What was stored by then is counted."""
    notes: tuple[str, ...] = ()
    """What the reader of an answer should know: why not from rollups, what is left out."""


class Dear(NamedTuple):
    """One call, and what it cost with its corrections."""

    fact: Fact
    cost_nano: int


class Different(NamedTuple):
    """How many different values a key has: in each group, and in all."""

    by: dict[Key, int]
    whole: int


class Scores(NamedTuple):
    """Scores of one name: how many, their sum in millionths, and the sum of those squared."""

    n: int
    micro: int
    micro_squares: int


class Limits(NamedTuple):
    """Rate-limit hits of one kind: how many, and when the last one was."""

    hits: int
    last: datetime


class Totals(Protocol):
    """Gives sums by key."""

    def source(self, question: SumQuestion) -> Source:
        """Say where the sums of this question would come from."""

    def sums(self, question: SumQuestion) -> Iterator[tuple[Key, Sums]]:
        """Give each group once, in no order; groups without calls or corrections are absent.

        Raises TooManyGroups beyond ``question.limit``, StoreUnavailable when it takes too long,
        StoreRefused without the right to read.
        """


class Engine(Totals, Protocol):
    """Answers everything that is asked of finished calls; sums are most of it.

    Each method raises what ``sums`` raises.
    """

    def highest(self, question: SumQuestion, counter: str, count: int) -> list[tuple[Key, Sums]]:
        """Give the groups with the highest value of a counter, the highest first.

        Groups that have the same are in the order of their keys.
        """

    def only(self, question: SumQuestion, keys: Sequence[Key]) -> Iterator[tuple[Key, Sums]]:
        """Give the sums of some groups; those without calls are absent."""

    def together(self, questions: Sequence[SumQuestion]) -> list[dict[Key, Sums]]:
        """Give the sums of several questions: what rollups answer, as of one moment."""

    def distinct(self, question: SumQuestion, of: str) -> Iterator[tuple[Key, int]]:
        """Count the different values of a key in each group; calls without one do not count."""

    def counted(self, question: SumQuestion, of: Sequence[str]) -> Mapping[str, Different]:
        """Count the different values of several keys; calls without one do not count."""

    def dearest(self, question: SumQuestion, count: int) -> list[Dear]:
        """List the calls that cost most, corrections included, the dearest first."""

    def corrected(self, question: SumQuestion) -> Iterator[tuple[Key, int]]:
        """Count the corrections of the calls' costs by group; groups without one are absent."""

    def scores(self, question: SumQuestion) -> Iterator[tuple[Key, str, Scores]]:
        """Add up the scores that annotations gave to the calls, by group and name of the score.

        Truth counts as 1 and 0; values that are no numbers are left out.
        """

    def limits(self, question: SumQuestion) -> Iterator[tuple[Key, str, Limits]]:
        """Count rate-limit hits of that time, by group and kind of limit.

        Keys are read of the record of the hit: it has dimensions, and no model.
        """


def highest_of(
    rows: Iterable[tuple[Key, Sums]], counter: str, count: int
) -> list[tuple[Key, Sums]]:
    """Rank groups as :meth:`Engine.highest` does; what comes twice is added up."""
    merged: dict[Key, Sums] = {}
    for key, sums in rows:
        if key in merged:
            merged[key].merge(sums)
        else:
            merged[key] = sums

    def rank(row: tuple[Key, Sums]) -> tuple[int, tuple[str, ...]]:
        return -getattr(row[1], counter), tuple(value or "" for value in row[0])

    return sorted(merged.items(), key=rank)[:count]


def check_key(name: str, *, times: bool = True, known: Sequence[str] = KEYS) -> None:
    """Raise ConfigError unless calls can be grouped (with times), or chosen, by this key.

    ``known`` is how the keys are named to whoever asked.
    """
    if name in KEYS or (times and name in UNITS):
        return
    own = name.removeprefix(FIELD)
    if name.startswith(FIELD) and FIELD_NAME.fullmatch(own):
        if own in CONTENT:
            msg = f"{name!r} holds content or measures, and calls are not grouped by those."
            raise ConfigError(msg)
        return
    allowed = ", ".join((*known, *(UNITS if times else ())))
    msg = f"{name!r} is no key. Use one of {allowed}, or field:<name> for a field of your own."
    raise ConfigError(msg)

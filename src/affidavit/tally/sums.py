"""Sums over calls: whole numbers and sketches only, so no order of adding changes anything."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from affidavit.event import EPOCH, Status, utc_from_ms
from affidavit.tally.facts import Correction, Fact
from affidavit.tally.sketch import Sketch

MEASURES: Final[Mapping[str, tuple[str, ...]]] = {
    "counts": ("calls", "completed", "failed", "aborted", "retried", "retries", "empty", "cut"),
    "cost": ("cost_nano", "priced", "unpriced", "estimated"),
    "tokens": ("tokens", "input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens"),
    "latency": ("latency_us",),
    "ttft": ("ttft_us",),
    "speed": (),
    "prompt": ("prompt_chars",),
    "answer": ("answer_chars",),
    "spread": (),
}
"""What can be asked for, each with its counters. A name in :data:`SKETCHES` has a sketch too."""

SKETCHES: Final = ("latency", "ttft", "speed", "prompt", "answer", "spread")
"""Distributions: milliseconds twice, tokens/s, characters twice, nano-dollars of a call."""

COUNTERS: Final = tuple(name for names in MEASURES.values() for name in names)


@dataclass(slots=True)
class Sums:
    """What some calls add up to. Every counter is a whole number.

    ``priced`` calls have a cost; ``unpriced`` ones should have one and have not; ``estimated`` ones
    have a cost that is a guess. ``cached_tokens`` are of the input, ``reasoning_tokens`` of the
    output. ``cost_nano`` is in nano-dollars, ``latency_us`` and ``ttft_us`` in microseconds.
    """

    calls: int = 0
    completed: int = 0
    failed: int = 0
    aborted: int = 0
    retried: int = 0
    retries: int = 0
    empty: int = 0
    cut: int = 0
    cost_nano: int = 0
    priced: int = 0
    unpriced: int = 0
    estimated: int = 0
    tokens: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    latency_us: int = 0
    ttft_us: int = 0
    prompt_chars: int = 0
    answer_chars: int = 0
    first_ms: int | None = None
    """Time of the first call, in milliseconds since 1970; None without calls."""
    last_ms: int | None = None
    latency: Sketch = field(default_factory=Sketch)
    """Of calls that succeeded; a failure is often quick, and would flatter."""
    ttft: Sketch = field(default_factory=Sketch)
    speed: Sketch = field(default_factory=Sketch)
    prompt: Sketch = field(default_factory=Sketch)
    answer: Sketch = field(default_factory=Sketch)
    spread: Sketch = field(default_factory=Sketch)
    """Nano-dollars of each priced call as it was recorded; corrections do not move it."""

    @classmethod
    def of(cls, facts: Iterable[Fact | Correction]) -> Sums:
        """Add up some calls and corrections."""
        sums = cls()
        for fact in facts:
            sums.add(fact)
        return sums

    def add(self, fact: Fact | Correction) -> None:
        """Count a call, or what a correction changes."""
        if isinstance(fact, Correction):
            self._correct(fact)
            return
        self.calls += 1
        self.completed += fact.status == Status.COMPLETED
        self.aborted += fact.status == Status.ABORTED
        self.failed += fact.status not in {Status.COMPLETED, Status.ABORTED}
        self.retries += fact.retries
        self.retried += fact.retries > 0
        self.empty += fact.is_empty
        self.cut += fact.is_cut
        at_ms = (fact.at - EPOCH) // timedelta(milliseconds=1)
        self._span(at_ms, at_ms)
        self._add_cost(fact)
        self.tokens += fact.tokens or 0
        self.input_tokens += fact.input_tokens or 0
        self.output_tokens += fact.output_tokens or 0
        self.cached_tokens += fact.cached_tokens or 0
        self.reasoning_tokens += fact.reasoning_tokens or 0
        if fact.is_completed:
            self._add_times(fact)
        if fact.prompt_chars is not None:
            self.prompt_chars += fact.prompt_chars
            self.prompt.add(fact.prompt_chars)
        if fact.answer_chars is not None:
            self.answer_chars += fact.answer_chars
            self.answer.add(fact.answer_chars)

    def merge(self, other: Sums) -> None:
        """Add the sums of other calls."""
        for name in COUNTERS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in SKETCHES:
            getattr(self, name).merge(getattr(other, name))
        self._span(other.first_ms, other.last_ms)

    def only(self, measures: Iterable[str]) -> Sums:
        """Copy what belongs to some measures; the counts and the times always stay."""
        kept = Sums(first_ms=self.first_ms, last_ms=self.last_ms)
        for measure in {"counts", *measures}:
            for name in MEASURES[measure]:
                setattr(kept, name, getattr(self, name))
            if measure in SKETCHES:
                getattr(kept, measure).merge(getattr(self, measure))
        return kept

    def counters(self) -> dict[str, int]:
        """Give the counters by name."""
        return {name: getattr(self, name) for name in COUNTERS}

    @property
    def cost_usd(self) -> Decimal:
        """The cost in dollars, exactly."""
        return usd(self.cost_nano)

    @property
    def first_at(self) -> datetime | None:
        """When the first of the calls was."""
        return None if self.first_ms is None else utc_from_ms(self.first_ms)

    @property
    def last_at(self) -> datetime | None:
        """When the last of the calls was."""
        return None if self.last_ms is None else utc_from_ms(self.last_ms)

    def _add_cost(self, fact: Fact) -> None:
        self.unpriced += fact.is_unpriced
        if fact.cost_nano is None:
            return
        self.cost_nano += fact.cost_nano
        self.priced += 1
        self.estimated += fact.cost_status == "estimated"
        self.spread.add(fact.cost_nano)

    def _add_times(self, fact: Fact) -> None:
        if fact.latency_ms is not None:
            self.latency_us += round(fact.latency_ms * 1000)
            self.latency.add(fact.latency_ms)
        if fact.ttft_ms is not None:
            self.ttft_us += round(fact.ttft_ms * 1000)
            self.ttft.add(fact.ttft_ms)
        if fact.tokens_per_s is not None:
            self.speed.add(fact.tokens_per_s)

    def _correct(self, correction: Correction) -> None:
        self.cost_nano += correction.cost_nano
        self.priced += correction.prices
        self.unpriced -= correction.prices

    def _span(self, first_ms: int | None, last_ms: int | None) -> None:
        if first_ms is not None:
            self.first_ms = first_ms if self.first_ms is None else min(self.first_ms, first_ms)
        if last_ms is not None:
            self.last_ms = last_ms if self.last_ms is None else max(self.last_ms, last_ms)


def usd(nano: int) -> Decimal:
    """Write nano-dollars as dollars, exactly."""
    return Decimal(f"{nano}E-9")

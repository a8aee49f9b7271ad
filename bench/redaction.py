"""Precision and recall of redaction on the labelled corpora, and what it costs.

``python -m bench.redaction`` prints, for each corpus and its blind part (written without sight of
the patterns), one line a kind; how many ordinary numbers are touched; and microseconds per text.

A labelled value counts as found when every letter and digit of it is covered by finds of its kind;
a find counts as right when it overlaps a label of its kind.
"""

from __future__ import annotations

import argparse
import json
import sys
import timeit
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

from affidavit.pipeline.redact import Policy, Redactor, kinds
from affidavit.pipeline.redact.policy import PRESETS, Reading
from affidavit.pipeline.redact.scan import Scanner, merged
from bench.measure import Effort
from bench.report import Figure

CORPORA: Final = Path(__file__).resolve().parents[1] / "tests" / "corpora"
PARTS: Final = {
    "general": "default",
    "general_blind": "default",
    "trading": "trading",
    "trading_blind": "trading",
}
"""Corpus to the preset that reads it."""

UNSTRUCTURED: Final = (kinds.PASSWORD, kinds.PHONE)
"""Kinds that are told by words and groupings only; reported, but not held to the goal."""

UNLABELLED: Final = frozenset({kinds.CARD_CODE})
"""Kinds that are younger than the corpora, which have no labels of them: not scored."""

GOAL: Final = 0.97
NUMBERS_GOAL: Final = 0.001
TIME_GOAL_US: Final = 60.0
_COUNT: Final = 20_000


@dataclass
class Score:
    """Counts for one kind in one corpus."""

    labels: int = 0
    covered: int = 0
    finds: int = 0
    right: int = 0

    @property
    def recall(self) -> float:
        """Give the share of labelled values that are covered."""
        return self.covered / self.labels if self.labels else 1.0

    @property
    def precision(self) -> float:
        """Give the share of finds that are labelled so."""
        return self.right / self.finds if self.finds else 1.0


@dataclass
class Miss:
    """One disagreement, for ``--misses``."""

    item: str
    kind: str
    text: str
    what: str


@dataclass
class Result:
    """Scores of one corpus."""

    items: int = 0
    scores: dict[str, Score] = field(default_factory=dict)
    misses: list[Miss] = field(default_factory=list)

    def score(self, kind: str) -> Score:
        """Give the counts of a kind."""
        return self.scores.setdefault(kind, Score())

    @property
    def total(self) -> Score:
        """Add up all kinds."""
        return self._sum(list(self.scores))

    @property
    def structured(self) -> Score:
        """Add up the kinds that have a prefix, a grammar or check digits of their own."""
        return self._sum([kind for kind in self.scores if kind not in UNSTRUCTURED])

    def _sum(self, names: list[str]) -> Score:
        every = [self.scores[name] for name in names]
        return Score(
            sum(s.labels for s in every),
            sum(s.covered for s in every),
            sum(s.finds for s in every),
            sum(s.right for s in every),
        )


def scanner(preset: str) -> Scanner:
    """Make the scanner of a preset."""
    reading = PRESETS[preset].reading
    return Scanner(bold=reading is Reading.BOLD, shy=reading is Reading.SHY)


def items(name: str) -> Iterator[dict[str, Any]]:
    """Read a corpus."""
    with (CORPORA / f"{name}.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def label_kind(span: dict[str, Any]) -> str:
    """Give our name of a label's kind."""
    if span["kind"] == "national_id":
        return f"national_id_{span['country'].lower()}"
    return str(span["kind"])


def evaluate(name: str, preset: str) -> Result:
    """Score one corpus."""
    result = Result()
    search = scanner(preset)
    for item in items(name):
        result.items += 1
        text = item["text"]
        finds = [find for find in merged(search.find(text)) if find[2] not in UNLABELLED]
        labels = [(s["start"], s["end"], label_kind(s)) for s in item["spans"]]
        for start, end, kind in labels:
            score = result.score(kind)
            score.labels += 1
            covered: set[int] = set()
            for s, e, k in finds:
                if k == kind:
                    covered.update(range(s, e))
            if all(i in covered or not text[i].isalnum() for i in range(start, end)):
                score.covered += 1
            else:
                result.misses.append(Miss(item["id"], kind, text[start:end], "missed"))
        for start, end, kind in finds:
            score = result.score(kind)
            score.finds += 1
            if any(s < end and start < e and k == kind for s, e, k in labels):
                score.right += 1
            else:
                result.misses.append(Miss(item["id"], kind, text[start:end], "false"))
    return result


def ordinary(seed: int = 7) -> Iterator[str]:
    """Give texts of one ordinary number each: prices, ids, times, amounts."""
    random = Random(seed)
    makers = (
        lambda: f"{random.uniform(0, 100_000):.2f}",
        lambda: f"price {random.uniform(0, 1):.8f}",
        lambda: f"{random.randrange(1_000, 10_000_000):,}",
        lambda: str(random.randrange(1_600_000_000_000, 1_900_000_000_000)),
        lambda: f"ts={random.randrange(1_600_000_000_000_000, 1_900_000_000_000_000)}",
        lambda: f'{{"E": {random.randrange(1_600_000_000_000, 1_900_000_000_000)}}}',
        lambda: f"order {random.randrange(10**7, 10**19)}",
        lambda: f'"orderId": {random.randrange(10**9, 10**12)}',
        lambda: f"tradeId={random.randrange(10**8, 10**10)}",
        lambda: f"volume {random.uniform(0, 10**9):.4f}",
        lambda: f"{random.randrange(10**4, 10**9)} contracts",
        lambda: f"{random.randrange(1, 10**6)}.{random.randrange(10**8):08d} BTC",
        lambda: f"market cap {random.randrange(10**9, 10**12)} USD",
        lambda: f"2025-{random.randrange(1, 13):02d}-{random.randrange(1, 29):02d} 09:30:00",
        lambda: f"block {random.randrange(10**6, 10**9)}",
        lambda: str(random.randrange(10**4, 10**13)),
    )
    for _ in range(_COUNT):
        yield random.choice(makers)()


def touched(preset: str) -> float:
    """Measure the share of ordinary numbers in which something is found."""
    search = scanner(preset)
    hits = sum(bool(search.find(text)) for text in ordinary())
    return hits / _COUNT


def speed() -> dict[str, float]:
    """Measure microseconds for a record with 4 KB of clean text, of three sorts."""
    from bench.workload import English

    report = (
        "BTCUSDT closed at 67250.50 on 2024-11-23 after a high of 68,100.25; RSI stands at 61.3"
        " and "
        "the volume of 1234.56 BTC is below its average. Analysts see support near 66,800 and, in "
        "the longer run, resistance at 68,500. A position of 0.25 BTC with a stop at 66750.00 "
        "would risk about one percent of the account. Funding turned positive on most venues. "
    )
    texts = {
        "prose": English(1).text(4096),
        "report with numbers": (report * 20)[:4096],
        "prose, not ASCII": English(2).text(3900).replace("'", "\u2019").replace(". ", " \u2014 "),
    }
    redactor = Redactor(Policy.read("default"))
    return {name: _best_us(redactor, text) for name, text in texts.items()}


def run(effort: Effort) -> list[Figure]:
    """Give the time of the writer for 4 KB of clean text, as a section of ``make bench``."""
    del effort  # it takes a second
    return [
        Figure(
            f"redaction.{name.replace(' ', '_').replace(',', '')}",
            f"writer's time for redacting 4 KB of clean text, {name}",
            took_us,
            "µs",
            target=f"≤ {TIME_GOAL_US:g} µs",
            met=took_us <= TIME_GOAL_US,
        )
        for name, took_us in speed().items()
    ]


def _best_us(redactor: Redactor, text: str) -> float:
    """Time one whole record: nothing is found, so it is the same one each time."""
    asked = {"message": text, "message_length": len(text), "provider": "canned", "symbol": "BTC"}
    record = {"event_type": "llm_request", "user_id": "u", "request_data": asked, "model": "m"}
    redactor.redact(record)
    return min(timeit.repeat(lambda: redactor.redact(record), number=100, repeat=15)) / 100 * 1e6


def main(arguments: list[str] | None = None) -> int:
    """Print the tables; 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--misses", action="store_true", help="list disagreements (not the blind)")
    options = parser.parse_args(arguments)
    reached = True
    for name, preset in PARTS.items():
        if not (CORPORA / f"{name}.jsonl").exists():
            continue
        result = evaluate(name, preset)
        print(f"\n{name} ({result.items} texts, preset {preset})")
        print(f"  {'kind':16} {'labels':>6} {'recall':>7} {'finds':>6} {'precision':>9}")
        for kind in kinds.KINDS:
            score = result.scores.get(kind)
            if score is not None:
                _line(kind, score)
        _line("structured", result.structured)
        _line("all", result.total)
        reached &= min(result.structured.recall, result.structured.precision) >= GOAL
        wrong = Counter(miss.what for miss in result.misses)
        print(f"  missed {wrong['missed']}, false {wrong['false']}")
        if options.misses and not name.endswith("_blind"):
            for miss in result.misses:
                print(f"    {miss.what:6} {miss.item} {miss.kind}: {miss.text!r}")
    print(f"\nordinary numbers touched (goal: at most {NUMBERS_GOAL:.1%})")
    for preset in ("default", "trading", "strict"):
        share = touched(preset)
        print(f"  {preset:16} {share:8.3%}")
        reached &= preset == "strict" or share <= NUMBERS_GOAL
    print(f"\na record with 4 KB of clean text (goal: at most {TIME_GOAL_US:g} us)")
    for name, took_us in speed().items():
        print(f"  {name:22} {took_us:6.1f} us")
        reached &= took_us <= TIME_GOAL_US
    return 0 if reached else 1


def _line(kind: str, score: Score) -> None:
    print(
        f"  {kind:16} {score.labels:6} {score.recall:7.3f} {score.finds:6} {score.precision:9.3f}"
    )


if __name__ == "__main__":
    sys.exit(main())

"""Each figure the analysis document claims, beside what this run measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from bench.report import Figure, number

HEAD: Final = ["claim of the document", "measured", "holds?"]
VOLUMES: Final = (100, 500, 1000, 5000)
CLAIMED_MB: Final = {100: 5, 500: 25, 1000: 50, 5000: 250}
MAIN_MB: Final = 100
"""Trading data of the document, MB a month."""

_DAYS: Final = 30
_MB: Final = 1024**2
_NEAR: Final = 0.15
"""A projection within so much of what was measured holds."""

NOT_MEASURED: Final = "not measured in this run"

Figures = Mapping[str, Figure]


class Claim(NamedTuple):
    """What is claimed, which figures answer it, and how."""

    text: str
    needs: tuple[str, ...]
    answer: Callable[[Figures], tuple[str, str]]
    """Gives what was measured, and whether the claim holds."""


def rows(figures: Figures) -> list[list[str]]:
    """Make the table's rows; a claim whose figures this run lacks says so."""
    found = []
    for claim in _claims():
        if all(need in figures for need in claim.needs):
            measured, verdict = claim.answer(figures)
        else:
            measured, verdict = NOT_MEASURED, ""
        found.append([claim.text, measured, verdict])
    return found


def mb_a_month(bytes_a_call: float, calls_a_day: int) -> float:
    """Give MB in 30 days."""
    return bytes_a_call * calls_a_day * _DAYS / _MB


def projection_rows(figures: Figures) -> list[list[str]]:
    """Give MB a month at the document's volumes for each measured size of call."""
    found = []
    for volume in VOLUMES:
        row = [f"{volume:,} requests a day", f"{CLAIMED_MB[volume]} MB"]
        for size in ("150", "1700", "4500"):
            figure = figures.get(f"storage.{size}")
            if figure is None:
                row.append(NOT_MEASURED)
                continue
            mb = mb_a_month(figure.value, volume)
            row.append(f"{number(mb)} MB ({mb / MAIN_MB:.0%} of {MAIN_MB} MB)")
        found.append(row)
    return found


PROJECTION_HEAD: Final = ["volume", "claimed", "150 characters", "1.7 KB of text", "4.5 KB of text"]


def _saved(figure: Figure) -> float:
    return round(100 * (1 - (figure.ratio or 0)), 1) + 0.0  # never "-0 %"


def _claims() -> list[Claim]:
    return [*_latency(), *_writes(), *_storage(), *_scaling()]


def _latency() -> list[Claim]:
    def added(figures: Figures) -> tuple[str, str]:
        direct, high = figures["share.direct"], figures["share.high_volume"]
        text = f"direct {direct.note.split(';')[0]}; high volume {high.note.split(';')[0]}"
        return text, "no: it is far less"

    def share(figures: Figures) -> tuple[str, str]:
        direct, high = figures["share.direct"].value, figures["share.high_volume"].value
        return f"direct {direct:.3f} %, high volume {high:.4f} %", "no: it is far less"

    def latency(figures: Figures) -> tuple[str, str]:
        value = figures["writes.latency_p95"].value
        return f"{value:.1f} ms at 100 calls/s, direct", "yes" if value < 20 else "no"

    def pool(figures: Figures) -> tuple[str, str]:
        figure = figures["foreground.direct"]
        times = 50 * 86_400 / 500
        verdict = f"no: this is at 50 calls/s, {times:,.0f} times 500 a day"
        return f"other work's p95 {figure.ratio or 0:.3f}× ({figure.note})", verdict

    def connections(figures: Figures) -> tuple[str, str]:
        used = figures["writes.connections"].value
        text = f"{used:.0f} connections for 32 callers, the driver's watching ones included"
        return text, "no" if used <= 4 else "in part"

    shares = ("share.direct", "share.high_volume")
    return [
        Claim("auditing adds 15 ms to a request", shares, added),
        Claim("that is +1.25 % of a 1,200 ms call", shares, share),
        Claim(
            "write latency p95 stays under the warning of 20 ms", ("writes.latency_p95",), latency
        ),
        Claim("pressure on the connection pool", ("writes.connections",), connections),
        Claim(
            "competition with the main queries from 500 requests a day",
            ("foreground.direct",),
            pool,
        ),
    ]


def _writes() -> list[Claim]:
    parts = ("commands", "documents", "journal")

    def fewer(figures: Figures) -> tuple[str, str]:
        saved = {part: _saved(figures[f"writes.batch.{part}"]) for part in parts}
        text = (
            f"{saved['commands']:.0f} % fewer insert commands, {saved['documents']:.0f} % fewer "
            f"documents, {saved['journal']:.0f} % fewer bytes of journal"
        )
        holds = "commands: yes" if saved["commands"] >= 60 else "commands: no"
        rest = "; documents and journal: " + ("yes" if saved["journal"] >= 60 else "no")
        return text, holds + rest

    def added(figures: Figures) -> tuple[str, str]:
        each = figures["writes.batch.documents"].peer_value or 0
        return f"{each:.2f} documents a call: {each * 500:,.0f} a day", "yes"

    return [
        Claim(
            "batches of 10 save 60 % of writes",
            tuple(f"writes.batch.{part}" for part in parts),
            fewer,
        ),
        Claim("500 requests a day are 1,000 writes more", ("writes.batch.documents",), added),
    ]


def _storage() -> list[Claim]:
    def compressed(figures: Figures) -> tuple[str, str]:
        none, snappy = (_saved(figures[f"compression.zstd.{p}"]) for p in ("none", "snappy"))
        text = (
            f"zstd blocks save {none:.0f} % beside uncompressed storage, {snappy:.0f} % beside "
            "MongoDB's default (snappy), with no work in the application"
        )
        return text, f"{_yes(none, 40)} beside none, {_yes(snappy, 40)} beside the default"

    fields = [
        f"compression.field.{b}.{a}" for b in ("snappy", "zstd") for a in (2500, 10000, 50000)
    ]

    def field(figures: Figures) -> tuple[str, str]:
        parts = [
            f"{block}: "
            + ", ".join(
                f"{_saved(figures[f'compression.field.{block}.{answer}']):.0f} % at {answer:,}"
                for answer in (2500, 10000, 50000)
            )
            for block in ("snappy", "zstd")
        ]
        best = max(_saved(figures[key]) for key in fields)
        grows = any(_saved(figures[key]) <= -0.5 for key in fields)
        text = "; ".join(parts) + " characters"
        return text, _yes(best, 40) + (" (below zero: it grows)" if grows else "")

    mixes = (0, 1, 5, 20)

    def cut(figures: Figures) -> tuple[str, str]:
        saved = {mix: _saved(figures[f"truncation.{mix}"]) for mix in mixes}
        text = ", ".join(
            f"{value:.0f} % saved with {mix} % long answers" for mix, value in saved.items()
        )
        first = next((mix for mix, value in saved.items() if value >= 30), None)
        if first is None:
            return text, "no"
        return text, f"only where {first} % or more of the answers have 30 KB"

    return [
        Claim(
            "compression saves 40 % of storage",
            ("compression.zstd.none", "compression.zstd.snappy"),
            compressed,
        ),
        Claim("compressing large fields, level 9, saves 40 %", tuple(fields), field),
        Claim(
            "cutting answers over 10 KB saves 30 %",
            tuple(f"truncation.{mix}" for mix in mixes),
            cut,
        ),
        *[_projected(volume) for volume in VOLUMES],
        _ratio("100 to 500 requests a day add 20 to 30 % to the main data", (100, 500), (20, 30)),
        _ratio("500 requests a day and more add 50 to 100 %", (500, 5000), (50, 100)),
        Claim("at 30 % use, auditing adds 75 MB a month: 75 %", ("storage.1700",), _at_30_percent),
    ]


def _projected(volume: int) -> Claim:
    claimed = CLAIMED_MB[volume]

    def answer(figures: Figures) -> tuple[str, str]:
        small, large = (mb_a_month(figures[f"storage.{s}"].value, volume) for s in ("1700", "4500"))
        text = f"{number(small)} MB at 1.7 KB of text, {number(large)} MB at 4.5 KB"
        if abs(large / claimed - 1) <= _NEAR:
            return text, "yes at 4.5 KB of text; less at 1.7 KB"
        if large < claimed:
            return text, "no: it is less"
        return text, "no: it is less at 1.7 KB" if small < claimed else "no: it is more"

    return Claim(
        f"{volume:,} requests a day make {claimed} MB a month",
        ("storage.1700", "storage.4500"),
        answer,
    )


def _ratio(text: str, volumes: tuple[int, int], claimed: tuple[int, int]) -> Claim:
    def answer(figures: Figures) -> tuple[str, str]:
        each = figures["storage.4500"].value
        low, high = (100 * mb_a_month(each, volume) / MAIN_MB for volume in volumes)
        measured = f"{low:.0f} to {high:.0f} % of {MAIN_MB} MB at 4.5 KB of text"
        holds = low >= claimed[0] and high <= claimed[1]
        if holds:
            return measured, "yes"
        return measured, "no: it is less" if high < claimed[0] else "in part"

    return Claim(text, ("storage.4500",), answer)


def _at_30_percent(figures: Figures) -> tuple[str, str]:
    # The document's 75 MB a month are 1,500 requests a day by its own projection.
    small, large = (
        mb_a_month(figures[f"storage.{s}"].value, 1500)
        for s in ("1700", "4500")
        if f"storage.{s}" in figures
    )
    text = (
        f"1,500 requests a day: {number(small)} MB at 1.7 KB of text, {number(large)} MB at 4.5 KB"
    )
    if abs(large / 75 - 1) <= _NEAR:
        return text, "yes at 4.5 KB of text; less at 1.7 KB"
    return text, "no: it is less" if large < 75 else "in part"


def _scaling() -> list[Claim]:
    def inflection(figures: Figures) -> tuple[str, str]:
        rate = 1e6 / figures["throughput.set.one"].value / 2
        months = _MB * 1024 / (figures["storage.4500"].value * 500 * _DAYS)
        text = (
            f"one direct caller writes {rate:,.0f} calls/s ({rate * 86400 / 1e6:,.0f} million a "
            f"day); 500 a day fill 1 GB in {months:,.0f} months, and records live 3"
        )
        return text, "no: neither load nor size turns there"

    def time_series(_: Figures) -> tuple[str, str]:
        return "a columnar store is compared by another command", "not measured here"

    return [
        Claim(
            "the point to change is at about 500 requests a day",
            ("throughput.set.one", "storage.4500"),
            inflection,
        ),
        Claim("a time-series database compresses 10× better and sums 5× faster", (), time_series),
    ]


def _yes(value: float, at_least: float) -> str:
    return "yes" if value >= at_least else "no"

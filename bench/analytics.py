"""How fast the console's questions are answered: ``make bench-analytics`` (``N=`` calls).

A log of ``N`` calls is loaded, sealed and folded into rollups, a fifth of it first. Each question
of ``questions.toml`` is asked at both sizes through the engine that uses rollups, and at the end of
the records alone, too. Then: bytes, and what keeping rollups up costs beside writing.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from affidavit import AuditLogger
from affidavit.analytics.keeper import Keeper
from affidavit.analytics.upkeep import EVERY_S
from affidavit.config import AuditConfig
from affidavit.demo.mongod import Mongod
from affidavit.sealer import keys
from affidavit.sealer.run import seal_once
from affidavit.sealer.sealing import Sealer
from affidavit.store import open_log
from affidavit.store.analytics import SumQuestion
from affidavit.store.mongo import rollup_standing
from affidavit.store.mongo.analytics import MongoCalls
from affidavit.store.mongo.log import MongoLog
from affidavit.store.mongo.setup import ensure
from affidavit.store.questions import SearchFilter
from affidavit.tally.bundles import PIECES
from affidavit.tally.times import start_of_day
from bench.analytics_load import END, USERS, Calls, load, say
from bench.measure import median
from bench.report import as_markdown, as_text, machine, number, today
from bench.servers import config as logger_config

ZONE: Final = "Europe/Madrid"
GROWTH: Final = 1.5
UPKEEP: Final = 0.05
_ASKING_MS: Final = 2
_WRITTEN: Final = 2500
"""Characters of a call that is written while upkeep is measured: a usual one."""
_RUNS: Final = 9
_RAW_RUNS: Final = 3
_HEAD: Final = [
    "question",
    "median",
    "fastest",
    "from records",
    "limit",
    "growth",
    "met",
    "answered from",
]


@dataclass(frozen=True, slots=True)
class Question:
    """One question of the list."""

    name: str
    what: str
    kind: str
    limit_ms: float
    said: Mapping[str, Any]

    def span(self) -> tuple[datetime, datetime]:
        """Give the time it is about: up to the day's end, as a console asks."""
        if self.said.get("month"):
            local = END.astimezone(_zone())
            since = start_of_day(local.date().replace(day=1), _zone())
            return since, END
        days = self.said.get("days", 90)
        return start_of_day((END - timedelta(days=days)).astimezone(_zone()).date(), _zone()), END

    def sums(self) -> SumQuestion:
        """Make the question of sums."""
        since, until = self.span()
        measures = frozenset(self.said.get("measures", ("counts", "cost", "tokens")))
        return SumQuestion(
            since,
            until,
            tuple(self.said.get("by", ())),
            dict(self.said.get("filters", {})),
            ZONE,
            measures,
        )

    def filter(self) -> SearchFilter:
        """Make the question of a list."""
        span: dict[str, Any] = {
            name: END - timedelta(days=self.said[f"{name}_days"])
            for name in ("since", "until")
            if f"{name}_days" in self.said
        }
        return SearchFilter(**self.said.get("filters", {}), **span)


def main(given: Sequence[str] | None = None) -> int:
    """Load, ask, print; 0 when every target is met, else 1."""
    parser = argparse.ArgumentParser(prog="python -m bench.analytics", description=__doc__)
    parser.add_argument("--calls", type=int, default=1_000_000, metavar="N")
    parser.add_argument("--text", type=int, default=600, help="characters of prompt and answer")
    parser.add_argument("--cache", default="4G", help="the server's cache")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the page here, too")
    parser.add_argument("--only-upkeep", action="store_true", help="ask nothing, and print that")
    arguments = parser.parse_args(given)
    rollup_standing.SMALL = 0  # rollups are measured, also with few calls
    questions = read_questions()
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="affidavit-bench-"))
        server = stack.enter_context(Mongod.start())
        with server.client() as client:
            engine = f"cache_size={arguments.cache}"
            client.admin.command("setParameter", 1, wiredTigerEngineRuntimeConfig=engine)
        uri = server.database_uri("bench_analytics")
        settings = AuditConfig(
            ttl_days=3650, reporting_timezone=ZONE, seal_key_file=f"{folder}/log.key", seal="off"
        )
        log = stack.enter_context(open_log(uri, settings))
        ensure(log.location, settings, 60)
        bench = _Bench(log, uri, settings, arguments.text, server.pid)
        if arguments.only_upkeep:
            bench.grow(arguments.calls)
            upkeep, share = bench.upkeep(folder, min(24_000, arguments.calls // 2))
            print("\n".join([*bench.notes, *upkeep]))
            return int(share > UPKEEP)
        small = arguments.calls // 5
        bench.grow(small)
        before = bench.ask_all(questions, raw=False)
        bench.grow(arguments.calls - small)
        after = bench.ask_all(questions, raw=True)
        rows, missed = _table(questions, before, after)
        sizes = bench.sizes(arguments.calls)
        upkeep, share = bench.upkeep(folder, min(24_000, arguments.calls // 2))
        if share > UPKEEP:
            missed.append(f"upkeep: {share:.1%} of writing")
    targets = _targets(questions, before, after, share)
    page = _page(arguments, targets, rows, sizes, [*bench.notes, *upkeep])
    print(page if arguments.out is None else as_text(_HEAD, rows))
    if arguments.out is not None:
        arguments.out.write_text(page, "utf-8")
        list_page(arguments.out)
        say(f"wrote {arguments.out}")
    for what in missed:
        say(f"MISSED: {what}")
    return int(bool(missed))


def list_page(page: Path) -> None:
    """Link the page from the README beside it, below the other benchmarks, if it is not yet."""
    readme = page.parent / "README.md"
    lines = readme.read_text("utf-8").splitlines(keepends=True) if readme.exists() else []
    places = [n for n, line in enumerate(lines) if line.startswith("- [Benchmarks](")]
    if places and not any(f"({page.name})" in line for line in lines):
        lines.insert(places[0] + 1, f"- [Benchmarks of analytics]({page.name})\n")
        readme.write_text("".join(lines), "utf-8")


def read_questions() -> list[Question]:
    """Read the list."""
    text = (Path(__file__).parent / "questions.toml").read_text("utf-8")
    return [
        Question(q["name"], q["what"], q["kind"], float(q["limit_ms"]), q)
        for q in tomllib.loads(text)["question"]
    ]


Answers = dict[str, tuple[tuple[float, float], float | None, str]]
"""By question: milliseconds, median and fastest; the median from the records; what answered."""


class _Bench:
    """One log that grows, and what is measured on it."""

    def __init__(
        self, log: MongoLog, uri: str, settings: AuditConfig, text: int, server_pid: int
    ) -> None:
        self._log, self._uri, self._settings, self._text = log, uri, settings, text
        self._pid = server_pid
        self._records = MongoCalls(log.location)
        self.notes: list[str] = []
        self._piece = 0

    def grow(self, calls: int) -> None:
        """Load calls, seal them, and fold them."""
        load(self._uri, calls, self._text, piece=self._piece)
        self._piece += 1
        started_s = time.monotonic()
        seals = seal_once(self._sealer())
        say(f"sealed in {time.monotonic() - started_s:.0f} s, {seals} seals")
        started_s = time.monotonic()

        def tell(k: int, done: int) -> None:
            say(f"folded {done:,} of {calls:,} calls, seal {k}")

        folded = Keeper(self._log.seals, self._log.rollups).catch_up(tell)
        took_s = time.monotonic() - started_s
        assert folded == calls
        self.notes.append(
            f"Rollups of {calls:,} calls made in {took_s:.1f} s: {took_s / calls * 1e6:.0f} µs a "
            "call, in groups of up to 50,000 leaves."
        )
        say(self.notes[-1])

    def _sealer(self) -> Sealer:
        seals = self._log.seals
        return Sealer(seals, lambda: keys.open_key(seals, self._settings), where="service")

    def ask_all(self, questions: list[Question], *, raw: bool) -> Answers:
        """Ask everything; milliseconds by rollups, from the records, and what answered."""
        found: Answers = {}
        for question in questions:
            ask, source = self._asked(question)
            took_ms = _took_ms(ask, _RUNS)
            slow_ms = None
            if raw and question.kind in {"sums", "highest", "distinct"}:
                slow_ms, _ = _took_ms(self._from_records(question), _RAW_RUNS)
            found[question.name] = (took_ms, slow_ms, source)
            beside = "" if slow_ms is None else f", from records {slow_ms:,.0f} ms"
            say(f"{question.name}: {took_ms[0]:.1f} ms{beside} ({source})")
        return found

    def _asked(self, question: Question) -> tuple[Callable[[], object], str]:
        engine, said = self._log.calls, question.said
        if question.kind == "list":
            wanted = question.filter()
            return lambda: self._log.reader.search(wanted, 50), "records"
        sums = question.sums()
        if question.kind == "highest":
            source = engine.source(sums).name
            return lambda: engine.highest(sums, said["counter"], said["count"]), source
        if question.kind == "distinct":
            return lambda: list(engine.distinct(sums, said["of"])), "rollups"
        return lambda: list(engine.sums(sums)), engine.source(sums).name

    def _from_records(self, question: Question) -> Callable[[], object]:
        sums, said = question.sums(), question.said
        if question.kind == "distinct":
            return lambda: list(self._records.distinct(sums, said["of"]))
        return lambda: list(self._records.sums(sums))

    def sizes(self, calls: int) -> list[list[str]]:
        """Give the bytes of each collection, and for each call."""
        database = self._log.location.database
        database.client.admin.command("fsync")
        rows = []
        for name in sorted(database.list_collection_names(filter={"type": "collection"})):
            stats = database.command("collStats", name)
            data, index = stats["storageSize"], stats["totalIndexSize"]
            if stats["count"]:
                rows.append(
                    [name, f"{stats['count']:,}", f"{data:,}", f"{index:,}",
                     number((data + index) / calls)]
                )  # fmt: skip
        return rows

    def _waiting(self) -> int:
        """Count the users whose months wait to be written."""
        location = self._log.location
        cells = location.database[location.names.rollups("a")]
        match = {"$match": {"_id": {"$gte": "b", "$lt": "c"}}}
        group = {"$group": {"_id": None, "n": {"$sum": {"$size": "$k"}}}}
        return sum(int(row["n"]) for row in cells.aggregate([match, group]))

    def upkeep(self, folder: str, count: int) -> tuple[list[str], float]:
        """Write at full speed, fold what was written; what to say of it, and the larger share."""
        say("upkeep: writing at full speed")
        callers = 8
        settings = logger_config("async", folder)
        sources = [Calls(number, _WRITTEN) for number in range(callers)]
        with AuditLogger(self._uri, settings, seal="off") as audit:
            work = [
                threading.Thread(target=_write, args=(audit, source, count // callers))
                for source in sources
            ]
            clock = _Clock(self._pid)
            for thread in work:
                thread.start()
            for thread in work:
                thread.join()
            assert audit.flush(120)
            wrote = clock.read(count)
        seal_once(self._sealer())
        keeper = Keeper(self._log.seals, self._log.rollups)
        clock = _Clock(self._pid)
        folded = groups = 0
        while (more := keeper.step()) is not None:
            folded, groups = folded + more, groups + (more > 0)
        added = clock.read(folded)
        waiting = self._waiting()
        clock = _Clock(self._pid)
        keeper.settle()
        month = clock.read(max(1, waiting))
        # Each group brings a sixteenth of all users up to date; after few groups, few of them wait.
        done = waiting / max(1, len(PIECES) - groups)
        months = max(0.0, USERS / len(PIECES) - done) / (EVERY_S * 1e6 / wrote.passed)
        kept = added.plus(month, months)
        shares = [kept.passed / wrote.passed, kept.both / wrote.both]
        said = [
            (
                f"Writing at full speed by {callers} callers, users by Zipf's law: {wrote}, "
                f"{1e6 / wrote.passed:,.0f} calls/s."
            ),
            (
                f"Keeping rollups up with them: {kept}. That is {shares[0]:.1%} of the time of "
                f"writing, and {shares[1]:.1%} of its processor time "
                f"(target ≤ {UPKEEP:.0%} of either)."
            ),
            (
                f"That is the group itself ({added.both:.0f} µs of processor time a call), and the "
                f"months of {USERS:,} users, each written once in {len(PIECES)} groups of "
                f"{EVERY_S:g} s ({month.both:.0f} µs each, measured on {waiting:,})."
            ),
        ]
        return said, max(shares)


@dataclass(frozen=True, slots=True)
class _Took:
    """What one call took, in microseconds."""

    passed: float
    own: float
    server: float

    @property
    def both(self) -> float:
        """Processor time of this process and the server's."""
        return self.own + self.server

    def plus(self, other: _Took, times: float) -> _Took:
        """Add what something else takes, so many times for each call."""
        return _Took(
            self.passed + times * other.passed,
            self.own + times * other.own,
            self.server + times * other.server,
        )

    def __str__(self) -> str:
        return (
            f"{self.passed:.0f} µs a call, with {self.own:.0f} µs of this process's processor and "
            f"{self.server:.0f} µs of the server's"
        )


class _Clock:
    """Time that passes, and processor time of this process and of the server."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._began = self._now()

    def _now(self) -> tuple[float, float, float]:
        after_name = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()
        server_s = (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")
        return time.monotonic(), time.process_time(), server_s

    def read(self, calls: int) -> _Took:
        """Tell what it took since the beginning, by call."""
        return _Took(
            *(
                (now - began) / calls * 1e6
                for now, began in zip(self._now(), self._began, strict=True)
            )
        )


def _write(audit: AuditLogger, source: Calls, count: int) -> None:
    for _ in range(count):
        prompt, answer = source.texts()
        model = source.model()
        with audit.call(
            provider=model.provider, model=model.name, message=prompt, **source.somebody()
        ) as call:
            call.complete(text=answer, input_tokens=500, output_tokens=750, cost_usd="0.045")


def _took_ms(ask: Callable[[], object], runs: int) -> tuple[float, float]:
    """Ask so many times, after once for nothing; give the median and the fastest."""
    ask()
    took: list[float] = []
    for _ in range(runs):
        started_s = time.perf_counter()
        ask()
        took.append((time.perf_counter() - started_s) * 1000)
    return median(took), min(took)


def _growth(name: str, before: Answers, after: Answers) -> float:
    """Compare the fastest runs: other work on the machine does not double those."""
    return after[name][0][1] / before[name][0][1]


def _grew(name: str, before: Answers, after: Answers) -> bool:
    """Whether it grew too much; below two milliseconds the time is that of asking at all."""
    return _growth(name, before, after) > GROWTH and after[name][0][0] >= _ASKING_MS


def _table(
    questions: list[Question], before: Answers, after: Answers
) -> tuple[list[list[str]], list[str]]:
    rows, missed = [], []
    for question in questions:
        (took_ms, fastest_ms), slow_ms, source = after[question.name]
        growth = _growth(question.name, before, after)
        met = took_ms <= question.limit_ms and not _grew(question.name, before, after)
        if not met:
            missed.append(f"{question.what}: {took_ms:.1f} ms, growth {growth:.2f}")
        slow = "" if slow_ms is None else f"{number(slow_ms)} ms"
        rows.append(
            [question.what, f"{number(took_ms)} ms", f"{number(fastest_ms)} ms", slow,
             f"≤ {question.limit_ms:g} ms", f"{growth:.2f}×", _verdict(met), source]
        )  # fmt: skip
    return rows, missed


def _targets(
    questions: list[Question], before: Answers, after: Answers, share: float
) -> list[list[str]]:
    """Set each target beside the worst that was measured of it."""
    slowest = max(questions, key=lambda q: after[q.name][0][0] / q.limit_ms)
    last = next(q for q in questions if q.name == "user_last")
    counted = [q for q in questions if after[q.name][0][0] >= _ASKING_MS] or questions
    grown = max(counted, key=lambda q: _growth(q.name, before, after))
    last_ms = after[last.name][0][0]
    slow = [q for q in questions if after[q.name][0][0] > q.limit_ms]
    return [
        [
            "every question of `bench/questions.toml`: ≤ 100 ms",
            (
                f"{len(questions) - len(slow)} of {len(questions)}; nearest to its limit: "
                f"{slowest.what}, {number(after[slowest.name][0][0])} ms"
            ),
            _verdict(not slow),
        ],
        [
            f"growth from a fifth of the calls to all of them: < {GROWTH}×",
            f"most: {grown.what}, {_growth(grown.name, before, after):.2f}×",
            _verdict(not any(_grew(q.name, before, after) for q in questions)),
        ],
        [
            f"one user's last 50 calls: ≤ {last.limit_ms:g} ms",
            f"{number(last_ms)} ms",
            _verdict(last_ms <= last.limit_ms),
        ],
        [
            f"keeping rollups up: ≤ {UPKEEP:.0%} of writing",
            f"{share:.1%}, the larger of its shares of time and of processor time",
            _verdict(share <= UPKEEP),
        ],
    ]


def _verdict(met: bool) -> str:
    return "yes" if met else "MISSED"


def _page(
    arguments: argparse.Namespace,
    targets: list[list[str]],
    rows: list[list[str]],
    sizes: list[list[str]],
    notes: list[str],
) -> str:
    sized = ["collection", "documents", "bytes of data", "of indexes", "bytes a call"]
    command = f"python -m bench.analytics --calls {arguments.calls} --text {arguments.text}"
    about = (
        f"{arguments.calls:,} calls of {arguments.text} characters over 90 days, {USERS:,} users "
        f"by Zipf's law, a server cache of {arguments.cache}. Medians of {_RUNS} warm runs "
        f"({_RAW_RUNS} from the records). *Growth* is the fastest beside that at a fifth of the "
        f"calls; of answers below {_ASKING_MS} ms it is not judged, since that is the time of "
        "asking at all."
    )
    parts = [
        "# Benchmarks of analytics",
        f"Written by `make bench-analytics` (`{command} --out …`): {today()}, {machine()}.",
        about,
        "## Targets",
        as_markdown(["target", "measured", "met"], targets),
        "## Questions",
        as_markdown(_HEAD, rows),
        "## Upkeep",
        *notes,
        "## Bytes",
        as_markdown(sized, sizes),
    ]
    return "\n\n".join(parts) + "\n"


def _zone() -> ZoneInfo:
    return ZoneInfo(ZONE)


if __name__ == "__main__":
    sys.exit(main())

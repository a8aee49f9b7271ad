"""Advice about indexes, and what is to be said of plans: pure, and nothing acts by itself.

What an index is good for is known from two sides: how often it was used since the server started
(``$indexStats``), and which questions of the read side the server would answer by it (``explain``).
An index that neither names is called unused. The setting ``index_optimization`` decides only
whether set-up makes the one index that is not strictly needed; nothing here makes or drops any.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from affidavit.errors import StoreRefused
from affidavit.store.monitoring import IndexUse, MonitorStore, Plan, Size, SlowShape

ENOUGH: Final = timedelta(days=7)
"""So long an index has to go without a use before that says something."""

COSTLY: Final = 100
"""Documents looked at for each one returned, above which a plan is called costly."""

LEAST_EXAMINED: Final = 1000
"""Below this a collection is too small for a plan to be costly."""

BY_TIME: Final = frozenset(
    {
        "search by department",
        "search by provider",
        "search by model",
        "search by status",
        "search by cost",
        "search within a department",
        "search by security event",
    }
)
"""Questions that walk through the records by time, on purpose: an index for each would cost more
on every write than it saves. They are not judged by how much they look at."""

OPTIONAL: Final = "outcome_costs"
"""The index that set-up leaves out with ``index_optimization=False``."""

PLANS: Final = "plans"
"""Kind of the notes that hold accepted plans."""

Kind = Literal["unused", "redundant", "missing"]


@dataclass(frozen=True, slots=True)
class Advice:
    """One thing to consider about one index."""

    kind: Kind
    collection: str
    index: str
    why: str
    evidence: tuple[str, ...]
    cost: str
    """What doing it costs and gives."""
    commands: tuple[str, ...]
    """Lines for mongosh, in order; the first can be undone at once."""
    size_bytes: int | None = None
    sure: bool = True
    """False: it has not been watched for long enough."""
    question: str = ""
    """Of an index that is missing for a question of the read side: that question; then ``index`` is
    empty, since set-up knows its name."""

    @property
    def about(self) -> str:
        """Name what the advice is about."""
        if self.question:
            return f'an index of {self.collection} for the question "{self.question}"'
        return f"{self.collection}.{self.index}"


def advise(
    indexes: Sequence[IndexUse],
    plans: Sequence[Plan],
    shapes: Sequence[SlowShape],
    sizes: Sequence[Size],
    now: datetime,
) -> list[Advice]:
    """Say what to consider, the surest first."""
    documents = {size.collection: size.documents for size in sizes}
    found = [
        *_redundant(indexes, documents),
        *_unused(indexes, plans, documents, now),
        *_missing(indexes, shapes, documents),
        *_scans(plans, documents),
    ]
    return sorted(found, key=lambda each: (not each.sure, each.kind, each.collection, each.index))


# -- unused and redundant ------------------------------------------------------------------------


def _may_go(index: IndexUse) -> bool:
    """Whether an index does nothing but answer questions."""
    bound = {"unique", "expireAfterSeconds"} & set(index.options)
    return index.name != "_id_" and not bound and not index.options.get("hidden")


def _unused(
    indexes: Sequence[IndexUse],
    plans: Sequence[Plan],
    documents: Mapping[str, int],
    now: datetime,
) -> Iterator[Advice]:
    needed: dict[str, list[str]] = {}
    for plan in plans:
        if plan.index is not None:
            needed.setdefault(plan.index, []).append(plan.shape)
    for index in indexes:
        if not _may_go(index) or index.uses != 0 or index.since is None or index.name in needed:
            continue
        watched = now - index.since
        days = watched / timedelta(days=1)
        sure = watched >= ENOUGH
        if index.purpose and not sure:
            continue
        yield Advice(
            kind="unused",
            collection=index.collection,
            index=index.name,
            why="nobody has used it, and no question of the read side would"
            if sure
            else f"not used so far; {days:.1f} days are too few to tell",
            evidence=(
                f"$indexStats: 0 uses since {index.since:%Y-%m-%d %H:%M} UTC",
                f"explain: {len(plans)} questions of the read side, none by this index",
                *_made(index),
            ),
            cost=_cost_of_dropping(index, documents),
            commands=_dropping(index),
            size_bytes=index.size_bytes,
            sure=sure,
        )


def _redundant(indexes: Sequence[IndexUse], documents: Mapping[str, int]) -> Iterator[Advice]:
    for index in indexes:
        if not _may_go(index) or {"partialFilterExpression", "sparse"} & set(index.options):
            continue
        for other in indexes:
            if other is index or not _serves(other, index):
                continue
            yield Advice(
                kind="redundant",
                collection=index.collection,
                index=index.name,
                why=f"{other.name} answers the same questions: it begins with the same fields",
                evidence=(
                    f"{index.name}: {_keys(index.keys)}",
                    f"{other.name}: {_keys(other.keys)}",
                    f"$indexStats: {_uses(index)} and {_uses(other)}",
                    *_made(index),
                ),
                cost=_cost_of_dropping(index, documents),
                commands=_dropping(index),
                size_bytes=index.size_bytes,
            )
            break


def _serves(other: IndexUse, index: IndexUse) -> bool:
    """Whether another index begins with this one's fields, in the same or the opposite order."""
    limited = {"partialFilterExpression", "sparse", "hidden"} & set(other.options)
    if other.collection != index.collection or limited or len(other.keys) < len(index.keys):
        return False
    start = other.keys[: len(index.keys)]
    backwards = tuple((name, -way if isinstance(way, int) else way) for name, way in start)
    if index.keys not in {start, backwards}:
        return False
    # Of two that are alike, the one that can go is the one that does nothing else.
    return len(other.keys) > len(index.keys) or not _may_go(other) or other.name < index.name


def _made(index: IndexUse) -> tuple[str, ...]:
    """Say what set-up makes an index for, and that it would make it again."""
    if not index.purpose:
        return ()
    again = (
        "with index_optimization=False it does not"
        if index.name == OPTIONAL
        else "it would make it again; hidden it stays as it is"
    )
    return (f"set-up makes it: {index.purpose}; {again}",)


def _uses(index: IndexUse) -> str:
    return "uses unknown" if index.uses is None else f"{index.uses} uses"


def _cost_of_dropping(index: IndexUse, documents: Mapping[str, int]) -> str:
    size = (
        "its size is not known" if index.size_bytes is None else f"frees {_size(index.size_bytes)}"
    )
    count = documents.get(index.collection)
    again = "" if count is None else f"; building it again reads {count:,} documents"
    return f"{size}, and one entry less for each record written{again}"


def _dropping(index: IndexUse) -> tuple[str, ...]:
    place = f"db.getCollection({json.dumps(index.collection)})"
    name = json.dumps(index.name)
    return (
        f"{place}.hideIndex({name})  // then watch; undone by unhideIndex",
        f"{place}.dropIndex({name})",
    )


# -- missing -------------------------------------------------------------------------------------


def _missing(
    indexes: Sequence[IndexUse], shapes: Sequence[SlowShape], documents: Mapping[str, int]
) -> Iterator[Advice]:
    for shape in shapes:
        keys = _wanted(shape)
        mine = [index for index in indexes if index.collection == shape.collection]
        if not keys or any(_covers(index, shape, keys) for index in mine):
            continue
        name = "_".join(f"{field}_{way}" for field, way in keys)
        yield Advice(
            kind="missing",
            collection=shape.collection,
            index=name,
            why=f"{shape.count} slow questions had no index for their fields",
            evidence=(
                f"profiler: {shape.count} times, up to {shape.slowest_ms} ms, by {shape.summary}",
                f"asked for {_words(shape)}",
            ),
            cost=_cost_of_building(mine, documents.get(shape.collection)),
            commands=(_creating(shape.collection, keys),),
        )


def _wanted(shape: SlowShape) -> tuple[tuple[str, int], ...]:
    """Order fields as an index wants them: equal ones, the order of sorting, ranges."""
    keys: dict[str, int] = {name: 1 for name in shape.equal if name != "_id"}
    for name, way in shape.sort:
        keys.setdefault(name, way)
    for name in shape.ranged:
        keys.setdefault(name, 1)
    return tuple(keys.items())


def _covers(index: IndexUse, shape: SlowShape, keys: Sequence[tuple[str, int]]) -> bool:
    """Whether an index begins with what is asked for by one value, or is the wanted one."""
    names = [name for name, _ in index.keys]
    if "_id" in shape.equal or names[: len(keys)] == [name for name, _ in keys]:
        return True
    equal = set(shape.equal)
    return bool(equal) and set(names[: len(equal)]) == equal and shape.summary != "COLLSCAN"


def _scans(plans: Sequence[Plan], documents: Mapping[str, int]) -> Iterator[Advice]:
    for plan in plans:
        if plan.scans and documents.get(plan.collection, LEAST_EXAMINED) > 0:
            yield Advice(
                kind="missing",
                collection=plan.collection,
                index="",
                question=plan.shape,
                why="it reads the whole collection",
                evidence=(f"explain: {' → '.join(reversed(plan.stages))}",),
                cost="as `affidavit setup --plan` shows, with the exact command",
                commands=("affidavit setup --plan", "affidavit setup"),
            )


def _cost_of_building(mine: Sequence[IndexUse], documents: int | None) -> str:
    if documents is None:
        return "reads every document once, and adds one entry to each record written"
    each = [
        index.size_bytes / documents
        for index in mine
        if index.size_bytes is not None and documents and index.name != "_id_"
    ]
    size = f", about {_size(int(documents * max(each)))} at most" if each else ""
    return (
        f"reads {documents:,} documents once{size}, and adds one entry to each record written; "
        "build it at a quiet time"
    )


def _creating(collection: str, keys: Sequence[tuple[str, int]]) -> str:
    options = '{storageEngine: {wiredTiger: {configString: "block_compressor=zstd"}}}'
    return f"db.getCollection({json.dumps(collection)}).createIndex({_keys(keys)}, {options})"


def _keys(keys: Sequence[tuple[str, Any]]) -> str:
    return "{" + ", ".join(f"{json.dumps(name)}: {json.dumps(way)}" for name, way in keys) + "}"


def _words(shape: SlowShape) -> str:
    parts = (
        ("one value of", shape.equal),
        ("a range of", shape.ranged),
        ("sorted by", [name for name, _ in shape.sort]),
    )
    return "; ".join(f"{word} {', '.join(names)}" for word, names in parts if names) or "all"


def _size(size_bytes: int) -> str:
    for unit, name in ((1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB")):
        if size_bytes >= unit:
            return f"{size_bytes / unit:.1f} {name}"
    return f"{size_bytes} bytes"


# -- plans that got worse ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PlanFinding:
    """Something to be said of the plan of one question."""

    shape: str
    kind: Literal["scan", "changed", "costly"]
    text: str


def plan_findings(
    plans: Iterable[Plan],
    accepted: Mapping[str, str | None],
    existing: Iterable[str] | None = None,
    costly: int = COSTLY,
) -> list[PlanFinding]:
    """Judge plans: whole collections, another index than was accepted, too much looked at.

    ``existing`` names the indexes that there are, None where they may not be listed. While a
    collection is small a server goes by one index today and by another tomorrow, and neither costs
    anything: another index is said where the accepted one is gone, or where it takes a thousand
    entries or more.
    """
    there = None if existing is None else set(existing)
    found = []
    for plan in plans:
        if plan.scans:
            text = f"reads all of {plan.collection}"
            found.append(PlanFinding(plan.shape, "scan", text))
        elif _has_changed(plan, accepted, there):
            gone = ", which is not there any more" if _is_gone(accepted[plan.shape], there) else ""
            text = f"goes by {plan.index}, and went by {accepted[plan.shape]}{gone}"
            found.append(PlanFinding(plan.shape, "changed", text))
        elif plan.examined is not None and plan.shape not in BY_TIME:
            returned = max(1, plan.returned or 0)
            if plan.examined >= LEAST_EXAMINED and plan.examined > costly * returned:
                text = f"looks at {plan.examined:,} documents to return {plan.returned or 0:,}"
                found.append(PlanFinding(plan.shape, "costly", text))
    return found


def _is_gone(index: str | None, there: set[str] | None) -> bool:
    return there is not None and index not in there


def _has_changed(plan: Plan, accepted: Mapping[str, str | None], there: set[str] | None) -> bool:
    before = accepted.get(plan.shape, plan.index)
    if before == plan.index or plan.shape in BY_TIME:
        return False
    looked_at = max(plan.keys or 0, plan.examined or 0)
    return _is_gone(before, there) or looked_at >= LEAST_EXAMINED


def accepted_plans(store: MonitorStore) -> dict[str, str | None]:
    """Give the plans that were accepted last; empty where none were. Raises StoreError."""
    notes = store.notes(PLANS, 1)
    return {each["shape"]: each["index"] for each in notes[0]["plans"]} if notes else {}


def accept_plans(store: MonitorStore, plans: Iterable[Plan]) -> None:
    """Take these plans for right from now on. Raises StoreError."""
    each = [{"shape": plan.shape, "index": plan.index} for plan in plans if not plan.scans]
    store.add_note(PLANS, {"plans": each})


def judge_plans(store: MonitorStore) -> list[PlanFinding]:
    """Explain every question of the read side and judge the plans. Raises StoreError.

    Where none were accepted yet, those found now are.
    """
    existing: list[str] | None = None
    with contextlib.suppress(StoreRefused):
        existing = [index.name for index in store.indexes()]
    plans = store.plans(run=True)
    accepted = accepted_plans(store)
    if not accepted and plans:
        accept_plans(store, plans)
    return plan_findings(plans, accepted, existing)


def degraded(store: MonitorStore) -> dict[str, float]:
    """Give 1 for each question whose plan has got worse, for a rule. Raises StoreError."""
    return {finding.shape: 1.0 for finding in judge_plans(store)}

"""The verification of a whole log: seals, leaves, roots, then each record against its leaf.

Order: the key and the saved checkpoint; each seal's signed checkpoint; its leaves replayed to its
root, and to the saved checkpoint's; the writers' signatures on their batches; each stored record
against its leaf; numbers that are nowhere; records that no leaf covers.

Nothing is believed that only the store says. Memory grows with writers and with damage, not with
records: seals are read in order, batches and records for some thousand leaves at a time.

Longer than most files here: the order of the checks is what is believed, and stands in one place.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from affidavit.integrity.bodies import Bodies
from affidavit.integrity.compare import Comparer, Here
from affidavit.integrity.coverage import Ranges
from affidavit.integrity.errors import BadBatch, ProofError
from affidavit.integrity.findings import Kind, Level, Report, level_of, lies_beside
from affidavit.integrity.leaves import (
    LEDGER,
    REBUILT,
    LeafBatch,
    check,
    from_document,
    gap_leaf,
)
from affidavit.integrity.merkle import HASH_SIZE, Frontier
from affidavit.integrity.places import Span, plain
from affidavit.integrity.reader import Reader, is_seal, items_of, size_of
from affidavit.integrity.tiles import Growth
from affidavit.integrity.told import TOLD_BY
from affidavit.integrity.trust import NOTHING, Trust, is_log_key

Docs: TypeAlias = Mapping[str, Any]

CHUNK_LEAVES: Final = 4000
"""Leaves for which records are read at a time."""


_MOST_SEALS: Final = 2**53
_MOST_TURNS: Final = 20
"""How often it is looked whether more was sealed meanwhile; each look takes less time."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What to look at; without any, everything."""

    since_ms: int | None = None
    """Only the records of events from then on; the leaves of all."""
    sample: int | None = None
    """So many records, drawn at random; the leaves of all."""
    until_size: int | None = None
    """Only the records of so many leaves, and the ledger's; the leaves of all."""
    from_saved: bool = False
    """Only what was added after the saved checkpoint, which is believed."""


def verify(
    reader: Reader,
    trust: Trust,
    *,
    now_ms: int,
    scope: Scope | None = None,
    progress: Callable[[int, int], None] | None = None,
    comparer: Comparer | None = None,
    clock: Callable[[], int] | None = None,
) -> Report:
    """Verify a log and report. ``progress`` is told leaves done and leaves in all.

    ``clock`` tells the time again at the end, for a verification that takes long: what is due by
    then has expired.
    ``comparer`` reads the records, by default here and now; the findings are the same. Raises
    BadCheckpointError where the saved checkpoint is not of the pinned key's log; what the reader
    raises passes through.
    """
    bodies = Bodies(reader, Report(), now_ms, comparer or Here(reader), clock)
    return _Verification(reader, trust, bodies, scope or Scope(), progress).run()


class _Verification:
    """One run, from the first seal to the last."""

    def __init__(
        self,
        reader: Reader,
        trust: Trust,
        bodies: Bodies,
        scope: Scope,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self.reader, self.trust, self.scope = reader, trust, scope
        self.bodies, self.report = bodies, bodies.report
        self._progress = progress
        self._tree = Frontier()
        self._tiles: Growth | None = Growth()
        self._covered: dict[str, Ranges] = {}
        self._gaps: dict[str, Ranges] = {}
        self._spans: list[Span] = []
        self._waiting = 0
        self._saved_met = False
        self._total = 0
        self._made_up: set[str] = set()
        self._sealers: set[str] = set()

    def run(self) -> Report:
        report, reader = self.report, self.reader
        self.trust.settle(reader.identity(), report)
        seals = reader.seals()
        previous = None
        for seal in self._skipped(seals) if self.scope.from_saved else seals:
            if not self.trust.usable:
                text = "The log has seals, and nothing says which key is its own."
                report.add(Kind.FOREIGN_KEY, text, part="identity")
                break
            previous = self._seal(seal, previous)
        self._flush()
        self._catch_up(previous)
        self.report.whole = self._whole and not self.scope.from_saved
        self.bodies.settle()
        self._ends()
        self._strays()
        self.bodies.finish()
        self._never_came()
        self.trust.finish(report)
        self._level()
        report.finish()
        return report

    def _catch_up(self, previous: int | None) -> None:
        """Take what was sealed while records were read, or its records would seem made up."""
        for _ in range(_MOST_TURNS):
            before = previous
            if before is None or not 0 <= before < _MOST_SEALS or not self.trust.usable:
                return
            for seal in self.reader.seals(before + 1):
                previous = self._seal(seal, previous)
            self._flush()
            if previous == before:
                return

    # -- seals -----------------------------------------------------------------------------------

    def _skipped(self, seals: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Pass over the seals up to the saved checkpoint; the tree there must be its tree."""
        saved = self.trust.saved
        found = saved is None or saved.size == 0
        size = 0
        self.report.limits.append("what the log held up to the saved checkpoint")
        while not found and saved is not None:
            seal = next(seals, None)
            if seal is None:
                break
            size = max(size, size_of(seal.get("size")))
            for item in items_of(seal):
                self._cover(item, seal, quiet=True)
            if "key" in seal:
                self.trust.rotate(seal["key"], seal["_id"], self.report)
            found = seal.get("size") == saved.size and self._resume(seal)
        self._saved_met = found and saved is not None and saved.size > 0
        self._believe()
        if found or saved is None:
            yield from seals
            return
        self._saved_met = True  # there is nothing more to say of it at the end
        if saved.size > size:
            self._shorter(size)
        else:
            self._rewritten(saved.size)

    def _believe(self) -> None:
        """Take the ledger records that were sealed up to here as they stand, and no newer ones."""
        for kind in TOLD_BY:
            self.bodies.told.believe(
                document
                for document in self.reader.ledger(kind)
                if isinstance(seq := document.get("seq"), int)
                and seq in self._covered.get(str(document.get("writer")), ())
            )

    def _resume(self, seal: Docs) -> bool:
        saved = self.trust.saved
        try:
            tree = Frontier(seal["size"], [bytes(value) for value in seal["frontier"]])
        except (ProofError, KeyError, TypeError):
            return False
        if saved is None or tree.root() != saved.root:
            return False
        self._tree, self._tiles = tree, None
        self.report.saved_size = saved.size
        return True

    def _seal(self, seal: Docs, previous: int | None) -> int | None:
        k = seal["_id"] if isinstance(seal.get("_id"), int) else -1
        if not is_seal(seal):
            self._no_seal(seal)
            if k != (0 if previous is None else previous + 1):
                return previous
        self.report.counts["seals"] += 1
        self._note_sealer(seal.get("by"))
        broken = False
        expected = previous + 1 if previous is not None else k if self.scope.from_saved else 0
        if k != expected:
            text = f"Seals {expected} to {k - 1} are gone."
            self.report.add(Kind.MISSING, text, seal=expected, index=self._tree.size)
            broken = True
        checkpoint = self.trust.open(seal.get("cp"), k, self.report)
        if seal.get("i0") != self._tree.size:
            if not broken:
                text = f"Seal {k} does not begin where the one before ends."
                self.report.add(Kind.ALTERED, text, seal=k, index=self._tree.size)
            broken = True
        before = self._tree.size
        whole = self._leaves(seal, k)
        root = self._tree.root()
        if not broken and whole:
            self._compare(seal, k, root, checkpoint, before)
        self._resync(seal, checkpoint, root)
        if "key" in seal:
            self.trust.rotate(seal["key"], k, self.report)
        if self._waiting >= CHUNK_LEAVES:
            self._flush()
        return k

    def _no_seal(self, seal: Docs) -> None:
        """Name a document that has not the form of one."""
        name = plain(seal.get("_id"))
        if name not in self._made_up:
            self._made_up.add(name)
            text = f"The document {name} among the seals is no seal; it was put there, or changed."
            self.report.add(Kind.INSERTED, text, seal=name, index=self._tree.size)

    def _compare(self, seal: Docs, k: int, root: bytes, checkpoint: Any, before: int) -> None:
        """Compare what was replayed with what the checkpoint and the seal say."""
        size, report = self._tree.size, self.report
        told = checkpoint is not None and (checkpoint.size, checkpoint.root) == (size, root)
        if checkpoint is not None and not told:
            text = (
                f"The leaves of seal {k} ({before} to {size - 1}) are not those that were sealed: "
                "they do not lead to the root that the log's key has signed."
            )
            report.add(Kind.ALTERED, text, seal=k, index=before)
            self._tiles = None
            return
        same = (
            seal.get("size") == size
            and seal.get("root") == root
            and seal.get("n") == size - before
            and seal.get("frontier") == self._tree.hashes
            and seal.get("vkey") == str(self.trust.keys[-1])
        )
        if not same:
            text = f"Seal {k} was changed: size, root or frontier is not that of its leaves."
            report.add(Kind.ALTERED, text, seal=k, index=before)

    def _resync(self, seal: Docs, checkpoint: Any, root: bytes) -> None:
        """After damage, go on from the frontier of the seal, if it leads to the signed root."""
        if checkpoint is None or (checkpoint.size, checkpoint.root) == (self._tree.size, root):
            return
        try:
            tree = Frontier(checkpoint.size, [bytes(value) for value in seal["frontier"]])
        except (ProofError, KeyError, TypeError):
            return
        if tree.root() == checkpoint.root:
            self._tree, self._tiles = tree, None

    # -- leaves ----------------------------------------------------------------------------------

    def _leaves(self, seal: Docs, k: int) -> bool:
        """Replay the leaves of one seal; False where some are not there."""
        items = items_of(seal)
        ids = [item["b"] for item in items if "b" in item]
        held = {doc["_id"]: doc for doc in self.reader.batches(ids)} if ids else {}
        told = seal.get("items")
        whole = isinstance(told, list) and len(told) == len(items)
        if not whole:
            text = f"Seal {k} was changed: its items cannot be read."
            self.report.add(Kind.ALTERED, text, seal=k, index=self._tree.size)
        for item in items:
            if "gap" in item:
                self._gap(item)
                continue
            batch = self._batch(item, held.get(item["b"]), k)
            start, n = item.get("from", 0), item["n"]
            if batch is None or start + n > batch.n:
                whole = False
                if batch is not None:
                    text = f"Seal {k} names leaves which the batch {batch.id} does not have."
                    self.report.add(Kind.ALTERED, text, seal=k, writer=batch.w)
                continue
            self._span(batch, start, n, item, seal)
        if self._progress is not None:
            self._progress(self._tree.size, max(self._tree.size, size_of(seal.get("size"))))
        return whole

    def _batch(self, item: Docs, document: dict[str, Any] | None, k: int) -> LeafBatch | None:
        name = str(item.get("b"))[:300]
        if document is None:
            text = f"The leaf batch {name}, which seal {k} has sealed, is gone."
            self.report.add(Kind.MISSING, text, seal=k, batch=name, index=self._tree.size)
            return None
        try:
            batch = from_document(document)
        except BadBatch as error:
            text = f"The leaf batch {name} was altered. {error}"
            self.report.add(Kind.ALTERED, text, seal=k, batch=name, index=self._tree.size)
            return None
        try:
            check(batch)
        except BadBatch as error:
            self.report.add(
                Kind.UNSIGNED_BATCH, str(error), seal=k, batch=name, index=self._tree.size
            )
            return batch
        if batch.made == REBUILT:
            if not is_log_key(batch.key, self.trust.keys):
                text = f"The leaf batch {name} was built again with a key that is not the log's."
                self.report.add(Kind.FOREIGN_KEY, text, seal=k, batch=name, index=self._tree.size)
        else:
            self.bodies.told.used(batch, self._tree.size)
        return batch

    def _span(self, batch: LeafBatch, start: int, n: int, item: Docs, seal: Docs) -> None:
        index = self._tree.size
        part = slice(start * HASH_SIZE, (start + n) * HASH_SIZE)
        data = batch.h[part]
        self._extend([data[at : at + HASH_SIZE] for at in range(0, len(data), HASH_SIZE)])
        counts = self.report.counts
        counts["leaves"] += n
        counts["batches"] += 1
        counts["late"] += n if item.get("late") else 0
        if batch.made == REBUILT:
            counts["rebuilt"] += n
            self.bodies.told.excuses.rebuilt.add(index, index + n)
        self._cover(item, seal, quiet=False)
        times_ms, classes = batch.times_ms[start : start + n], batch.k[start : start + n]
        span = Span(batch.w, batch.s0 + start, n, data, times_ms, classes, index)
        self.bodies.times(span)
        self._spans.append(span)
        self._waiting += n

    def _gap(self, item: Docs) -> None:
        self._extend([gap_leaf(item["gap"], item["s0"], item["n"], item["t"])])
        self.report.counts["leaves"] += 1
        self.report.counts["gaps"] += item["n"]
        if item["s0"] == 0:
            self.bodies.excuse(item["gap"])
        self._gaps.setdefault(item["gap"], Ranges()).add(item["s0"], item["s0"] + item["n"])

    def _extend(self, leaves: list[bytes]) -> None:
        """Add leaves to the tree; where the saved checkpoint's size is met, compare the roots."""
        saved = self.trust.saved
        size = self._tree.size
        if saved is not None and not self._saved_met and size <= saved.size <= size + len(leaves):
            head = saved.size - size
            self._tree.extend(leaves[:head])
            self._meet_saved()
            self._tree.extend(leaves[head:])
        else:
            self._tree.extend(leaves)
        if self._tiles is not None:
            for (level, number, _), data in self._tiles.extend(leaves):
                stored = self.reader.tile(level, number)
                if stored is not None and bytes(stored) != data:
                    text = f"The stored tile {level}/{number} holds other hashes than the log."
                    self.report.add(Kind.ALTERED, text, tile=f"{level}/{number}")

    def _meet_saved(self) -> None:
        saved = self.trust.saved
        assert saved is not None  # noqa: S101 - asked for by the only caller
        self._saved_met = True
        self.report.saved_size = saved.size
        if self._tree.root() != saved.root:
            self._rewritten(saved.size)

    def _rewritten(self, size: int) -> None:
        text = (
            f"The first {size} leaves are not those of the saved checkpoint: the log was altered, "
            "or taken back and grown again, since the checkpoint was saved."
        )
        self.report.add(Kind.ROLLED_BACK, text, index=size)

    def _cover(self, item: Docs, seal: Docs, *, quiet: bool) -> None:
        """Note which numbers an item seals; the same number twice is a finding."""
        if "gap" in item:
            if quiet:
                end = item["s0"] + item["n"]
                self._gaps.setdefault(item["gap"], Ranges()).add(item["s0"], end)
            return
        writer, _, first = str(item.get("b")).rpartition(":")
        start = int(first) + item.get("from", 0) if first.isdigit() else 0
        twice = self._covered.setdefault(writer, Ranges()).add(start, start + item["n"])
        if twice and not quiet:
            text = f"Numbers {twice[0][0]} to {twice[-1][1] - 1} are sealed a second time."
            self.report.add(
                Kind.INSERTED, text, writer=writer, seal=seal.get("_id"), index=self._tree.size
            )

    # -- records ---------------------------------------------------------------------------------

    def _flush(self) -> None:
        spans, self._spans, self._waiting = self._spans, [], 0
        if not spans:
            return
        self.bodies.check(spans if self._whole else [*self._chosen(spans)])

    @property
    def _whole(self) -> bool:
        scope = self.scope
        return scope.sample is None and scope.since_ms is None and scope.until_size is None

    def _chosen(self, spans: list[Span]) -> Iterator[Span]:
        """Choose the leaves whose records are read: those asked for, and the ledger's."""
        since_ms, share = self.scope.since_ms, 1.0
        if self.scope.sample is not None:
            share = self.scope.sample / max(self._known_size(), 1)
        until = 2**63 if self.scope.until_size is None else self.scope.until_size
        every = self.scope.sample is None and since_ms is None
        for span in spans:
            if every and span.leaf_index + span.n <= until:
                yield span
                continue
            start = 0
            for at in range(span.n + 1):
                wanted = at < span.n and (
                    span.classes[at] == LEDGER
                    or (
                        span.leaf_index + at < until
                        and (since_ms is None or span.times_ms[at] >= since_ms)
                        and random.random() < share  # noqa: S311 - no secret
                    )
                )
                if not wanted:
                    if at > start:
                        yield span.part(start, at - start)
                    start = at + 1

    def _known_size(self) -> int:
        if not self._total:
            for seal in self.reader.seals():
                self._total = max(self._total, size_of(seal.get("size")))
        return self._total

    # -- the end ---------------------------------------------------------------------------------

    def _ends(self) -> None:
        """Compare the end of the log with the saved checkpoint, and look for holes."""
        saved, size = self.trust.saved, self._tree.size
        self.report.size = size
        if saved is not None and not self._saved_met:
            if saved.size == size == 0:
                self._meet_saved()
            elif saved.size > size:
                self._shorter(size)
        for writer, ranges in self._covered.items():
            gaps = self._gaps.get(writer, Ranges())
            for start, end in ranges.holes():
                if all(s <= start and end <= e for s, e in gaps) and len(gaps):
                    continue
                self._hole(writer, start, end, gaps)

    def _hole(self, writer: str, start: int, end: int, gaps: Ranges) -> None:
        unknown = Ranges()
        unknown.add(start, end)
        for s, e in gaps:
            unknown = _without(unknown, s, e)
        count = len(unknown)
        if not count:
            return
        if self.bodies.is_recent(writer):
            self.report.counts["pending"] += count
            return
        text = (
            f"{count} numbers of the writer {writer} between {start} and {end - 1} were never "
            "sealed, neither as records nor as a gap."
        )
        self.report.add(Kind.MISSING, text, writer=writer, seq=start)

    def _never_came(self) -> None:
        """Count the numbers that stand in a gap, came no later, and are not told as lost."""
        for writer, gaps in self._gaps.items():
            known = self.bodies.told.lost_of(writer)
            for start, end in self._covered.get(writer, ()):
                known.add(start, end)
            accounted, both = len(known), known
            for start, end in gaps:
                both.add(start, end)
            self.report.counts["never_came"] += len(both) - accounted

    def _shorter(self, size: int) -> None:
        saved = self.trust.saved
        assert saved is not None  # noqa: S101 - asked for by the callers
        self.report.saved_size = saved.size
        left = self._left_over()
        if size == 0:
            text = f"The log is empty; the saved checkpoint has {saved.size} leaves."
        else:
            text = f"The log ends at {size} leaves; the saved checkpoint has {saved.size}."
        if left:
            text += f" Records behind the end are there ({left}): the seals over them were removed."
        kind = Kind.CUT_OFF if left else Kind.ROLLED_BACK
        self.report.add(kind, text, index=size)

    def _left_over(self) -> str:
        """Name one record or batch that lies behind the end of the log, if there is one."""
        for writer in self.reader.known_writers():
            ranges = list(self._covered.get(writer, ()))
            for dest, document in self.reader.strays(writer, ranges):
                return f"{dest} {document.get('_id')}"
        return ""

    def _strays(self) -> None:
        if self.scope.sample is not None:
            self.report.limits.append("records outside the sample, and records that have no leaf")
            return
        nothing = Ranges()
        for writer in sorted(self.reader.known_writers()):
            covered = self._covered.get(writer, nothing)
            waiting: dict[int, bytes] | None = None
            for dest, document in self.reader.strays(writer, list(covered)):
                if waiting is None:
                    waiting = self.bodies.pending_of(writer, covered)
                self.bodies.stray(dest, document, waiting)
        for dest, document in self.reader.unnumbered():
            self.bodies.unnumbered(dest, document)
        self.bodies.adopted_left()

    def _level(self) -> None:
        report, trust = self.report, self.trust
        if not report.clean or not report.size:
            return
        if trust.witnessed_by:
            report.witnesses = trust.witnessed_by
            report.level = Level.WITNESSED
            return
        beside = self.bodies.key_beside_application or self._writes_where_it_seals()
        report.level = level_of(pinned=trust.pinned_by != NOTHING, beside=beside)

    def _note_sealer(self, by: object) -> None:
        if lies_beside(by, ()):
            self.bodies.key_beside_application = True
        elif isinstance(by, Mapping):
            self._sealers.add(str(by.get("host")))

    def _writes_where_it_seals(self) -> bool:
        """Whether a writer ever started on a host that has sealed, as the ledger says."""
        if not self._sealers:
            return False
        actors = (record.get("actor") for record in self.reader.ledger("writer_start"))
        hosts = {str(actor.get("host")) for actor in actors if isinstance(actor, Mapping)}
        return not self._sealers.isdisjoint(hosts)


def _without(ranges: Ranges, start: int, end: int) -> Ranges:
    left = Ranges()
    for s, e in ranges:
        if s < min(e, start):
            left.add(s, min(e, start))
        if max(s, end) < e:
            left.add(max(s, end), e)
    return left

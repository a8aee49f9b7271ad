"""The stored records against their leaves: what is altered, gone, moved, or was never sealed.

What a ledger record says (whose key is whose, how long records are kept, what was lost) counts only
after that record itself has been found under its leaf.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final

from bson.decimal128 import Decimal128

from affidavit.integrity.adopted import NO_FORM, NO_TIME_MS, digest_of
from affidavit.integrity.compare import MOST_KEPT, Compared, Comparer
from affidavit.integrity.coverage import Ranges
from affidavit.integrity.errors import BadBatch
from affidavit.integrity.excuses import CLOCK_MS, UNSEALED, Expired
from affidavit.integrity.findings import Kind, Report
from affidavit.integrity.leaves import LEDGER, RECORDS, check, from_document
from affidavit.integrity.places import (
    ENDS_MS,
    NAMES,
    Place,
    Span,
    called,
    entry_or_why,
    moment,
    noun,
    plain,
    time_of,
    upper,
)
from affidavit.integrity.reader import Reader
from affidavit.integrity.retention import horizon_ms
from affidavit.integrity.told import Told, rule_in

GRACE_MS: Final = 120_000
"""How long a record may be without a leaf: the sealer waits 60 s for a writer that is silent."""

OVERDUE_MS: Final = 600_000
"""From this age on a record without a leaf is not new any more: a sealer should have come by."""

_MOST_MISSING: Final = 50_000
"""Missing records whose places are kept; more are only counted: whole collections can be gone."""

_MOST_AGAIN: Final = 1000
"""Missing records that a verification which took long looks for once more."""

_MOST_MOVED: Final = 100
"""Places between which exchanged records are looked for."""


class Bodies:
    """Compares records with leaves, and remembers what cannot be judged before the end."""

    def __init__(
        self,
        reader: Reader,
        report: Report,
        now_ms: int,
        comparer: Comparer,
        clock: Callable[[], int] | None = None,
    ) -> None:
        self._reader, self.report, self._now_ms = reader, report, now_ms
        self._comparer, self._clock = comparer, clock
        self.told = Told()
        self.key_beside_application = False
        """Whether the log itself says that its key lies where an application runs."""
        self._first_ms = ENDS_MS
        self._last_ms = 0
        self._last_of: dict[str, int] = {}
        self._oldest_alive_ms = ENDS_MS
        # What the ledger claims; `finish` holds it against what is proved.
        claimed = [rule_in(document) for document in reader.ledger("setup")]
        self._claimed_ms = horizon_ms([rule for rule in claimed if rule is not None], now_ms)
        self._expired = Expired()
        self._erased: list[tuple[str, list[str], Place]] = []
        self._altered: list[Place] = []
        self._missing: list[Place] = []
        self._uncounted = 0
        self._strays: list[tuple[str, Mapping[str, Any]]] = []
        self._damaged: set[str] = set()

    # -- sealed records --------------------------------------------------------------------------

    def check(self, spans: Sequence[Span]) -> None:
        """Compare the records of these numbers with their leaves, now or a little later."""
        claimed_ms = self._claimed_ms
        horizon = None if claimed_ms is None else claimed_ms + CLOCK_MS
        for seen in self._comparer.give(spans, horizon):
            self._take(seen)

    def settle(self) -> None:
        """Wait for comparisons that are under way."""
        for seen in self._comparer.rest():
            self._take(seen)
        if self._clock is not None:
            self._now_ms = self._clock()

    def times(self, span: Span) -> None:
        """Note the times of leaves, whether or not their records are read."""
        low, high = min(span.times_ms), max(span.times_ms)
        self._first_ms = min(self._first_ms, low)
        self._last_ms = max(self._last_ms, high)
        self._last_of[span.writer] = max(self._last_of.get(span.writer, 0), high)

    def excuse(self, writer: str) -> None:
        """Note that a writer's first record never came: the one that announces its key."""
        self._damaged.add(writer)

    def is_recent(self, writer: str) -> bool:
        """Whether the writer's newest leaf is so new that others may still come."""
        return self._last_of.get(writer, 0) >= self._last_ms - GRACE_MS

    def _take(self, seen: Compared) -> None:
        counts = self.report.counts
        counts["matched"] += seen.matched
        counts["expired"] += seen.expired.hours.total()
        counts["erased"] += len(seen.erased)
        self._expired.update(seen.expired)
        self._oldest_alive_ms = min(self._oldest_alive_ms, seen.oldest_ms)
        self._damaged |= seen.damaged
        self._erased += seen.erased
        for document, index in seen.ledger:
            self.told.learn(document, index)
        for place in seen.gone:
            if len(self._missing) < _MOST_MISSING:
                self._missing.append(place)
            else:
                self._uncounted += 1
                self._damaged.add(place.writer)
        kept = seen.altered[: MOST_KEPT - len(self._altered)]
        self._altered += kept
        self._count(Kind.ALTERED, len(seen.altered) - len(kept) + seen.more_altered)
        for dest, document in seen.unsealed:
            self._unsealed(dest, document)
        self._count(Kind.INSERTED, seen.more_unsealed)

    def _count(self, kind: Kind, more: int) -> None:
        if more:
            self.report.kinds[kind] += more

    def _unsealed(self, dest: str, document: Mapping[str, Any]) -> None:
        if len(self._strays) < MOST_KEPT:
            self._strays.append((dest, document))
        else:
            self.report.kinds[Kind.INSERTED] += 1

    # -- records without a leaf ------------------------------------------------------------------

    def pending_of(self, writer: str, covered: Ranges) -> dict[int, bytes]:
        """Give the leaves of a writer's batches that are signed and not sealed yet."""
        waiting: dict[int, bytes] = {}
        for document in self._reader.batches_of(writer):
            try:
                batch = from_document(document)
                if batch.s0 in covered and batch.s0 + batch.n - 1 in covered:
                    continue
                check(batch)
            except BadBatch:
                continue
            if batch.key in self.told.enrolled.get(writer, ()):
                numbers = range(batch.s0, batch.s0 + batch.n)
                waiting.update(zip(numbers, batch.leaves, strict=True))
        return waiting

    def stray(self, dest: str, document: Mapping[str, Any], waiting: Mapping[int, bytes]) -> None:
        """Judge a record whose number is not sealed."""
        seq = document.get("seq")
        if not isinstance(seq, int | float | Decimal128) or isinstance(seq, bool):
            return  # such a one is told as unnumbered, and judged there
        entry, _ = entry_or_why(document, dest)
        leaf = None if entry is None else sha256(b"\x00" + entry).digest()
        time_ms = time_of(document)
        if isinstance(seq, int) and waiting.get(seq) == leaf and leaf is not None:
            self.report.counts["pending"] += 1
        elif leaf is None and self._is_closed_for(dest):
            self._adopted(dest, document)
        elif leaf is None and time_ms < self._first_ms:
            self.report.counts["unproved"] += 1
        elif leaf is not None and time_ms >= self._last_ms - GRACE_MS:
            overdue = time_ms < self._now_ms - OVERDUE_MS
            self.report.counts["overdue" if overdue else "pending"] += 1
        else:
            self._unsealed(dest, document)

    def unnumbered(self, dest: str, document: Mapping[str, Any]) -> None:
        """Judge a record without writer and number: another logger's, or one put there."""
        ours = any(name in document for name in ("writer", "seq", "salt", "salts", "erased"))
        if self._is_closed_for(dest):
            self._adopted(dest, document)
        elif not ours and time_of(document) < self._first_ms:
            self.report.counts["unproved"] += 1
        elif not ours and self.told.adopted is not None:
            self.report.counts["unproved"] += 1
            self.told.excuses.need("unproved", self.told.adopted)
        else:
            self._unsealed(dest, document)

    def _is_closed_for(self, dest: str) -> bool:
        return dest == NAMES[RECORDS] and self.told.closing.is_closed

    def _adopted(self, dest: str, document: Mapping[str, Any]) -> None:
        """Compare a document without a leaf with what the closing of the adoption committed to."""
        found = self.told.closing.take(document)
        if found is None:
            self._unsealed(dest, document)
        elif found.digest in {digest_of(document), NO_FORM}:
            self.report.counts["adopted"] += 1
            self.told.excuses.need("adopted", found.leaf_index)
        elif str(document.get("_id")) in self.told.erasures:
            name = str(document.get("_id"))
            self.report.counts["adopted"] += 1
            self.report.counts["erased"] += 1
            self.told.excuses.need("adopted", found.leaf_index)
            self.told.erased(name, self.told.erasures[name])
        else:
            text = (
                f"The document {plain(document.get('_id'))} of another logger was altered since "
                "the adoption was closed."
            )
            self.report.add(Kind.ALTERED, text, collection=dest, id=str(document["_id"])[:200])

    def adopted_left(self) -> None:
        """Judge the documents of a closed adoption that did not come by: expired, or gone."""
        if not self.told.closing.is_closed:
            return
        horizon = horizon_ms(self.told.rules, self._now_ms)
        times_ms = [each.time_ms for each in self.told.closing.left.values()]
        due = [
            time_ms
            for time_ms in times_ms
            if horizon is not None and NO_TIME_MS < time_ms <= horizon + CLOCK_MS
        ]
        self.report.counts["expired"] += len(due)
        for time_ms in due:
            self._expired.add(time_ms)
        gone = len(times_ms) - len(due)
        if gone:
            text = (
                f"{gone} documents of another logger, which were there when the adoption was "
                "closed, are gone."
            )
            self.report.add(Kind.MISSING, text, collection=NAMES[RECORDS])

    # -- the end ---------------------------------------------------------------------------------

    def finish(self) -> None:
        """Judge what waited for the whole log: expiry, losses, keys, exchanged records."""
        self.told.judge_losses(self._last_of)
        self._judge_missing()
        self._match_moved()
        self.told.judge_keys(self.report, self._damaged)
        self._judge_erased()
        self.told.judge_excuses(self.report, self._expired, self._now_ms)
        for place in self._altered:
            why = f": {place.why}" if place.why else ""
            text = f"{upper(called(place))} was altered{why}."
            self._add(Kind.ALTERED, text, place)
        for dest, document in self._strays:
            self._add_stray(dest, document)

    def _judge_erased(self) -> None:
        """Look whether the ledger announced each erasure, for the groups that are gone."""
        if any(self.told.unannounced(name, groups) for name, groups, _ in self._erased):
            # What was announced in the last minutes may wait for the sealer, as everything else.
            for document in self._reader.ledger("erasure"):
                details = document.get("details")
                recent = time_of(document) >= self._last_ms - GRACE_MS
                if recent and isinstance(details, Mapping) and entry_or_why(document, "ledger")[0]:
                    self.told.learn_erasure(details, UNSEALED)
        for name, groups, place in self._erased:
            unknown = self.told.unannounced(name, groups)
            if not unknown:
                self.told.erased(name, groups)
            else:
                text = (
                    f"Content of {called(place)} was erased ({', '.join(sorted(unknown))}), and "
                    "no ledger record says so."
                )
                self._add(Kind.ERASED_WITHOUT_RECORD, text, place)

    def _judge_missing(self) -> None:
        horizon = horizon_ms(self.told.rules, self._now_ms)
        newest_ms = self._expired.newest_ms
        if newest_ms >= 0 and (horizon is None or newest_ms > horizon + CLOCK_MS):
            text = (
                f"Of {self.report.counts['expired']} records that are gone, the newest is of "
                f"{moment(newest_ms)}: no sealed ledger record let it expire by now."
            )
            self.report.add(Kind.DELETED_TOO_EARLY, text)
        left: list[Place] = []
        # What took long looks again: a record can come after its leaf.
        again = _MOST_AGAIN if self._clock is not None else 0
        for at, place in enumerate(self._missing):
            loss = self.told.loss_of(place.writer, place.seq)
            if loss is not None and not loss.why_not:
                self.report.counts["explained"] += 1
                self.told.excuses.need("explained", loss.index)
                continue
            if place.kind != LEDGER and horizon is not None and place.time_ms <= horizon + CLOCK_MS:
                self.report.counts["expired"] += 1  # since this began
                self._expired.add(place.time_ms)
                continue
            recent = at < again or place.time_ms >= self._last_ms - GRACE_MS
            held = list(self._reader.records(place.writer, place.seq, 1)) if recent else []
            for dest, document in held:
                entry, _ = entry_or_why(document, dest)
                if entry is not None and sha256(b"\x00" + entry).digest() == place.leaf:
                    self.report.counts["matched"] += 1
                    break
            else:
                self._damaged.add(place.writer)
                if loss is not None:
                    loss.wanted += 1
                left.append(place if loss is None else place._replace(why=loss.why_not))
        self._missing = left

    def _add_missing(self) -> None:
        if self._uncounted:
            text = f"{self._uncounted} more records are gone; their places are not listed."
            self.report.add(Kind.MISSING, text)
        ordered = sorted(self._missing, key=lambda p: (p.writer, p.seq))
        run: list[Place] = []
        for place in [*ordered, None]:
            if run and (
                place is None
                or (place.writer, place.seq, place.kind)
                != (run[-1].writer, run[-1].seq + 1, run[-1].kind)
                or self._early(place) != self._early(run[-1])
            ):
                self._add_run(run)
                run = []
            if place is not None:
                run.append(place)

    def _early(self, place: Place) -> bool:
        """Whether nothing older is left: then retention went too far, else one was picked out."""
        alive = self._oldest_alive_ms
        return place.kind != LEDGER and bool(self.told.rules) and place.time_ms < alive != ENDS_MS

    def _add_run(self, run: Sequence[Place]) -> None:
        first, last = run[0], run[-1]
        many = len(run) > 1
        numbers = f"numbers {first.seq} to {last.seq}" if many else f"number {first.seq}"
        times = moment(first.time_ms) + (f" to {moment(last.time_ms)}" if many else "")
        what = "ledger records" if first.kind == LEDGER else "records"
        text = (
            f"{len(run)} {what if many else what[:-1]} of the writer {first.writer}, {numbers}, "
            f"of {times}, {'are' if many else 'is'} gone"
        )
        if self._early(first):
            ttl_s = max(self.told.rules, key=lambda rule: rule.since_ms).ttl_s
            ends = "" if ttl_s is None else f" It ends on {moment(first.time_ms + ttl_s * 1000)}."
            self._add(
                Kind.DELETED_TOO_EARLY, f"{text}, although retention has not ended.{ends}", first
            )
        else:
            why = f"; that they were lost is not believed: {first.why}" if first.why else ""
            self._add(Kind.MISSING, f"{text}{why}.", first)

    def _match_moved(self) -> None:
        """Look whether a record that does not fit its place fits another one that is wrong."""
        wrong = [*self._altered, *self._missing][:_MOST_MOVED]
        by_leaf = {place.leaf: place for place in wrong}
        moved: set[int] = set()
        at_stray: set[int] = set()
        candidates = [(p.dest, p.document, p) for p in self._altered[:_MOST_MOVED]]
        strays = [(dest, doc, None) for dest, doc in self._strays[:_MOST_MOVED]]
        for number, (dest, document, place) in enumerate([*candidates, *strays]):
            if document is None:
                continue
            home = self._home_of(dest, document, wrong, by_leaf)
            if home is None or home is place:
                continue
            moved |= {id(home)} | ({id(place)} if place is not None else set())
            if place is None:
                at_stray.add(number - len(candidates))
            here = called(place) if place is not None else f"{dest} {document.get('_id')}"
            text = (
                f"{here.capitalize()} holds what was sealed as number {home.seq} of {home.writer}."
            )
            self._add(Kind.REORDERED, text, place or home)
        self._altered = [p for p in self._altered if id(p) not in moved]
        self._missing = [p for p in self._missing if id(p) not in moved]
        self._strays = [s for at, s in enumerate(self._strays) if at not in at_stray]
        self._add_missing()

    def _home_of(
        self,
        dest: str,
        document: Mapping[str, Any],
        wrong: Sequence[Place],
        by_leaf: Mapping[bytes, Place],
    ) -> Place | None:
        for place in wrong:
            numbered = {**document, "writer": place.writer, "seq": place.seq}
            attempts = [numbered]
            if place.document is not None:
                attempts.append({**numbered, "_id": place.document.get("_id")})
                attempts.append({**document, "_id": place.document.get("_id")})
            for attempt in attempts:
                entry, _ = entry_or_why(attempt, dest)
                found = None if entry is None else by_leaf.get(sha256(b"\x00" + entry).digest())
                if found is not None:
                    return found
        return None

    def _add(self, kind: Kind, text: str, place: Place) -> None:
        document = place.document or {}
        self.report.add(
            kind,
            text,
            collection=place.dest or NAMES[place.kind],
            id=str(document["_id"])[:200] if "_id" in document else None,
            call_id=str(document["call_id"])[:200] if document.get("call_id") else None,
            writer=place.writer,
            seq=place.seq,
            time=moment(place.time_ms),
            index=place.leaf_index,
        )

    def _add_stray(self, dest: str, document: Mapping[str, Any]) -> None:
        name = plain(document.get("_id"))
        text = f"The {noun(dest)} {name} was never sealed; it was put there."
        self.report.add(
            Kind.INSERTED,
            text,
            collection=dest,
            id=str(document.get("_id"))[:200],
            writer=str(document["writer"])[:200] if "writer" in document else None,
            seq=document["seq"] if isinstance(document.get("seq"), int) else None,
        )

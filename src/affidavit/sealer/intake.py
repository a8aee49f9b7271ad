"""What a sealer has not sealed yet: batches that are new, late or wrong, and what never came."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Final

from affidavit.event import Document
from affidavit.integrity.errors import BadBatch, IntegrityError
from affidavit.integrity.leaves import LeafBatch
from affidavit.integrity.note import Signs, VerifierKey
from affidavit.integrity.reader import is_item
from affidavit.sealer.cover import Cover, spans
from affidavit.sealer.draft import Draft, Taken
from affidavit.sealer.gaps import GRACE, Watch, is_silent, may_come, silent_writers
from affidavit.sealer.rebuild import has_leaves, part_of, rebuild
from affidavit.sealer.replay import note, place_of
from affidavit.store.sealing import BatchName, SealStore

LOOK_BACK: Final = timedelta(minutes=10)
"""So far below the newest ``sent_at`` new batches are looked for."""

GLANCE_BACK: Final = timedelta(seconds=10)
"""The same for most steps; the whole of it is looked at each :data:`DEEP_EVERY`."""

DEEP_EVERY: Final = timedelta(seconds=15)
FULL_EVERY: Final = timedelta(hours=1)
"""How often every batch there is, and every writer, is compared with what is sealed."""

KEEP_COVER: Final = timedelta(hours=1)
MOST_LEAVES: Final = 50_000
"""Leaves of one seal."""

MOST_BATCHES: Final = 500
BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)
_AT_ONCE: Final = 50
_MOST_KNOWN: Final = 10_000
_MOST_TOLD: Final = 2000
"""Writers that the note of what is sealed names."""

_MOST_ENDED: Final = 500
"""Writers that have ended, looked at in one step."""


class Intake:
    """Finds what is to be sealed, and remembers what is. Part of one sealer; for one thread."""

    def __init__(self, store: SealStore) -> None:
        self._store = store
        self.more = False
        """Whether the last look left something for the next."""
        self.full_at = BEGINNING
        """When everything was last compared with what is sealed."""
        self._deep_at = BEGINNING
        self._scan: datetime | None = None
        """How far the search through all batches has come."""
        self._covers: dict[str, Cover] = {}
        self._touched: dict[str, datetime] = {}
        self._watch = Watch()
        self._known: dict[str, datetime] = {}
        """Batches that need no second look, with their ``sent_at``."""
        self._ended: set[str] = set()
        """Writers that have ended and are still to be looked at."""
        self._settled: dict[str, object] = {}
        """Silent writers of which everything is sealed, by their newest heartbeat's time."""

    # -- what is sealed ----------------------------------------------------------------------

    def cover_of(self, writer: str) -> Cover:
        """Give what is sealed of a writer; looked up in the seals where it is not known."""
        cover = self._covers.get(writer)
        if cover is None:
            cover = self._covers[writer] = self._look_up(writer)
        return cover

    def _look_up(self, writer: str) -> Cover:
        cover = Cover()
        for item in filter(is_item, self._store.items_of(writer)):
            note(cover, item)
        return cover

    def recall(self, state: list[list[Any]]) -> None:
        """Take over what a seal says about the writers at work."""
        for writer, leaves, gaps, key in state:
            self._covers[writer] = Cover(spans(leaves), spans(gaps), key or None)

    def state(self, draft: Draft) -> list[list[Any]]:
        """Say what is sealed of the writers at work, with a draft; see :meth:`recall`."""
        covers = {**self._covers, **draft.covers}
        lately = sorted(covers, key=lambda writer: self._touched.get(writer, draft.now))
        return [
            [writer, *covers[writer].flat(), covers[writer].key or b""]
            for writer in lately[-_MOST_TOLD:]
        ]

    def note_seal(self, seal: Document) -> None:
        """Note what a seal covers of writers that are known; others are looked up when needed."""
        for item in seal["items"]:
            cover = self._covers.get(place_of(item)[0])
            if cover is not None:
                note(cover, item)
            if "b" in item:
                self._known.setdefault(item["b"], seal["at"])
        for each in seal.get("refused", ()):
            self._known.setdefault(each["b"], seal["at"])

    def accept(self, draft: Draft, mark: datetime | None) -> None:
        """Take over what a draft has learned of writers and batches, once it is sealed."""
        for writer, cover in draft.covers.items():
            self._covers[writer] = cover
            self._touched[writer] = draft.now
            self._watch.note(writer, cover, draft.now)
        self._known.update(draft.looked)
        if len(self._known) > _MOST_KNOWN and mark is not None:
            oldest = min(mark, self._scan or mark) - 2 * LOOK_BACK
            self._known = {name: at for name, at in self._known.items() if at >= oldest}

    def progress(self) -> tuple[Any, ...]:
        """Give how far was looked, for :meth:`go_back`."""
        return self._scan, self._deep_at, self.full_at, dict(self._settled), set(self._ended)

    def go_back(self, progress: tuple[Any, ...]) -> None:
        """Look again from there: what was found has not been sealed."""
        self._scan, self._deep_at, self.full_at, self._settled, self._ended = progress

    # -- new batches -----------------------------------------------------------------------------

    def gather(self, draft: Draft, newest: datetime | None, signer: Signs, *, full: bool) -> None:
        """Take in what is not sealed yet: new batches, oldest first, and what did not come.

        ``newest`` is the ``sent_at`` up to which batches were looked at; ``signer`` signs batches
        that are built again.
        """
        now = draft.now
        self.more = False
        if self._scan is None and (full or now - self.full_at >= FULL_EVERY):
            self._scan = BEGINNING
        scanning, deep = self._scan is not None, now - self._deep_at >= DEEP_EVERY
        mark = newest or BEGINNING + LOOK_BACK
        if self._scan is not None:
            names = self._unsealed(self._store.batch_names(self._scan))
        elif deep:
            names = self._unsealed(self._store.batch_names(mark - LOOK_BACK))
        else:
            recent = self._store.batch_names(mark - GLANCE_BACK)
            names = (each for each in recent if each.id not in self._known)
        wanted = list(islice(names, MOST_BATCHES + 1))
        taken = self._take(draft, wanted[:MOST_BATCHES])
        if taken < len(wanted):
            self.more = True
            if scanning and taken:
                self._scan = wanted[taken - 1].sent_at
            return
        if scanning:
            self._scan, self.full_at = None, now
        if scanning or deep or self._ended:
            self._deep_at = now
            self._fill(draft, signer, full=scanning)

    def _take(self, draft: Draft, names: list[BatchName]) -> int:
        """Take in batches, as many as a seal has room for; returns how many."""
        for at in range(0, len(names), _AT_ONCE):
            group = names[at : at + _AT_ONCE]
            found = {each["_id"]: each for each in self._store.batches([n.id for n in group])}
            for place, name in enumerate(group):
                if len(draft.leaves) >= MOST_LEAVES:
                    return at + place
                if name.id in found:
                    self._take_one(draft, found[name.id], name.sent_at)
        return len(names)

    def _take_one(self, draft: Draft, document: Document, sent_at: datetime) -> None:
        draft.looked[document["_id"]] = sent_at
        try:
            verdict = draft.take(document)
            if verdict is Taken.KEY_UNKNOWN:
                writer = document["w"]
                key = self._enrolled(writer) or draft.cover(writer).key
                verdict = draft.take(document, key or bytes(document["key"]))
        except BadBatch as error:
            draft.refuse(document["_id"], str(error))
            return
        if verdict is Taken.OVERLAPS and not self._store.sealed([document["_id"]]):
            self._agree(draft, document)

    def _unsealed(self, names: Iterator[BatchName]) -> Iterator[BatchName]:
        """Leave out what is sealed, asking the store for many at a time."""
        group: list[BatchName] = []
        for name in names:
            if name.id in self._known:
                continue
            group.append(name)
            if len(group) == MOST_BATCHES:
                yield from self._not_sealed(group)
                group = []
        yield from self._not_sealed(group)

    def _not_sealed(self, group: list[BatchName]) -> Iterator[BatchName]:
        sealed = self._store.sealed([name.id for name in group]) if group else set()
        for name in group:
            if name.id in sealed:
                self._known[name.id] = name.sent_at
            else:
                yield name

    def _agree(self, draft: Draft, document: Document) -> None:
        """Compare a batch with what is sealed already of the same numbers."""
        sealed = filter(is_item, self._store.items_of(document["w"]))
        for item in [*sealed, *draft.items]:
            if "b" not in item or item["b"] == document["_id"]:
                continue
            writer, start, end = place_of(item)
            if writer == document["w"]:
                for other in self._store.batches([item["b"]]):
                    if not draft.agree(document, other, start, end):
                        why = f"other leaves of the same numbers are sealed ({item['b'][:80]})"
                        draft.refuse(document["_id"], why)
                        return

    def _enrolled(self, writer: str) -> bytes | None:
        """Find the key that a writer's first record names."""
        for _, record in self._store.records(writer, 0, 1):
            for part in ("details", "actor"):
                said = record.get(part)
                vkey = said.get("leaf_key") if isinstance(said, dict) else None
                if isinstance(vkey, str):
                    try:
                        return VerifierKey.parse(vkey).public
                    except IntegrityError:
                        return None
        return None

    # -- what did not come -----------------------------------------------------------------------

    def _fill(self, draft: Draft, signer: Signs, *, full: bool) -> None:
        """Build batches again that died with their writer, and note gaps."""
        now = draft.now
        beats = self._store.writers()
        for writer in self._watch.writers():
            cover = draft.cover(writer)
            for start, end in self._watch.ripe(writer, cover, beats.get(writer), now):
                self._build(draft, signer, writer, start, end)
        self._ended |= set(silent_writers(beats, now))
        if full:
            self._ended |= self._store.known_writers() - beats.keys()
        for writer in sorted(self._ended)[:_MOST_ENDED]:
            self._ended.discard(writer)
            beat = beats.get(writer)
            mark = beat.get("at") if beat is not None else None
            if self._settled.get(writer, self) != mark and self._finish(draft, signer, writer):
                self._settled[writer] = mark
        self.more = self.more or bool(self._ended)
        self._forget(beats, now)

    def _finish(self, draft: Draft, signer: Signs, writer: str) -> bool:
        """See that all of a silent writer's records are sealed; False if it is too early."""
        last = self._store.last_number(writer)
        if last is None:
            return True
        cover = draft.covers.get(writer) or self._covers.get(writer) or self._look_up(writer)
        if not cover.holes(last + 1):
            return True
        newest = next((record for _, record in self._store.records(writer, last, 1)), None)
        if newest is None or (not has_leaves(newest) and not cover.sealed):
            return True  # written before there were leaves: unproved
        at = newest.get("timestamp")
        if isinstance(at, datetime) and draft.now - at < GRACE:
            return False  # a command may be about to bring its leaf
        cover = draft.cover(writer)
        for start, end in cover.holes(last + 1):
            self._build(draft, signer, writer, start, end)
        return not self.more

    def _build(self, draft: Draft, signer: Signs, writer: str, start: int, end: int) -> None:
        if len(draft.leaves) >= MOST_LEAVES:
            self.more = True
            return
        found = rebuild(self._store, signer, writer, start, end)
        for batch in found.batches:
            document = batch.as_document()
            if self._store.add_batch(document):
                self._take_one(draft, document, draft.now)
                draft.rebuilt += 1
                continue
            for other in self._store.batches([batch.id]):  # it came late, or a wrong one is there
                self._take_one(draft, other, draft.now)
            for low, high in draft.cover(writer).sealed.missing(batch.s0, batch.s0 + batch.n):
                self._build_past(draft, signer, batch, low, high)
        for low, high in found.absent:
            draft.gap(writer, low, high)
        for low, high in found.unproved:
            draft.cover(writer).pass_over(low, high)
        if found.end < end:
            self.more = True

    def _build_past(
        self, draft: Draft, signer: Signs, batch: LeafBatch, start: int, end: int
    ) -> None:
        """Seal what a wrong batch stands in the way of: all but the number whose name it took."""
        while start < end:
            part = part_of(batch, start, end, signer)
            if start > batch.s0 and self._store.add_batch(part.as_document()):
                self._take_one(draft, part.as_document(), draft.now)
                draft.rebuilt += 1
                return
            draft.gap(batch.w, start, start + 1)
            start += 1

    def _forget(self, beats: dict[str, Document], now: datetime) -> None:
        """Let go of writers that have ended; they can be looked up again."""
        for writer, at in list(self._touched.items()):
            beat = beats.get(writer)
            over = beat is None or (is_silent(beat, now) and not may_come(beat, now))
            if over and now - at >= KEEP_COVER:
                self._touched.pop(writer)
                self._covers.pop(writer, None)
                self._watch.forget(writer)
        self._settled = {w: at for w, at in self._settled.items() if w in beats or at is None}

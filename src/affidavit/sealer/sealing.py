"""One step of sealing: what is new is checked, ordered, hashed into the tree, signed and inserted.

State is kept between steps, and all of it can be had again from the newest seals. A step works on
copies and takes them over only when the store has accepted its seal, so that whatever fails, or
whoever was faster, the next step begins with what is stored.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, Final

from affidavit.event import Document
from affidavit.integrity.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from affidavit.integrity.errors import BadBatch, IntegrityError
from affidavit.integrity.note import Signs, VerifierKey
from affidavit.sealer import keys
from affidavit.sealer.cover import Cover, spans
from affidavit.sealer.draft import Draft, Taken
from affidavit.sealer.gaps import GRACE, Watch, is_silent, may_come, silent_writers
from affidavit.sealer.keys import LogKey, Reopen
from affidavit.sealer.rebuild import has_leaves, rebuild
from affidavit.sealer.replay import leaves_of, note, place_of
from affidavit.sealer.seen import Seen
from affidavit.sealer.tree import Tree, WholeTile, broken, load
from affidavit.store.sealing import BatchName, SealStore

LOOK_BACK: Final = timedelta(minutes=10)
"""So far below the newest ``sent_at`` new batches are looked for."""

GLANCE_BACK: Final = timedelta(seconds=10)
"""The same for most steps; the whole of it is looked at each :data:`DEEP_EVERY`."""

DEEP_EVERY: Final = timedelta(seconds=15)
FULL_EVERY: Final = timedelta(hours=1)
"""How often every batch there is, and every writer, is compared with what is sealed."""

STATE_EVERY: Final = timedelta(seconds=60)
IDLE: Final = timedelta(minutes=10)
"""How often a checkpoint is signed although nothing came."""

KEEP_COVER: Final = timedelta(hours=1)
MOST_LEAVES: Final = 50_000
"""Leaves of one seal."""

MOST_BATCHES: Final = 500
_AT_ONCE: Final = 50
_BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_SEEN: Final = 10_000


@dataclass(frozen=True, slots=True)
class Sealed:
    """What one step has added to the log."""

    k: int
    size: int
    leaves: int
    batches: int
    rebuilt: int
    gaps: int
    late: int
    refused: int
    checkpoint: str


def this_process(where: str) -> Document:
    """Say who seals; ``where`` is ``service``, ``command`` or ``in-process``."""
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "program": Path(sys.argv[0] or "python").name,
        "where": where,
    }


class Sealer:
    """Seals one log. For one thread; several, anywhere, may work on the same log."""

    def __init__(
        self,
        store: SealStore,
        reopen: Reopen,
        *,
        where: str = "command",
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        seen: Seen | None = None,
    ) -> None:
        """``reopen`` finds the log's key, now and after another process has rotated it."""
        self._store = store
        self._reopen = reopen
        self._clock = clock
        self._by = this_process(where)
        self._seen = seen
        self._key: LogKey | None = None
        self._log_keys: set[bytes] = set()
        self._tree: Tree | None = None
        self.k = -1
        """The newest seal."""
        self.lost = 0
        """Seals that another sealer added first."""
        self.more = False
        """Whether the last step left something for the next."""
        self._mark: datetime | None = None
        self._at = _BEGINNING
        self._covers: dict[str, Cover] = {}
        self._touched: dict[str, datetime] = {}
        self._watch = Watch()
        self._known: dict[str, datetime] = {}
        """Batches that need no second look, with their ``sent_at``."""
        self._settled: dict[str, object] = {}
        """Silent writers of which everything is sealed, by their newest heartbeat's time."""
        self._scan: datetime | None = None
        """How far the search through all batches has come."""
        self._deep_at = self._full_at = _BEGINNING
        self._state_at = _BEGINNING
        self._tiles_due: list[WholeTile] = []

    @property
    def key(self) -> LogKey:
        """The log's key; asks the store at first. Raises SealError and StoreError."""
        if self._key is None:
            self._key = self._reopen()
        return self._key

    @property
    def gives_tiles(self) -> bool:
        """False where stored tiles were found to be wrong, so that none are added."""
        return self._tree is None or self._tree.gives_tiles

    # -- a step ----------------------------------------------------------------------------------

    def step(self, *, full: bool = False) -> Sealed | None:
        """Seal what is new; None if there was nothing, or another sealer was faster.

        With ``full`` everything is looked at, not only what came lately. Raises SealError where the
        log cannot go on, StoreError where the store does not answer.
        """
        tree = self._ready()
        now = self._clock()
        before = (self._scan, self._deep_at, self._full_at, dict(self._settled))
        done = None
        try:
            draft = Draft(self._cover_of, self._log_keys, now)
            self._gather(draft, now, full=full)
            idle = self.k >= 0 and now - self._at >= IDLE
            if draft.items or draft.refused or idle:
                done = self._commit(tree, draft, now)
            else:
                self._pass_over(draft, now)
                before = (self._scan, self._deep_at, self._full_at, self._settled)
        finally:
            if done is None:  # what was looked at is not sealed: look again
                self._scan, self._deep_at, self._full_at, self._settled = before
        return done

    def rotate(self, new: Signs) -> Sealed | None:
        """Let the key name the one that signs from the next seal on.

        None if another sealer was faster; try again. ``new`` is used after a restart.
        """
        tree = self._ready()
        now = self._clock()
        draft = Draft(self._cover_of, self._log_keys, now)
        at_ms = int(now.timestamp() * 1000)
        turn = {"vkey": new.vkey, "note": keys.rotation_note(self.key.signer, new, at_ms)}
        return self._commit(tree, draft, now, turn)

    def _ready(self) -> Tree:
        if self._tree is None:
            self._resume()
        self._put_tiles()
        for seal in self._store.seals(self.k + 1):
            self._follow(seal)
        assert self._tree is not None  # noqa: S101 - _resume has set it
        return self._tree

    def _commit(
        self, tree: Tree, draft: Draft, now: datetime, turn: Document | None = None
    ) -> Sealed | None:
        grown = tree.clone()
        tiles = grown.extend(draft.leaves)
        checkpoint = Checkpoint(self.key.origin, grown.size, grown.root())
        seal: dict[str, Any] = {
            "_id": self.k + 1,
            "i0": tree.size,
            "n": len(draft.leaves),
            "items": draft.items,
            "frontier": grown.frontier(),
            "size": grown.size,
            "root": checkpoint.root,
            "cp": sign_checkpoint(checkpoint, self.key.signer),
            "vkey": self.key.vkey,
            "at": now,
            "mark": self._marked(draft),
            "by": self._by,
        }
        if draft.refused:
            seal["refused"] = draft.refused
        if turn is not None:
            seal["key"] = turn
        if now - self._state_at >= STATE_EVERY:
            seal["state"], seal["full_at"] = self._state(draft), self._full_at
        if not self._store.add_seal(seal):
            self.lost += 1
            self.more = True
            return None
        if "state" in seal:
            self._state_at = now
        self._tree = grown
        self._accept(seal)
        self._pass_over(draft, now)
        self._tiles_due += tiles
        self._put_tiles()
        if turn is not None:
            self._turn(turn, new=None)
        return Sealed(
            k=seal["_id"],
            size=seal["size"],
            leaves=seal["n"],
            batches=draft.batches,
            rebuilt=draft.rebuilt,
            gaps=draft.gaps,
            late=draft.late,
            refused=len(draft.refused),
            checkpoint=seal["cp"],
        )

    def _marked(self, draft: Draft) -> datetime | None:
        """Give the newest ``sent_at`` looked at; not later than now, whatever a clock said."""
        times = [min(sent_at, draft.now) for sent_at in draft.looked.values()]
        return max([*times, *([self._mark] if self._mark else [])], default=None)

    def _pass_over(self, draft: Draft, now: datetime) -> None:
        """Take over what a draft has learned of writers and batches."""
        for writer, cover in draft.covers.items():
            self._covers[writer] = cover
            self._touched[writer] = now
            self._watch.note(writer, cover, now)
        self._known.update(draft.looked)
        if len(self._known) > _MOST_SEEN and self._mark is not None:
            oldest = min(self._mark, self._scan or self._mark) - 2 * LOOK_BACK
            self._known = {name: at for name, at in self._known.items() if at >= oldest}

    def _accept(self, seal: Document) -> None:
        self.k, self._at = seal["_id"], seal["at"]
        self._mark = seal.get("mark") or self._mark
        if self._seen is not None:
            self._seen.remember(self.key.origin, seal)

    def _put_tiles(self) -> None:
        """Write the tiles that are due; whatever fails here is tried again at the next step."""
        if self._tiles_due:
            self._store.put_tiles(self._tiles_due)
            self._tiles_due = []

    # -- starting, and what other sealers did ----------------------------------------------------

    def _resume(self) -> None:
        key, last = self.key, self._store.last_seal()
        identity = self._store.identity()
        if self._seen is not None:
            self._seen.check(key.origin, last)
        if identity is not None:
            self._log_keys.add(VerifierKey.parse(identity["vkey"]).public)
        self._log_keys.add(key.key.public)
        if last is None:
            self._tree = Tree.empty()
            return
        signer = last.get("vkey", key.vkey)
        self._check(last, VerifierKey.parse(signer) if "key" in last else key.key)
        tree = load(self._store, last)
        self._recall(last)
        self._accept(last)
        self._tree = tree

    def _check(self, seal: Document, key: VerifierKey) -> None:
        """Check that a seal is what one with the log's key wrote."""
        try:
            said = open_checkpoint(seal["cp"], key).checkpoint
            holds = said == (key.name, seal["size"], bytes(seal["root"]))
            holds = holds and seal["size"] == seal["i0"] + seal["n"]
        except (IntegrityError, KeyError, TypeError) as error:
            raise broken(seal) from error
        if not holds:
            raise broken(seal)

    def _recall(self, last: Document) -> None:
        """Find what is sealed of the writers at work: the newest note of it, and what came then."""
        look = 256
        while True:
            from_k = max(0, last["_id"] - look)
            seals = [seal for seal in self._store.seals(from_k) if seal["_id"] <= last["_id"]]
            noted = [seal for seal in seals if "state" in seal]
            if noted or from_k == 0:
                break
            look *= 4
        if not noted:
            return  # writers are looked up one by one
        self._state_at = noted[-1]["at"]
        self._full_at = noted[-1].get("full_at", _BEGINNING)
        for writer, leaves, gaps, key in noted[-1]["state"]:
            self._covers[writer] = Cover(spans(leaves), spans(gaps), key or None)
        for seal in seals:
            if seal["_id"] > noted[-1]["_id"]:
                self._note_items(seal)

    def _note_items(self, seal: Document) -> None:
        """Note what a seal covers of writers that are known; others are looked up when needed."""
        for item in seal["items"]:
            cover = self._covers.get(place_of(item)[0])
            if cover is not None:
                note(cover, item)
            if "b" in item:
                self._known.setdefault(item["b"], seal["at"])

    def _follow(self, seal: Document) -> None:
        """Take over a seal that another sealer has added."""
        assert self._tree is not None  # noqa: S101 - only after _resume
        if seal["_id"] != self.k + 1 or seal["i0"] != self._tree.size:
            raise broken(seal)
        self._check(seal, self.key.key)
        grown = self._tree.clone()
        tiles = grown.extend(leaves_of(self._store, [seal]))
        if grown.root() != bytes(seal["root"]):
            raise broken(seal)
        self._tree = grown
        self._note_items(seal)
        for each in seal.get("refused", ()):
            self._known.setdefault(each["b"], seal["at"])
        if "state" in seal:
            self._state_at = seal["at"]
        self._accept(seal)
        self._tiles_due += tiles
        self._put_tiles()
        if "key" in seal:
            self._turn(seal["key"], new=self._reopen)

    def _turn(self, turn: Document, new: Reopen | None) -> None:
        """Go on with the new key after a rotation."""
        vkey = keys.check_rotation(turn["note"], self.key.vkey)
        self._log_keys.add(VerifierKey.parse(vkey).public)
        self._key = None
        if new is not None:
            self._key = new()

    # -- new batches -----------------------------------------------------------------------------

    def _gather(self, draft: Draft, now: datetime, *, full: bool) -> None:
        """Take in what is not sealed yet: new batches, oldest first, and what did not come."""
        self.more = False
        if self._scan is None and (full or now - self._full_at >= FULL_EVERY):
            self._scan = _BEGINNING
        scanning, deep = self._scan is not None, now - self._deep_at >= DEEP_EVERY
        mark = self._mark or _BEGINNING + LOOK_BACK
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
            self._scan, self._full_at = None, now
        if scanning or deep:
            self._deep_at = now
            self._fill(draft, now, full=scanning)

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
        for item in [*self._store.items_of(document["w"]), *draft.items]:
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

    def _cover_of(self, writer: str) -> Cover:
        """Give what is sealed of a writer; looked up in the seals where it is not known."""
        cover = self._covers.get(writer)
        if cover is None:
            cover = Cover()
            if self.k >= 0:
                for item in self._store.items_of(writer):
                    note(cover, item)
            self._covers[writer] = cover
        return cover

    # -- what did not come -----------------------------------------------------------------------

    def _fill(self, draft: Draft, now: datetime, *, full: bool) -> None:
        """Build batches again that died with their writer, and note gaps."""
        beats = self._store.writers()
        for writer in self._watch.writers():
            cover = draft.cover(writer)
            for start, end in self._watch.ripe(writer, cover, beats.get(writer), now):
                self._build(draft, writer, start, end)
        silent = set(silent_writers(beats, now))
        if full:
            silent |= self._store.known_writers() - beats.keys()
        for writer in sorted(silent):
            beat = beats.get(writer)
            mark = beat.get("at") if beat is not None else None
            if self._settled.get(writer, self) != mark and self._finish(draft, writer, now):
                self._settled[writer] = mark
        self._forget(beats, now)

    def _finish(self, draft: Draft, writer: str, now: datetime) -> bool:
        """See that all of a silent writer's records are sealed; False if it is too early."""
        last = self._store.last_number(writer)
        if last is None:
            return True
        cover = draft.cover(writer)
        if not cover.holes(last + 1):
            return True
        newest = next((record for _, record in self._store.records(writer, last, 1)), None)
        if newest is None or (not has_leaves(newest) and not cover.sealed):
            return True  # written before there were leaves: unproved
        at = newest.get("timestamp")
        if isinstance(at, datetime) and now - at < GRACE:
            return False  # a command may be about to bring its leaf
        for start, end in cover.holes(last + 1):
            self._build(draft, writer, start, end)
        return not self.more

    def _build(self, draft: Draft, writer: str, start: int, end: int) -> None:
        if len(draft.leaves) >= MOST_LEAVES:
            self.more = True
            return
        found = rebuild(self._store, self.key.signer, writer, start, end)
        for batch in found.batches:
            document = batch.as_document()
            if self._store.add_batch(document):
                self._take_one(draft, document, draft.now)
                draft.rebuilt += 1
                continue
            for other in self._store.batches([batch.id]):  # it came late, or a wrong one is there
                self._take_one(draft, other, draft.now)
            for low, high in draft.cover(writer).sealed.missing(batch.s0, batch.s0 + batch.n):
                draft.gap(writer, low, high)
        for low, high in found.absent:
            draft.gap(writer, low, high)
        for low, high in found.unproved:
            draft.cover(writer).pass_over(low, high)
        if found.end < end:
            self.more = True

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

    def _state(self, draft: Draft) -> list[list[Any]]:
        covers = {**self._covers, **draft.covers}
        return [[writer, *cover.flat(), cover.key or b""] for writer, cover in covers.items()]

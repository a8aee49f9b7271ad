"""One step of sealing: what is new is checked, ordered, hashed into the tree, signed and inserted.

State is kept between steps, and all of it can be had again from the newest seals. A step works on
copies and takes them over only when the store has accepted its seal, so that whatever fails, or
whoever was faster, the next step begins with what is stored.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from affidavit.event import Document
from affidavit.integrity.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from affidavit.integrity.errors import IntegrityError
from affidavit.integrity.note import Signs, VerifierKey
from affidavit.sealer import keys
from affidavit.sealer.draft import Draft
from affidavit.sealer.intake import BEGINNING, Intake
from affidavit.sealer.keys import LogKey, Reopen
from affidavit.sealer.replay import leaves_of, numbered, sound
from affidavit.sealer.seen import Seen
from affidavit.sealer.tree import Tree, WholeTile, broken, load
from affidavit.store.sealing import SealStore

STATE_EVERY: Final = timedelta(seconds=60)
IDLE: Final = timedelta(minutes=10)
"""How often a checkpoint is signed although nothing came."""


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
        self._intake = Intake(store)
        self._lost_last = False
        self.k = -1
        """The newest seal."""
        self.lost = 0
        """Seals that another sealer added first."""
        self._mark: datetime | None = None
        self._at = BEGINNING
        self._state_at = BEGINNING
        self._tiles_due: list[WholeTile] = []

    @property
    def key(self) -> LogKey:
        """The log's key; asks the store at first. Raises SealError and StoreError."""
        if self._key is None:
            self._key = self._reopen()
        return self._key

    @property
    def more(self) -> bool:
        """Whether the last step left something for the next."""
        return self._intake.more or self._lost_last

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
        self._lost_last = False
        tree = self._ready()
        now = self._clock()
        before, done = self._intake.progress(), None
        try:
            draft = Draft(self._intake.cover_of, self._log_keys, now)
            self._intake.gather(draft, self._mark, self.key.signer, full=full)
            idle = self.k >= 0 and now - self._at >= IDLE
            if draft.items or draft.refused or idle:
                done = self._commit(tree, draft, now)
            else:
                self._intake.accept(draft, self._mark)
                before = self._intake.progress()
        finally:
            if done is None:  # what was looked at is not sealed: look again
                self._intake.go_back(before)
        return done

    def rotate(self, new: Signs) -> Sealed | None:
        """Let the key name the one that signs from the next seal on.

        None if another sealer was faster; try again. ``new`` is used after a restart.
        """
        tree = self._ready()
        now = self._clock()
        draft = Draft(self._intake.cover_of, self._log_keys, now)
        at_ms = int(now.timestamp() * 1000)
        turn = {"vkey": new.vkey, "note": keys.rotation_note(self.key.signer, new, at_ms)}
        return self._commit(tree, draft, now, turn)

    def _ready(self) -> Tree:
        if self._tree is None:
            self._resume()
        self._put_tiles()
        for seal in numbered(self._store.seals(self.k + 1)):
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
            seal["state"], seal["full_at"] = self._intake.state(draft), self._intake.full_at
        self._lost_last = not self._store.add_seal(seal)
        if self._lost_last:
            self.lost += 1
            return None
        if "state" in seal:
            self._state_at = now
        self._tree = grown
        self._accept(seal)
        self._intake.accept(draft, self._mark)
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
        if last is not None:
            sound(last)
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
            found = numbered(self._store.seals(from_k))
            seals = [seal for seal in found if seal["_id"] <= last["_id"]]
            noted = [seal for seal in seals if "state" in seal]
            if noted or from_k == 0:
                break
            look *= 4
        if not noted:
            return  # writers are looked up one by one
        self._state_at = noted[-1]["at"]
        self._intake.full_at = noted[-1].get("full_at", BEGINNING)
        self._intake.recall(noted[-1]["state"])
        for seal in seals:
            if seal["_id"] > noted[-1]["_id"]:
                self._intake.note_seal(seal)

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
        self._intake.note_seal(seal)
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

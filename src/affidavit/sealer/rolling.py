"""Verifying the log again and again where it is sealed, slowly, so that tampering is noticed.

The whole log is replayed and every record compared, at a bounded share of one processor: see
:class:`Rolling`. Meanwhile single seals are drawn at random, many an hour; one that does not fit
makes the replay go on ten times as fast. What an outsider verifies is worth more: who holds this
host can silence this. It notices, unasked, what others do to the store.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Self, cast

from affidavit.errors import AffidavitError, StoreError, StoreRefused
from affidavit.event import Document
from affidavit.integrity.errors import IntegrityError
from affidavit.integrity.findings import Report
from affidavit.integrity.note import VerifierKey
from affidavit.integrity.reader import is_seal
from affidavit.integrity.sample import fits
from affidavit.integrity.trust import Trust
from affidavit.integrity.verify import Scope, verify
from affidavit.sealer.outcome import OUTCOME
from affidavit.sealer.sealing import this_process
from affidavit.store.sealing import SealStore

if TYPE_CHECKING:
    from affidavit.integrity.reader import Reader

FIRST_S: Final = 60.0
"""Pause before the first look of an application: short-lived ones verify nothing."""

REST_S: Final = 900.0
"""Pause between two times through the log."""

TELL_EVERY_S: Final = 3600.0
"""How often an outcome without findings is kept."""

DRAW_EVERY_S: Final = 60.0
HURRY: Final = 10
MOST_PERCENT: Final = 50
_AT_ONCE: Final = 100
"""Records compared between two looks at the clock: a few ms."""

_LEAVE_S: Final = 5.0
_SEALS_AT_ONCE: Final = 50
_MOST_SEALS: Final = 2**53
_LEAST_PAUSE_S: Final = 0.02
_MOST_TOLD: Final = 5
"""Reasons for what is gone that are told at once, the newest."""

_LONGEST_PAUSE_S: Final = 300.0
"""A cursor of the server lives for ten minutes."""


class _StoppedError(Exception):
    """It is to end now, in the middle of the log."""


class Rolling:
    """Verifies a log round and round, on a thread of its own, until it is stopped."""

    def __init__(
        self,
        store: SealStore,
        vkey: Callable[[], str],
        percent: float,
        *,
        where: str,
        tell: Callable[[str], None],
        hold: Callable[[Report], None] | None = None,
        first_s: float = FIRST_S,
    ) -> None:
        """``vkey``: the log's key as the sealer knows it. ``percent``: of one processor.

        ``tell`` hears of findings, and once of each reason why nothing can be verified. ``hold``
        may add to a report what is known outside, as anchors do. ``first_s`` is the pause before
        the first look.
        """
        self._store, self._vkey, self._tell, self._hold = store, vkey, tell, hold
        self._first_s = first_s
        self._share = min(percent, MOST_PERCENT) / 100
        self._by = this_process(where)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._saved: tuple[str, str] | None = None
        self._told = ""
        self._excused: dict[str, Any] | None = None
        self._kept_s = -math.inf
        self._paced = cast("Reader", Paced(store, self._pace))
        self._mark_s = 0.0
        self._next_draw_s = 0.0
        self._hurry = 1
        self._until_k: float = 0
        self.rounds = 0
        """How often the whole log was verified."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        if self._thread is not None:
            self._thread.join(_LEAVE_S)

    def start(self) -> None:
        """Start the thread, if it has a share of a processor."""
        if self._share > 0:
            self._thread = threading.Thread(target=self._run, name="affidavit-rolling", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Tell the thread to end; it does so within some records."""
        self._stop.set()

    # -- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        trouble, pause_s = "", self._first_s
        while not self._stop.wait(pause_s):
            why, pause_s = "", REST_S
            try:
                self.round()
            except _StoppedError:
                return
            except AffidavitError as error:
                why = str(error)
            except Exception as error:
                # The thread must live, and the error's own text could hold anything.
                why = f"It failed ({type(error).__name__})."
            if why and why != trouble and not self._stop.is_set():
                # After a stop the store may be closed under a round: that is no trouble of the log.
                self._tell(f"The log could not be verified on the way. {why}")
            trouble = why

    def round(self) -> Report | None:
        """Go once through the log; None while nothing is sealed. Raises StoreError, SealError."""
        self._mark_s = time.thread_time()
        last = self._store.last_seal()
        if last is None:
            return None
        # Records come faster, perhaps, than they are read here: those that come now wait for the
        # next round. Their leaves do not, or a writer that was away for long would seem made up.
        # What is no seal says nothing of a size: then everything is looked at.
        self._until_k = last["_id"]
        scope = Scope(until_size=last["size"] if is_seal(last) else None)
        vkey, began_at = self._vkey(), datetime.now(UTC)
        saved = self._saved[1] if self._saved is not None and self._saved[0] == vkey else None
        trust = Trust(vkey, "configuration", saved)
        report = verify(self._paced, trust, now_ms=_now_ms(), scope=scope, clock=_now_ms)
        if self._hold is not None:
            self._hold(report)
        self.rounds += 1
        self._hurry = 1
        if report.clean:
            self._saved = vkey, report.checkpoint
        self._keep(report, began_at)
        return report

    def _keep(self, report: Report, began_at: datetime) -> None:
        """Tell of findings that are new, and keep the outcome where ``status`` finds it."""
        now_s, first = time.monotonic(), report.findings[0].text if report.findings else ""
        said = f"{sorted(report.kinds.items())} {first}" if report.kinds else ""
        excused, new = self._new_excuses(report)
        if said == self._told and not new and now_s - self._kept_s < TELL_EVERY_S:
            return
        found = {kind.value: count for kind, count in report.kinds.items()}
        at = datetime.now(UTC)
        outcome: Document = {
            "_id": f"{OUTCOME}:{int(at.timestamp() * 1000):015d}",
            "at": at,
            "began_at": began_at,
            "size": report.size,
            "matched": report.counts["matched"],
            "found": found,
            "first": first,
            "excused": excused,
            "excused_by": new,
            "by": self._by,
        }
        if new:
            self._tell(
                f"NEW REASONS FOR WHAT IS GONE: {'; '.join(new)}. If you know of none, somebody "
                "gives them who should not: look at these ledger records, and see `affidavit "
                "verify --checkpoint FILE`."
            )
        if said and said != self._told:
            told = ", ".join(f"{count} {kind}" for kind, count in found.items())
            self._tell(
                f"THE LOG DOES NOT HOLD: {told}. First: {first} Run `affidavit verify` with a "
                "checkpoint from outside, and leave the store as it is."
            )
            self._note({name: outcome[name] for name in ("began_at", "size", "found", "first")})
        self._store.add_receipt(outcome)
        self._told, self._kept_s = said, now_s

    def _new_excuses(self, report: Report) -> tuple[dict[str, int], list[str]]:
        """Count what is gone for reasons that the ledger gives; name those that took more now.

        What expires in its time takes more each day, and is no news; that retention became shorter
        is. The first time ever, all is taken as it is.
        """
        now = Counter[str]()
        for each in report.excuses:
            if each.kind not in {"expired", "disbelieved"}:
                now[each.kind] += each.records
        if self._excused is None:
            last = self._store.newest_receipt(f"{OUTCOME}:")
            kept = None if last is None else last.get("excused")
            self._excused = kept if isinstance(kept, dict) else dict(now)
        before, self._excused = self._excused, dict(now)
        more = {kind for kind, count in now.items() if count > _number(before.get(kind))}
        new = [str(each) for each in report.excuses if each.kind in more and each.records]
        return dict(now), new[-_MOST_TOLD:]

    def _note(self, details: Document) -> None:
        """Leave a record in the ledger; it is sealed like every other."""
        try:
            self._store.note_damage(details)
        except StoreRefused as error:
            self._tell(f"It is not noted in the ledger. {error}")

    # -- the pace --------------------------------------------------------------------------------

    def _pace(self, k: float = 0) -> None:
        """Rest as long as the processor time since the last rest asks for. Raises when stopped.

        ``k`` is a seal that was read. Behind what is looked at in this round there is no time.
        """
        if k > self._until_k:
            self._hurry = HURRY
        if self._stop.is_set():
            raise _StoppedError
        if time.monotonic() >= self._next_draw_s:
            self._next_draw_s = time.monotonic() + DRAW_EVERY_S
            self._draw()
        share = min(self._share * self._hurry, MOST_PERCENT / 100)
        busy_s = time.thread_time() - self._mark_s
        pause_s = busy_s * (1 / share - 1)
        if pause_s < _LEAST_PAUSE_S:
            return
        if self._stop.wait(min(pause_s, _LONGEST_PAUSE_S)):
            raise _StoppedError
        self._mark_s = time.thread_time()

    def _draw(self) -> None:
        """Look at one seal out of all; hurry where it does not fit."""
        last = self._store.last_seal()
        if last is None:
            return
        k = random.randint(0, int(last["_id"]))  # noqa: S311 - no secret
        try:
            good = fits(self._store, VerifierKey.parse(self._vkey()), k, _now_ms())
        except (IntegrityError, StoreError):
            return  # the round will say what is wrong
        if not good:
            self._hurry = HURRY


class Paced:
    """The log as a verification reads it, with rests; questions stay short however long it takes.

    A :class:`~affidavit.integrity.reader.Reader`.
    """

    def __init__(self, store: SealStore, pace: Callable[..., None]) -> None:
        self._store, self._pace = store, pace

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def seals(self, from_k: int = 0) -> Iterator[Document]:
        """Give the seals in order, asking anew for some at a time."""
        at = from_k
        while True:
            part = list(islice(self._store.seals(at), _SEALS_AT_ONCE))
            for seal in part:
                yield seal
                self._pace(seal["_id"])
            if len(part) < _SEALS_AT_ONCE or not part[-1]["_id"] < _MOST_SEALS:
                return
            at = math.floor(part[-1]["_id"]) + 1

    def records(self, writer: str, s0: int, n: int) -> Iterator[tuple[str, Document]]:
        """Give the records of these numbers, with rests in between."""
        for start in range(s0, s0 + n, _AT_ONCE):
            yield from self._store.records(writer, start, min(_AT_ONCE, s0 + n - start))
            self._pace()

    def strays(
        self, writer: str, ranges: Sequence[tuple[int, int]]
    ) -> Iterator[tuple[str, Document]]:
        """Give the records of a writer that are not sealed."""
        yield from self._store.strays(writer, ranges)
        self._pace()

    def batches_of(self, writer: str) -> Iterator[Mapping[str, Any]]:
        """Give the leaf batches of a writer, with rests in between."""
        for batch in self._store.batches_of(writer):
            yield batch
            self._pace()

    def batches(self, ids: Sequence[str]) -> Iterator[Mapping[str, Any]]:
        """Give these leaf batches."""
        yield from self._store.batches(ids)
        self._pace()


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def _now_ms() -> int:
    return int(time.time() * 1000)

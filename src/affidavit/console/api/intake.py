"""From records to the one logger: each client's id once, and waiting until they are kept.

All of it runs on the event loop, so that nothing comes between looking for an id and handing its
record over. Only the writer's thread reaches in from outside, to say what became of a record.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import OrderedDict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from affidavit._awaiting import GRACE_S
from affidavit._engine.inbox import ITEM_OVERHEAD, Item
from affidavit._engine.ticket import State, Ticket
from affidavit.console.api.problems import Problem, busy
from affidavit.console.api.recording import Made, Whose, unchecked
from affidavit.console.threads import run
from affidavit.errors import StoreError
from affidavit.event import Dest
from affidavit.pipeline.snapshot import take

if TYPE_CHECKING:
    from affidavit.console.backend import Backend
    from affidavit.console.visitor import Scope

Ack = Literal["durable", "queued"]

REMEMBERED: Final = 100_000
"""Ids chosen by clients that this process knows to have had, without asking the database."""

FULL_RETRY_S: Final = 2

LONGEST_WAIT_S: Final = 10.0
"""Seconds an answer waits for records that are behind many others; then it says ``queued``."""

_WORDS: Final[Mapping[State, str]] = {
    State.QUEUED: "queued",
    State.LOST: "lost",
    State.DEAD: "dead_letter",
    State.HELD: "memory",
    State.SPOOLED: "spooled",
    State.STORED: "stored",
}
_GONE: Final = frozenset({State.LOST, State.DEAD})
"""States after which a repetition is welcome."""

_ORDER: Final = ("lost", "dead_letter", "memory", "queued", "spooled", "stored", "duplicate")
"""What may become of a record, the least certain first."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of one document."""

    id: str
    stored: str
    """One of ``stored``, ``spooled``, ``queued``, ``memory``, ``dead_letter``, ``lost``; and
    ``duplicate`` where it was there already."""


class Settling:
    """Waits for several tickets with one wake-up of the event loop."""

    def __init__(self, tickets: Sequence[Ticket]) -> None:
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._left = len(tickets)
        self.done: asyncio.Future[None] = self._loop.create_future()
        for ticket in tickets:
            ticket.when_settled(self._one)
        if not tickets:
            self._finish()

    def _one(self) -> None:
        with self._lock:
            self._left -= 1
            last = self._left == 0
        if last:
            # A loop that is closed has nobody who waits.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._finish)

    def _finish(self) -> None:
        if not self.done.done():
            self.done.set_result(None)

    async def wait(self, timeout_s: float) -> None:
        """Wait until all are settled, or time is up. Any number of requests may wait."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self.done), timeout_s)


@dataclass(slots=True)
class _Known:
    """A record of a client's id that this process has had."""

    ticket: Ticket | None
    settling: Settling | None
    settled: State | None = None
    claimed: Whose | None = None
    """Of an unchecked call: whose it says that it is. It may be somebody else's."""

    @property
    def state(self) -> State:
        if self.settled is not None:
            return self.settled
        return State.QUEUED if self.ticket is None else self.ticket.state

    def let_go(self) -> None:
        """Keep only what became of it: a hundred thousand of these are held."""
        if self.ticket is not None and self.ticket.state is not State.QUEUED:
            self.settled, self.ticket, self.settling = self.ticket.state, None, None


class Intake:
    """Hands records to the logger. One for each event loop."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._audit = backend.audit
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._begun: OrderedDict[bytes, Whose] = OrderedDict()
        self._wait_s = max(LONGEST_WAIT_S, backend.config.write_timeout + GRACE_S)

    async def existing(self, ids: Iterable[bytes]) -> dict[bytes, Whose] | None:
        """Tell which of these records the store has; None where it does not answer now."""
        wanted = list(ids)
        if not wanted:
            return {}
        if not self._audit._engine.store_is_up:  # noqa: SLF001 - the logger's own half
            return None
        return await self._ask(wanted)

    async def whose(self, ids: Iterable[bytes]) -> tuple[dict[bytes, Whose], bool]:
        """Tell whose these calls are, and whether that is all that can be known.

        Intents that this process took in are known without the store. It is asked also while the
        writer has given it up for the moment: that may be over.
        """
        wanted = set(ids)
        found = {each: self._begun[each] for each in wanted if each in self._begun}
        rest = list(wanted - found.keys())
        stored = await self._ask(rest) if rest else {}
        return (found, False) if stored is None else (found | stored, True)

    async def _ask(self, wanted: list[bytes]) -> dict[bytes, Whose] | None:
        try:
            return await run(self._backend.log.reader.known, wanted)
        except StoreError:
            return None

    async def record(self, documents: Sequence[Made], ack: Ack) -> list[Taken]:
        """Hand over what is new, and wait as asked. Raises Problem where there is no room.

        Of several records of one id, here or in another request, one is taken.
        """
        if not self._audit.config.enabled:
            raise Problem(503, "Recording is off", "The setting enabled is false.")
        chosen = {part.id: each for each in documents if each.chosen for part in each.parts}
        known = await self.existing(
            part for part, each in chosen.items() if self._remembered(part, each) is None
        )
        stored = known or {}
        # From here to the end of the loop below nothing else runs on this event loop.
        fresh = self._fresh(documents, stored)
        snapshots = [(part.id, take(part.said, plain=part.plain)) for part in fresh.values()]
        self._check_room(sum(len(snapshot) + ITEM_OVERHEAD for _, snapshot in snapshots))
        watched = {each for each in fresh if ack == "durable" or each in chosen}
        mine = self._submit(snapshots, watched)
        for part, each in chosen.items():
            if part in mine:
                mine[part].claimed = each.whose if each.unchecked else None
                self._remember(part, mine[part])
        self._note_begun(documents, mine, asked=known is not None)
        if ack == "queued":
            return [self._taken(each, mine, frozenset()) for each in documents]
        give_up_s = time.monotonic() + self._wait_s
        for settling in self._to_wait_for(documents, mine):
            await settling.wait(max(0.0, give_up_s - time.monotonic()))
        # The store refuses a second record of an id that another instance took in meanwhile.
        dead = [each for each in chosen if each in mine and mine[each].state is State.DEAD]
        twice = frozenset(await self.existing(dead) or ())
        for held in mine.values():
            held.let_go()
        return [self._taken(each, mine, twice) for each in documents]

    def _fresh(self, documents: Sequence[Made], stored: Mapping[bytes, Any]) -> dict[bytes, Any]:
        found: dict[bytes, Any] = {}
        for each in documents:
            for part in each.parts:
                known = part.id in stored or self._remembered(part.id, each) is not None
                if not (each.chosen and known):
                    found.setdefault(part.id, part)
        return found

    def _check_room(self, size: int) -> None:
        limit = self._audit.config.max_queue_bytes
        if size > limit:
            raise Problem(
                413,
                "Too large",
                f"These records take {size} bytes of the queue, which has {limit}. Send less at a "
                "time.",
                more={"limit_bytes": limit},
            )
        if size > self._audit._engine.room_bytes:  # noqa: SLF001 - as above
            raise busy(
                "The queue is full: records come faster than they are stored, or the database is "
                "away and the spool is full. Nothing of this request was taken; send it again.",
                FULL_RETRY_S,
            )

    def _submit(
        self, snapshots: Sequence[tuple[bytes, bytes]], watched: Container[bytes]
    ) -> dict[bytes, _Known]:
        engine = self._audit._engine  # noqa: SLF001 - as above
        now_s = time.monotonic()
        tickets = {each: Ticket() for each, _ in snapshots if each in watched}
        mine: dict[bytes, _Known] = {}
        for each, snapshot in snapshots:
            ticket = tickets.get(each)
            item = Item(Dest.RECORDS, each, snapshot, ticket, now_s)
            if not engine.try_put(item):
                engine.give_up(item)  # the room was looked at, so this is a logger that is closing
            mine[each] = _Known(ticket, None)
        if tickets:
            settling = Settling(list(tickets.values()))
            for each in tickets:
                mine[each].settling = settling
        return mine

    def _to_wait_for(
        self, documents: Sequence[Made], mine: Mapping[bytes, _Known]
    ) -> list[Settling]:
        """Collect what is under way: also another request's, for what it sends at the same time."""
        found: dict[int, Settling] = {}
        for each in documents:
            for part in each.parts:
                known = mine.get(part.id) or self._known.get(part.id)
                if known is not None and known.settling is not None:
                    found[id(known.settling)] = known.settling
        return list(found.values())

    def _remembered(self, part: bytes, document: Made) -> _Known | None:
        """Tell what became of this before, if it is no other's.

        What was taken in unchecked, and is perhaps refused later, must not stand for what somebody
        else says of the same call.
        """
        known = self._known.get(part)
        if known is not None and known.state in _GONE:
            del self._known[part]
            return None
        if known is None or known.claimed not in {None, document.whose}:
            return None
        return known

    def _remember(self, each: bytes, known: _Known) -> None:
        self._known[each] = known
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)

    def _note_begun(
        self, documents: Sequence[Made], mine: Container[bytes], *, asked: bool
    ) -> None:
        """Note whose the intents are that are new for certain.

        An id that a client chose while the store could not be asked may be another's call.
        """
        for each in documents:
            if each.type == "intent" and each.id in mine and (asked or not each.chosen):
                self._begun[each.id] = each.whose
        while len(self._begun) > REMEMBERED:
            self._begun.popitem(last=False)

    def _taken(self, each: Made, mine: Mapping[bytes, _Known], twice: Container[bytes]) -> Taken:
        words = []
        for part in each.parts:
            known = mine.get(part.id)
            if part.id in twice:
                words.append("duplicate")
            elif known is None:
                # It was there already; if only in this process's hands, no safer than that.
                before = self._remembered(part.id, each)
                waits = before is not None and before.state not in {State.SPOOLED, State.STORED}
                words.append(_WORDS[before.state] if before is not None and waits else "duplicate")
            else:
                words.append(_WORDS[known.state])
        return Taken(each.id.hex(), min(words, key=_ORDER.index))


class Judged(NamedTuple):
    """What of several documents may be written, by who sent them."""

    documents: list[Made]
    """All of them; whole calls that may be another's are marked."""
    wrong: list[int]
    """Numbers of those that are about calls which the sender may not see."""
    uncertain: list[int]
    """Numbers of those that name a call of which nobody can tell now whose it is."""


async def judge(intake: Intake, documents: list[Made], scope: Scope) -> Judged:
    """Find what is about another's call; a call that is not there yet is nobody's.

    A whole call under an id that another call has would give that one a second outcome.
    """
    if scope.everything:
        return Judged(documents, [], [])
    # What of each names a call, where the client chose which.
    calls = [each.id if each.type == "call" and each.chosen else each.about for each in documents]
    seen, certain = await intake.whose({call for call in calls if call is not None})
    wrong = {call for call, whose in seen.items() if not scope.sees(*whose)}
    open_ = set() if certain else {call for call in calls if call is not None} - seen.keys()
    return Judged(
        [
            unchecked(each) if each.type == "call" and call in open_ else each
            for each, call in zip(documents, calls, strict=True)
        ],
        [number for number, call in enumerate(calls) if call in wrong],
        [
            number
            for number, (each, call) in enumerate(zip(documents, calls, strict=True))
            if each.type != "call" and call in open_
        ],
    )


def worst(taken: Iterable[Taken]) -> str:
    """Give the least certain of what became of several."""
    return min((each.stored for each in taken), key=_ORDER.index)

"""Counters of one writer, in a memory-mapped file beside its spool.

A SIGKILL ends the process but not the page cache: whoever adopts the spool reads from these numbers
how many records were still in memory, and records them as lost. An increment costs about 0.1 µs.
(They do not survive a power cut in step with the spool; then the spool's own rows are the truth.)

Layout, little-endian: ``AFFC``, u32 version 1, then u64 slots in the order of :class:`Slot`; two
groups of tallies, one for records and one for the ledger. Any thread may count; a lock inside makes
each increment whole. RECORDED alone belongs to the inbox, which has a lock of its own.
"""

from __future__ import annotations

import mmap
import os
import struct
import threading
from collections.abc import Mapping
from enum import IntEnum
from pathlib import Path
from typing import Final

from affidavit.errors import SpoolError
from affidavit.event import Dest

_HEADER: Final = struct.Struct("<4sI")
_MAGIC: Final = b"AFFC"
_VERSION: Final = 1


class Slot(IntEnum):
    """Tallies; each exists once for records and once for the ledger. All only grow."""

    RECORDED = 0
    """Handed over by the application."""
    STORED = 1
    """Confirmed by the store, replayed ones included."""
    SPOOLED_IN = 2
    """Ever put into the spool."""
    SPOOLED_OUT = 3
    """Left the spool again, stored or dead."""
    REPLAYED = 4
    """Stored after having been in the spool."""
    DEAD = 5
    """Refused by the store for good; kept as dead letters."""
    LOST = 6
    """Gone: counted, and reported."""
    UNNUMBERED = 7
    """Of the lost ones: those that found no room in the queue and so never got a number."""


_GROUP: Final = 8
_SEQ: Final = 16  # next sequence number
_SETTLED: Final = 17  # every seq below this is stored, spooled, dead or lost
_LOST_ABOVE: Final = 18  # of the lost ones: how many have a seq that is not below "settled"
_RETRIED: Final = 19  # of the dead ones: stored by a retry meanwhile; records, then ledger
_SLOTS: Final = 24
SIZE: Final = _HEADER.size + 8 * _SLOTS


class Counters:
    """The numbers of one writer; in a mapped file, or in memory where there is no disk."""

    def __init__(self, buffer: mmap.mmap | bytearray) -> None:
        self._buffer = buffer
        self._lock = threading.Lock()
        self._cells = memoryview(buffer)[_HEADER.size : SIZE].cast("Q")

    @classmethod
    def in_memory(cls) -> Counters:
        """Make counters that end with the process."""
        return cls(bytearray(SIZE))

    @classmethod
    def create(cls, path: Path) -> Counters:
        """Make a new file, mode 0600, allocated at once so that a full disk shows now."""
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                os.write(fd, _HEADER.pack(_MAGIC, _VERSION) + bytes(8 * _SLOTS))
                return cls(mmap.mmap(fd, SIZE))
            finally:
                os.close(fd)
        except OSError as error:
            msg = f"The counters file {path.name} cannot be made: {error.strerror}."
            raise SpoolError(msg) from error

    @classmethod
    def open(cls, path: Path) -> Counters:
        """Open the file of a writer that is gone; a damaged one raises SpoolError."""
        try:
            data = path.read_bytes()
        except OSError as error:
            msg = f"The counters file {path.name} cannot be read: {error.strerror}."
            raise SpoolError(msg) from error
        if len(data) < SIZE or _HEADER.unpack_from(data) != (_MAGIC, _VERSION):
            msg = f"The counters file {path.name} is not one of this version."
            raise SpoolError(msg)
        try:
            with path.open("r+b") as file:
                return cls(mmap.mmap(file.fileno(), SIZE))
        except OSError as error:
            msg = f"The counters file {path.name} cannot be mapped: {error.strerror}."
            raise SpoolError(msg) from error

    def add(self, slot: Slot, dest: Dest, count: int = 1) -> None:
        """Count ``count`` more."""
        place = slot + _GROUP if dest is Dest.LEDGER else slot
        with self._lock:
            self._cells[place] += count

    def add_recorded(self, dest: Dest) -> None:
        """Count one record handed over; the inbox's lock, already held, makes it whole."""
        self._cells[_GROUP if dest is Dest.LEDGER else 0] += 1

    def correct_spooled(self, waiting: Mapping[Dest, int]) -> None:
        """Set what ever went into the spool from what left it and what is there now."""
        for dest, count in waiting.items():
            start = _GROUP if dest is Dest.LEDGER else 0
            with self._lock:
                self._cells[start + Slot.SPOOLED_IN] = self._cells[start + Slot.SPOOLED_OUT] + count

    def get(self, slot: Slot, dest: Dest | None = Dest.RECORDS) -> int:
        """Read a tally; ``dest=None`` sums records and ledger."""
        if dest is None:
            return self._cells[slot] + self._cells[slot + _GROUP]
        return self._cells[slot + (_GROUP if dest is Dest.LEDGER else 0)]

    def queued(self, dest: Dest | None = Dest.RECORDS) -> int:
        """Compute what is in memory: recorded, and neither stored, spooled, dead nor lost."""
        out = self.get
        in_spool = out(Slot.SPOOLED_IN, dest) - out(Slot.SPOOLED_OUT, dest)
        done = out(Slot.STORED, dest) + in_spool + out(Slot.DEAD, dest) + out(Slot.LOST, dest)
        return out(Slot.RECORDED, dest) - done

    def spooled(self, dest: Dest | None = Dest.RECORDS) -> int:
        """Compute what is in the spool now."""
        return self.get(Slot.SPOOLED_IN, dest) - self.get(Slot.SPOOLED_OUT, dest)

    def set_retried(self, dest: Dest, count: int) -> None:
        """Note how many dead letters a retry has stored; owned by the shipper's thread."""
        self._cells[_RETRIED + (dest is Dest.LEDGER)] = count

    def retried(self, dest: Dest) -> int:
        """How many of those counted as dead are stored by now."""
        dead = self.get(Slot.DEAD, dest)
        return min(dead, self._cells[_RETRIED + (dest is Dest.LEDGER)])

    @property
    def next_seq(self) -> int:
        """The sequence number the next record gets; owned by the writer's thread."""
        return self._cells[_SEQ]

    @next_seq.setter
    def next_seq(self, value: int) -> None:
        self._cells[_SEQ] = value

    @property
    def settled(self) -> int:
        """Every sequence number below this one has been accounted for."""
        return self._cells[_SETTLED]

    @settled.setter
    def settled(self, value: int) -> None:
        self._cells[_SETTLED] = value

    @property
    def lost_above(self) -> int:
        """How many records, counted as lost already, have numbers not below ``settled``.

        That number stands still while records are held in memory, and what finds no room meanwhile
        is counted at once: whoever adopts the spool must not count it again.
        """
        return self._cells[_LOST_ABOVE]

    @lost_above.setter
    def lost_above(self, value: int) -> None:
        self._cells[_LOST_ABOVE] = value

    def as_dict(self, dest: Dest = Dest.RECORDS) -> dict[str, int]:
        """Give the tallies by name, as heartbeats and ``stats()`` show them."""
        start = _GROUP if dest is Dest.LEDGER else 0
        # One copy, so that the numbers are of one moment and add up.
        tally = self._cells[start : start + _GROUP].tolist()
        done = tally[Slot.STORED] + tally[Slot.DEAD] + tally[Slot.LOST]
        # A record can have left the spool before the writer has counted that it went in.
        spooled = max(0, tally[Slot.SPOOLED_IN] - tally[Slot.SPOOLED_OUT])
        # On a full disk, a dead letter or a stored record may not have left the spool yet.
        spooled = min(spooled, tally[Slot.RECORDED] - done)
        retried = min(tally[Slot.DEAD], self._cells[_RETRIED + (dest is Dest.LEDGER)])
        return {
            "recorded": tally[Slot.RECORDED],
            "queued": tally[Slot.RECORDED] - done - spooled,
            "stored": tally[Slot.STORED] + retried,
            "spooled": spooled,
            "replayed": tally[Slot.REPLAYED],
            "dead_lettered": tally[Slot.DEAD] - retried,
            "lost": tally[Slot.LOST],
        }

    def close(self) -> None:
        """Let go of the mapping."""
        self._cells.release()
        if isinstance(self._buffer, mmap.mmap):
            self._buffer.close()

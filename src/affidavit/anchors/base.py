"""What every kind of anchor has in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Protocol

from affidavit.integrity.checkpoint import Checkpoint
from affidavit.integrity.errors import IntegrityError
from affidavit.integrity.merkle import check_consistency


class AnchorFailed(Exception):  # noqa: N818 - what happened; it never leaves this package
    """An anchor did not take a checkpoint. The text is shown: the cause and the next step."""


@dataclass(frozen=True, slots=True)
class Newest:
    """The checkpoint to anchor, and how to prove that it grew from an older one."""

    checkpoint: Checkpoint
    note: str
    """The checkpoint as the log signed it."""
    prove: Callable[[int], list[bytes]]
    """Gives the consistency proof from a smaller size."""

    def check_grown_from(self, old: Checkpoint, whose: str) -> list[bytes]:
        """Prove that this log still begins with an older checkpoint, and give the proof.

        Raises AnchorFailed, which then is no fault of the anchor: the log was rolled back, cut
        off, or altered.
        """
        new = self.checkpoint
        if old.origin != new.origin:
            msg = f"{whose} is of another log ({old.origin}). Use an anchor of its own for each."
            raise AnchorFailed(msg)
        if old.size > new.size:
            raise rolled_back(new.size, old.size, whose)
        try:
            proof = [] if old.size in {0, new.size} else self.prove(old.size)
            check_consistency(old.size, old.root, new.size, new.root, proof)
        except IntegrityError as error:
            msg = (
                f"The log was altered: it does not begin with the {old.size} leaves that {whose} "
                "shows. Run `affidavit verify --checkpoint FILE` with the anchored checkpoint."
            )
            raise AnchorFailed(msg) from error
        return proof


@dataclass(frozen=True, slots=True)
class Receipt:
    """What an anchor gave for a checkpoint."""

    note: str
    """The checkpoint; a witness's has its cosignature too."""
    time: datetime | None = None
    """When the anchor says to have seen it; None for one that says nothing."""
    token: bytes | None = None
    """A timestamp authority's whole answer."""
    place: str | None = None
    """The file that was written."""


class Anchor(Protocol):
    """Somebody, or something, outside the database."""

    @property
    def kind(self) -> str:
        """One of ``directory``, ``witness`` or ``timestamp``."""

    @property
    def name(self) -> str:
        """The kind and which one, without secrets."""

    def anchor(self, newest: Newest, known: Checkpoint | None) -> Receipt:
        """Hand a checkpoint over; ``known`` is the newest one of which there is a receipt.

        Raises AnchorFailed.
        """


def rolled_back(size: int, known: int, whose: str) -> AnchorFailed:
    """Say that the log is smaller than it was."""
    return AnchorFailed(
        f"The log was rolled back or cut off: it has {size} leaves, and {whose} shows {known}. Run "
        "`affidavit verify --checkpoint FILE` with the anchored checkpoint."
    )


def name_hash(name: str) -> str:
    """Give the short form of an anchor's name, for ids."""
    return sha256(name.encode()).hexdigest()[:16]

"""What set-up means to do, as data: shown by ``affidavit setup --plan``, carried out by a store.

Plain data without a driver, so that the command line can show it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from affidavit.errors import SetupClash


class State(StrEnum):
    """What is to be said of one step."""

    DONE = "done"
    """The database has it already."""
    TODO = "todo"
    CLASH = "clash"
    """Something of another shape is in its place; it is reported and never forced."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing set-up needs to be there."""

    key: str
    """A stable short name, such as ``index:user_id_1_timestamp_-1``."""
    what: str
    why: str
    state: State
    command: Mapping[str, Any] | None = None
    """The database command that does it; None where nothing can be done by command."""
    mongosh: str = ""
    """The same command as a line for mongosh."""
    note: str = ""

    def marked(self, state: State, note: str = "") -> Step:
        """Return the step in another state, with a further note."""
        return replace(self, state=state, note="; ".join(filter(None, (self.note, note))))


@dataclass(frozen=True, slots=True)
class Plan:
    """Every step of a set-up, in the order in which they are carried out."""

    steps: tuple[Step, ...]
    details: Mapping[str, Any] = field(default_factory=dict)
    """What the ledger's ``setup`` record will say."""
    recorded: bool = False
    """Whether the ledger holds a ``setup`` record of this version already."""
    adoption: Mapping[str, Any] | None = None
    """What the ledger's ``adoption`` record will say, where old documents are taken over."""

    def in_state(self, state: State) -> tuple[Step, ...]:
        """Return the steps in one state."""
        return tuple(step for step in self.steps if step.state is state)

    @property
    def clashes(self) -> list[SetupClash]:
        """What an administrator has to decide, as errors with the exact command."""
        return [
            SetupClash(f"{step.what}: {step.note}", remedy=step.mongosh)
            for step in self.in_state(State.CLASH)
        ]


@dataclass(frozen=True, slots=True)
class SetupState:
    """What a writer needs to know of the set-up it found or made."""

    block_compressor: str
    """``zstd``, ``zlib``, ``snappy``, ``none``; empty where it is not known."""
    ttl_days: int | None
    enforced: bool
    clashes: tuple[str, ...] = ()
    made_now: bool = False

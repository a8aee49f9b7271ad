"""What a verification finds: kinds of damage, how far the result can be trusted, and the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, NamedTuple

MOST_FINDINGS: Final = 1000
"""Findings that are kept with their place; the rest is counted."""


class Kind(StrEnum):
    """What was done to the log, the gravest first; the exit code follows this order."""

    FOREIGN_KEY = "foreign_key"
    """Something is signed by a key that is not the log's, or not the writer's."""
    FORGED_CHECKPOINT = "forged_checkpoint"
    """A checkpoint names the log's key, and that key did not sign it."""
    ROLLED_BACK = "rolled_back"
    """The log is an older one, or another one, than the checkpoint that was saved."""
    CUT_OFF = "cut_off"
    """The end of the log is gone: seals or the checkpoints that were seen before."""
    ALTERED = "altered"
    """A record, a batch or a seal is not what was sealed."""
    MISSING = "missing"
    """A record or batch that was sealed is gone."""
    DELETED_TOO_EARLY = "deleted_too_early"
    """A record is gone although its retention had not ended."""
    INSERTED = "inserted"
    """A record that was never sealed stands among those that were."""
    REORDERED = "reordered"
    """Records have exchanged their places."""
    UNSIGNED_BATCH = "unsigned_batch"
    """A leaf batch whose signature does not hold, or whose key nobody announced."""
    ERASED_WITHOUT_RECORD = "erased_without_record"
    """Content was erased, and no ledger record says so."""


EXIT_CODES: Final[dict[Kind, int]] = {kind: 10 + at for at, kind in enumerate(Kind)}
"""Exit code of ``affidavit verify`` for each kind; of several, the gravest decides."""


class Level(StrEnum):
    """How far a verification that found nothing can be trusted."""

    NONE = "none"
    """Something was found, or there is nothing to verify."""
    SELF_ATTESTED = "self-attested"
    """The log's key is known from the log only, or lies where the application runs."""
    SEPARATED = "separated"
    """The key was known beforehand, and it does not lie on a host of the application."""
    ANCHORED = "anchored"
    """A receipt from outside the database says when the log had this state."""
    WITNESSED = "witnessed"
    """A witness, known beforehand, has signed that the log only grew to the saved checkpoint."""


class Finding(NamedTuple):
    """One thing that is wrong."""

    kind: Kind
    where: Mapping[str, Any]
    """Names, not content: collection, id, writer, seq, index in the log, seal, time."""
    text: str
    first: bool = False
    """Whether it is the first one in the order of the log."""

    @property
    def leaf_index(self) -> int:
        """Where in the log; what has no place there comes last."""
        index = self.where.get("index")
        return index if isinstance(index, int) else 2**63


@dataclass(slots=True)
class Report:
    """The result of a verification."""

    origin: str = ""
    vkey: str = ""
    pinned_by: str = "nothing"
    """``vkey``, ``configuration``, ``checkpoint`` or ``nothing``: how the key was known."""
    level: Level = Level.NONE
    size: int = 0
    """Leaves of the log."""
    checkpoint: str = ""
    """The newest signed checkpoint that holds."""
    saved_size: int | None = None
    """Leaves at the saved checkpoint that was compared."""
    witnesses: tuple[str, ...] = ()
    """Names of the known witnesses that have cosigned the saved checkpoint."""
    counts: Counter[str] = field(default_factory=Counter)
    """``leaves``, ``matched``, ``expired``, ``explained``, ``erased``, ``gaps``, ``late``,
    ``rebuilt``, ``pending``, ``overdue``, ``unproved``, ``adopted``, ``batches``, ``seals``."""
    kinds: Counter[Kind] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    limits: list[str] = field(default_factory=list)
    """What was not looked at, in words."""
    excuses: list[str] = field(default_factory=list)
    """Which sealed ledger records let records or content be gone, in words, in the log's order."""
    anchored: list[str] = field(default_factory=list)
    """What somebody outside the database shows, and the log grew from, in words."""

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong."""
        return not self.kinds

    @property
    def exit_code(self) -> int:
        """The code of the gravest kind; 0 where nothing is wrong."""
        return next((EXIT_CODES[kind] for kind in Kind if self.kinds[kind]), 0)

    def add(self, kind: Kind, text: str, **where: Any) -> None:
        """Note a finding."""
        self.kinds[kind] += 1
        if len(self.findings) < MOST_FINDINGS:
            said = {name: value for name, value in where.items() if value is not None}
            self.findings.append(Finding(kind, said, text))

    def finish(self) -> None:
        """Sort the findings by their place in the log, and mark the first."""
        self.findings.sort(key=lambda finding: finding.leaf_index)
        if self.findings:
            self.findings[0] = self.findings[0]._replace(first=True)

    def as_dict(self) -> dict[str, Any]:
        """Give the report as plain values."""
        return {
            "clean": self.clean,
            "exit_code": self.exit_code,
            "level": self.level.value,
            "origin": self.origin,
            "vkey": self.vkey,
            "key_pinned_by": self.pinned_by,
            "size": self.size,
            "saved_size": self.saved_size,
            "witnesses": list(self.witnesses),
            "checkpoint": self.checkpoint,
            "counts": dict(sorted(self.counts.items())),
            "found": {kind.value: count for kind, count in self.kinds.items()},
            "findings": [
                {"kind": f.kind.value, "first": f.first, "text": f.text, "where": dict(f.where)}
                for f in self.findings
            ],
            "not_looked_at": self.limits,
            "excuses": self.excuses,
            "anchored": self.anchored,
        }

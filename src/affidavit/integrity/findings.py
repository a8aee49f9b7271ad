"""What a verification finds: kinds of damage, how far the result can be trusted, and the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, NamedTuple

MOST_FINDINGS: Final = 1000
"""Findings that are kept with their place; the rest is counted."""

_UNSEALED: Final = 2**62
"""In place of the leaf of a ledger record that still waits for the sealer."""

_GIVEN: Final = "reasons the log's owner gave"


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

UNCONFIRMED_CODE: Final = 10 + len(Kind)
"""Exit code where nothing is found, and something is gone for a reason nobody has confirmed."""


class Verdict(StrEnum):
    """What a verification came to."""

    COMPLETE = "complete"
    """Nothing is wrong, and nothing is missing."""
    EXCUSED = "complete_with_excuses"
    """Nothing is wrong; something is gone for reasons that the log's owner gave in the ledger."""
    UNCONFIRMED = "unconfirmed"
    """The same, and some of these reasons nobody outside can have known; see ADR 26."""
    DAMAGED = "damaged"
    """Something is wrong."""
    NOTHING = "nothing"
    """There is nothing to verify."""


class Policy(StrEnum):
    """Which reasons for what is gone are taken."""

    DEFAULT = "default"
    """Those that were there when the checkpoint was saved; all of them without a checkpoint."""
    ACCEPT = "accept"
    """All, because somebody has looked at them."""
    STRICT = "strict"
    """None, retention included."""


class Level(StrEnum):
    """How far a verification that found nothing can be trusted."""

    NONE = "none"
    """Something was found, or there is nothing to verify."""
    SELF_ATTESTED = "self-attested"
    """The log's key is known from the log only, or lies where the application runs."""
    SEPARATED = "separated"
    """The key was known beforehand, and it does not lie on a host that writes records."""
    ANCHORED = "anchored"
    """A receipt from outside the database says when the log had this state."""
    WITNESSED = "witnessed"
    """A witness, known beforehand, has signed that the log only grew to the saved checkpoint."""


def lies_beside(by: object, hosts: Collection[object]) -> bool:
    """Whether the key that sealed lies where records are written: who sealed, and who writes."""
    if not isinstance(by, Mapping):
        return False
    host = by.get("host")
    return by.get("where") == "in-process" or (isinstance(host, str) and host in hosts)


def level_of(*, pinned: bool, beside: bool) -> Level:
    """Judge a log in which nothing is wrong by its key alone; what was saved outside may say more.

    Pages, status, reports and verifications all ask this. ``pinned``: the key was known beforehand.
    """
    return Level.SEPARATED if pinned and not beside else Level.SELF_ATTESTED


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


class Excuse(NamedTuple):
    """A reason that the ledger gives for what is gone, erased or without a proof."""

    kind: str
    """Which of the report's counts it is about; ``shortened`` for what expired only because
    retention became shorter, ``disbelieved`` where the reason was not taken."""
    records: int
    """How many needed it, at most; 0 where that cannot be told apart from another's."""
    by: str
    """The writer of the ledger record."""
    leaf_index: int
    """Where in the log that stands."""
    text: str
    doubt: str = ""
    """Why somebody should ask about it; empty where it was there at the saved checkpoint."""

    def __str__(self) -> str:
        """Say it in one line."""
        count = f": {counted(self.records, 'record')}" if self.records else ""
        place = f"leaf {self.leaf_index}" if self.leaf_index < _UNSEALED else "not sealed yet"
        doubt = f", {self.doubt}" if self.doubt else ""
        return f"{self.text}{count}, says {self.by} [{place}]{doubt}"


@dataclass(slots=True)
class Report:
    """The result of a verification."""

    subject: str = "log"
    """``log`` or ``bundle``: what was verified."""
    whole: bool = True
    """Whether all of it was looked at."""
    policy: Policy = Policy.DEFAULT

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
    """``leaves``, ``matched``, ``expired``, ``explained``, ``erased``, ``gaps``, ``never_came``,
    ``late``, ``rebuilt``, ``pending``, ``overdue``, ``unproved``, ``adopted``, ``batches``,
    ``seals``."""
    kinds: Counter[Kind] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    limits: list[str] = field(default_factory=list)
    """What was not looked at, in words."""
    excuses: list[Excuse] = field(default_factory=list)
    """Which sealed ledger records let records or content be gone, in the log's order."""
    unconfirmed: int = 0
    """Records that are gone, erased or unproved for a reason that nobody outside confirmed."""
    anchored: list[str] = field(default_factory=list)
    """What somebody outside the database shows, and the log grew from, in words."""

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong."""
        return not self.kinds

    @property
    def verdict(self) -> Verdict:
        """What it came to."""
        if self.kinds:
            return Verdict.DAMAGED
        if not self.size:
            return Verdict.NOTHING
        excused = bool(self.unconfirmed or any(excuse.records for excuse in self.excuses))
        if self.policy is Policy.STRICT and excused:
            return Verdict.UNCONFIRMED
        if self.unconfirmed and self.policy is not Policy.ACCEPT:
            return Verdict.UNCONFIRMED
        return Verdict.EXCUSED if excused else Verdict.COMPLETE

    @property
    def exit_code(self) -> int:
        """The code of the gravest kind, or of reasons not confirmed; 0 where nothing is wrong."""
        wrong = next((EXIT_CODES[kind] for kind in Kind if self.kinds[kind]), 0)
        return wrong or (UNCONFIRMED_CODE if self.verdict is Verdict.UNCONFIRMED else 0)

    @property
    def says(self) -> str:
        """The verdict in one sentence, for an auditor; `verifier/` says the same."""
        told = ", ".join(f"{count} {kind.value}" for kind, count in self.kinds.items())
        if told:
            return f"The {self.subject} does not hold: {told}."
        if not self.size:
            return "There is nothing to verify: nothing is sealed yet."
        counts, parts = self.counts, list[str]()
        if self.subject == "bundle":
            return f"The bundle holds: {counted(counts['matched'], 'record')} as sealed."
        gone = {"expired": "expired", "explained": "lost or refused"}
        total = sum(counts[name] for name in gone)
        if total:
            each = [f"{counts[name]:,} {text}" for name, text in gone.items() if counts[name]]
            parts.append(f"{counted(total, 'record')} missing for {_GIVEN}: {', '.join(each)}")
        if counts["erased"]:
            why = "" if total else f" for {_GIVEN}"
            parts.append(f"{counted(counts['erased'], 'record')} with content erased{why}")
        if counts["never_came"]:
            parts.append(f"{counted(counts['never_came'], 'number')} that never came")
        if counts["unproved"] + counts["adopted"]:
            parts.append(f"{counts['unproved'] + counts['adopted']:,} of another logger")
        what = "Complete" if self.whole else "Complete as far as was looked"
        if self.verdict is Verdict.UNCONFIRMED:
            what = f"NOT CONFIRMED: {what[0].lower()}{what[1:]}"
        text = f"{what}, with {'; '.join(parts)}" if parts else what
        if self.unconfirmed:
            text += f". For {self.unconfirmed:,} of them nobody outside has confirmed the reason"
        return f"{text}."

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
            "verdict": self.verdict.value,
            "says": self.says,
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
            "excuses": [
                {
                    "kind": e.kind,
                    "records": e.records,
                    "by": e.by,
                    "leaf": e.leaf_index,
                    "confirmed": not e.doubt,
                    "text": str(e),
                }
                for e in self.excuses
            ],
            "unconfirmed": self.unconfirmed,
            "anchored": self.anchored,
        }


def counted(count: int, noun: str) -> str:
    """Say how many: ``1 record``, ``2 records``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"

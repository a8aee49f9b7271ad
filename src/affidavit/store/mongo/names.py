"""The names of everything Affidavit keeps in one MongoDB database."""

from __future__ import annotations

from dataclasses import dataclass

SEALER = "sealer"
"""``writer`` of the marks that sealers leave among the heartbeats."""

_PLAIN_VIEWS = frozenset({"llm_audit", "llm_logs"})


@dataclass(frozen=True, slots=True)
class Names:
    """Collections and views, all derived from the name of the records collection."""

    records: str = "llm_audit"

    @property
    def ledger(self) -> str:
        """What happened to the log: insert-only, never expires."""
        return f"{self.records}_ledger"

    @property
    def writers(self) -> str:
        """Heartbeats of writers with their counters, kept for 24 hours."""
        return f"{self.records}_writers"

    @property
    def leaf_batches(self) -> str:
        """Signed batches of leaves, one for up to 1,000 records of one writer; never expire."""
        return f"{self.records}_leaf_batches"

    @property
    def seals(self) -> str:
        """The log's identity, and each step by which it grew; never expire."""
        return f"{self.records}_seals"

    @property
    def tiles(self) -> str:
        """The tree's hashes in groups of 256, for proofs; can be computed again."""
        return f"{self.records}_tiles"

    @property
    def monitor(self) -> str:
        """What monitoring keeps for itself: states of alerts, leases, notes of measurements."""
        return f"{self.records}_monitor"

    @property
    def metrics(self) -> str:
        """History of the metrics, in buckets of time; pruned."""
        return f"{self.records}_metrics"

    @property
    def service(self) -> str:
        """What the HTTP service keeps: hashes of tokens and sessions, saved views, jobs."""
        return f"{self.records}_service"

    @property
    def rollup_states(self) -> str:
        """How far the rollups are, and which side of them answers questions."""
        return f"{self.records}_rollup_states"

    def rollups(self, side: str) -> str:
        """Sums of calls by hour, day and month; can be computed again while records last."""
        return f"{self.records}_rollups_{side}"

    @property
    def calls(self) -> str:
        """The view with one document per call."""
        return "llm_calls" if self.records in _PLAIN_VIEWS else f"{self.records}_calls"

    @property
    def outcomes(self) -> str:
        """The view of outcomes and old documents, without a join."""
        return "llm_outcomes" if self.records in _PLAIN_VIEWS else f"{self.records}_outcomes"

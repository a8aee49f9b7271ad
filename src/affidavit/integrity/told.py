"""What the log says of itself, in ledger records that were found under their leaves."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from affidavit.integrity.adopted import Closing
from affidavit.integrity.coverage import Ranges
from affidavit.integrity.errors import FormatError
from affidavit.integrity.excuses import (
    CLOCK_MS,
    MOST,
    Excuses,
    Expired,
    Loss,
    of_losses,
    of_retention,
)
from affidavit.integrity.findings import Kind, Report
from affidavit.integrity.leaves import LeafBatch
from affidavit.integrity.note import VerifierKey
from affidavit.integrity.places import plain, time_of
from affidavit.integrity.retention import Rule, rule_of

TOLD_BY: Final = (
    "writer_start",
    "setup",
    "adoption",
    "spool_adopted",
    "dead_letter",
    "audit_access",
    "erasure",
    "adoption_closed",
)
"""Kinds of ledger records from which later judgements are made."""


class Told:
    """Keys of writers, retention, losses, adoption, erasures."""

    def __init__(self) -> None:
        self.rules: list[Rule] = []
        """How long records were kept, and since when."""
        self.enrolled: dict[str, set[bytes]] = {}
        """The public keys that writers have announced."""
        self.adopted: int | None = None
        """Where the log says that it has taken over records of another logger; None: nowhere."""
        self.erasures: dict[str, dict[str, int]] = {}
        """By id of a record: which groups of it were to be erased, and where that is said."""
        self.closing = Closing()
        """What was taken over from another logger, once nothing more is."""
        self.excuses = Excuses()
        self._used: dict[str, dict[bytes, int]] = {}
        self._losses: dict[str, list[Loss]] = {}
        self._started: set[str] = set()

    def believe(self, documents: Iterable[Mapping[str, Any]]) -> None:
        """Take ledger records as they stand; for what an earlier verification has seen."""
        for document in documents:
            self.learn(document)

    def used(self, batch: LeafBatch, index: int) -> None:
        """Note by which key a batch of a writer is signed."""
        keys = self._used.setdefault(batch.w, {})
        keys.setdefault(batch.key, index)

    def learn(self, document: Mapping[str, Any], index: int = -1) -> None:
        """Take from a ledger record what later judgements need; ``index``: its place in the log."""
        writer, kind = str(document.get("writer")), document.get("event_type")
        details = document.get("details")
        details = details if isinstance(details, Mapping) else {}
        actor = document.get("actor")
        actor = actor if isinstance(actor, Mapping) else {}
        for holder in (details, actor):
            key = _public(holder.get("leaf_key"))
            if key is not None:
                self.enrolled.setdefault(writer, set()).add(key)
        if kind == "writer_start":
            self._started.add(writer)
        elif kind == "setup":
            rule = rule_in(document, index)
            self.rules += [] if rule is None else [rule]
        else:
            self._learn_reason(document, details, index)

    def _learn_reason(
        self, document: Mapping[str, Any], details: Mapping[str, Any], index: int
    ) -> None:
        """Take a reason for what is gone, erased, or of another logger."""
        writer, kind = str(document.get("writer")), document.get("event_type")
        if kind == "adoption":
            self.adopted = index if self.adopted is None else min(self.adopted, index)
            text = "records of another logger are taken over, and nothing proves them"
            self.excuses.say("unproved", index, writer, text)
        elif kind == "spool_adopted":
            of = str(details.get("writer"))
            text = f"records of the writer {plain(of)} were lost"
            self._lose(document, index, of, details.get("lost_seqs"), text)
        elif kind == "dead_letter" and "refused_seqs" in details:
            of = str(details.get("writer"))  # told by whoever took over its spool
            text = f"records of the writer {plain(of)} were refused"
            self._lose(document, index, of, details["refused_seqs"], text)
        elif kind == "dead_letter":
            seqs = details.get("seqs")
            pairs = [[s, s] for s in seqs] if isinstance(seqs, list) else None
            self._lose(document, index, writer, pairs, "records of its own were refused")
        elif kind == "erasure":
            self.learn_erasure(details, index)
            self.excuses.say("erased", index, writer, "content was to be erased")
        elif kind == "adoption_closed":
            self.closing.learn(details, index)
            text = "documents of another logger are as they were when the adoption was closed"
            self.excuses.say("adopted", index, writer, text)

    def learn_erasure(self, details: Mapping[str, Any], index: int) -> None:
        """Take from an announced erasure which groups of which records it is about."""
        gone, groups = details.get("records"), details.get("groups")
        if isinstance(gone, list) and isinstance(groups, list):
            for name in gone:
                known = self.erasures.setdefault(str(name), {})
                for group in map(str, groups):
                    known[group] = min(known.get(group, index), index)

    def _lose(
        self, document: Mapping[str, Any], index: int, of: str, ranges: object, text: str
    ) -> None:
        numbers = Ranges()
        for pair in ranges if isinstance(ranges, list) else ():
            if not (isinstance(pair, list) and len(pair) == 2):  # noqa: PLR2004 - first and last
                continue
            if all(isinstance(n, int) for n in pair) and 0 <= pair[0] <= pair[1]:
                numbers.add(int(pair[0]), int(pair[1]) + 1)
        if numbers:
            by = str(document.get("writer"))
            self._losses.setdefault(of, []).append(
                Loss(of, numbers, by, index, time_of(document), text)
            )
            self.excuses.say("explained", index, by, text)

    def judge_losses(self, last_of: Mapping[str, int]) -> None:
        """Decide which losses are believed, once it is known who wrote what, and until when.

        Whoever takes over what another one left has started as a writer, and that one is silent.
        """
        for of, losses in self._losses.items():
            losses.sort(key=lambda loss: loss.index)
            for loss in losses:
                if loss.by != of and loss.by not in self._started:
                    loss.why_not = f"{plain(loss.by)} has never started as a writer"
                elif loss.by != of and last_of.get(of, 0) > loss.time_ms + CLOCK_MS:
                    loss.why_not = f"{plain(of)} went on recording after that"

    def loss_of(self, writer: str, seq: int) -> Loss | None:
        """Give what is said of a number that is lost; what is believed goes before the rest."""
        found = [loss for loss in self._losses.get(writer, ()) if seq in loss.numbers]
        return min(found, key=lambda loss: (bool(loss.why_not), loss.index), default=None)

    def lost_of(self, writer: str) -> Ranges:
        """Give the numbers of a writer that are believed to be lost."""
        numbers = Ranges()
        for loss in self._losses.get(writer, ()):
            for start, end in () if loss.why_not else loss.numbers:
                numbers.add(start, end)
        return numbers

    def unannounced(self, name: str, groups: Iterable[str]) -> set[str]:
        """Tell which of these erased groups of a record no erasure was about."""
        return set(groups) - self.erasures.get(name, {}).keys()

    def erased(self, name: str, groups: Iterable[str]) -> None:
        """Note that a record was found erased, as announced."""
        known = self.erasures.get(name, {})
        self.excuses.need("erased", max((known[group] for group in groups), default=-1))

    def judge_excuses(self, report: Report, expired: Expired, now_ms: int) -> None:
        """Tell which reasons were believed about what is gone, the newest 1,000 of them.

        Who may write to the ledger may give such reasons. Those that came after the saved
        checkpoint can be about records that were there when that was saved.
        """
        saved = report.saved_size
        ended, new = of_retention(self.rules, expired, now_ms, saved)
        needed = self.excuses.told(saved)
        refused = of_losses([loss for losses in self._losses.values() for loss in losses])
        report.unconfirmed = new + sum(each.records for each in needed if each.doubt)
        report.excuses = sorted([*ended, *needed, *refused], key=lambda each: each.leaf_index)[
            -MOST:
        ]

    def judge_keys(self, report: Report, damaged: Container[str]) -> None:
        """Look whether every batch is signed by a key that its writer has announced.

        Not for ``damaged`` writers, whose announcement may be what is gone.
        """
        for writer, keys in self._used.items():
            known = self.enrolled.get(writer, set())
            for key, index in keys.items():
                if key in known:
                    continue
                if known:
                    text = f"A leaf batch of {writer} is signed by a key that is not the writer's."
                    report.add(Kind.FOREIGN_KEY, text, writer=writer, index=index)
                elif writer not in damaged and 0 not in self.lost_of(writer):
                    text = f"No sealed ledger record names the key that signed for {writer}."
                    report.add(Kind.UNSIGNED_BATCH, text, writer=writer, index=index)


def rule_in(document: Mapping[str, Any], index: int = -1) -> Rule | None:
    """Read what a set-up says of retention, if it says when."""
    return rule_of(document, index) if isinstance(document.get("timestamp"), datetime) else None


def _public(vkey: object) -> bytes | None:
    try:
        return VerifierKey.parse(vkey).public if isinstance(vkey, str) else None
    except FormatError:
        return None

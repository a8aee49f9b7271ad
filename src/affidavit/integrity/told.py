"""What the log says of itself, in ledger records that were found under their leaves."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from affidavit.integrity.adopted import Closing
from affidavit.integrity.coverage import Ranges
from affidavit.integrity.errors import FormatError
from affidavit.integrity.findings import Kind, Report
from affidavit.integrity.leaves import LeafBatch
from affidavit.integrity.note import VerifierKey
from affidavit.integrity.places import plain
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
        self.explained: dict[str, Ranges] = {}
        """Numbers of writers that were lost, or refused by the database."""
        self.adopted = False
        """Whether the log has taken over records of another logger."""
        self.erasures: dict[str, set[str]] = {}
        """Ids of records of which content was to be erased, with the groups it was about."""
        self.closing = Closing()
        """What was taken over from another logger, once nothing more is."""
        self._used: dict[str, dict[bytes, int]] = {}
        self._said: list[tuple[int, str, str, str]] = []

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
        self._note(document, details, index)
        actor = document.get("actor")
        actor = actor if isinstance(actor, Mapping) else {}
        for holder in (details, actor):
            key = _public(holder.get("leaf_key"))
            if key is not None:
                self.enrolled.setdefault(writer, set()).add(key)
        if kind == "setup":
            rule = rule_in(document)
            if rule is not None:
                self.rules.append(rule)
        elif kind == "adoption":
            self.adopted = True
        elif kind == "spool_adopted":
            self._explain(str(details.get("writer")), details.get("lost_seqs"))
        elif kind == "dead_letter":
            seqs = details.get("seqs")
            self._explain(writer, [[s, s] for s in seqs] if isinstance(seqs, list) else None)
        elif kind == "erasure":
            self.learn_erasure(details)
        elif kind == "adoption_closed":
            self.closing.learn(details)

    def _note(self, document: Mapping[str, Any], details: Mapping[str, Any], index: int) -> None:
        """Keep what a ledger record may be believed about, for :meth:`excuses`."""
        writer, kind = str(document.get("writer")), document.get("event_type")
        rule = rule_in(document) if kind == "setup" else None
        if rule is not None:
            kept = "without an end" if rule.ttl_s is None else f"for {rule.ttl_s:,} s"
            self._said.append((index, "expired", writer, f"records are kept {kept}"))
        elif kind == "spool_adopted" and details.get("lost_seqs"):
            text = f"records of the writer {plain(details.get('writer'))} were lost"
            self._said.append((index, "explained", writer, text))
        elif kind == "dead_letter":
            self._said.append((index, "explained", writer, "records of its own were refused"))
        elif kind == "erasure" and details.get("records"):
            self._said.append((index, "erased", writer, "content was to be erased"))

    def learn_erasure(self, details: Mapping[str, Any]) -> None:
        """Take from an announced erasure which groups of which records it is about."""
        gone, groups = details.get("records"), details.get("groups")
        if isinstance(gone, list) and isinstance(groups, list):
            for name in gone:
                self.erasures.setdefault(str(name), set()).update(map(str, groups))

    def unannounced(self, name: str, groups: Iterable[str]) -> set[str]:
        """Tell which of these erased groups of a record no erasure was about."""
        return set(groups) - self.erasures.get(name, set())

    def _explain(self, writer: str, ranges: object) -> None:
        for pair in ranges if isinstance(ranges, list) else ():
            if isinstance(pair, list) and len(pair) == 2 and all(isinstance(n, int) for n in pair):  # noqa: PLR2004 - first and last
                self.explained.setdefault(writer, Ranges()).add(int(pair[0]), int(pair[1]) + 1)

    def excuses(self, report: Report) -> list[str]:
        """Say which ledger records were believed about what is gone, the newest 1,000 of them.

        Who may write to the ledger may say such things. What was said after the saved checkpoint is
        marked: it may be about records that were there when that was saved.
        """
        told: list[str] = []
        before = ""
        for index, kind, writer, text in sorted(self._said):
            again = kind == "expired" and text == before
            before = text if kind == "expired" else before
            if again or index < 0 or not report.counts[kind]:
                continue
            since = report.saved_size is not None and index >= report.saved_size
            mark = ", AFTER the saved checkpoint" if since else ""
            told.append(f"{text}, says {plain(writer)} [leaf {index}]{mark}")
        return told[-1000:]

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
                elif writer not in damaged and 0 not in self.explained.get(writer, ()):
                    text = f"No sealed ledger record names the key that signed for {writer}."
                    report.add(Kind.UNSIGNED_BATCH, text, writer=writer, index=index)


def rule_in(document: Mapping[str, Any]) -> Rule | None:
    """Read what a set-up says of retention, if it says when."""
    return rule_of(document) if isinstance(document.get("timestamp"), datetime) else None


def _public(vkey: object) -> bytes | None:
    try:
        return VerifierKey.parse(vkey).public if isinstance(vkey, str) else None
    except FormatError:
        return None

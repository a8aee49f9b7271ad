"""Redacting a whole record: one walk, one search over all its texts, one pass of replacing.

The texts of a record are searched together, joined by separators that no find reaches over: what
a search costs to begin is paid once for a record, not for each of its fields. The name of a field
goes before its value where it says something about it: ``steuer_id``, ``phoneNumber``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import Any, Final

from affidavit.event import Document
from affidavit.pipeline.redact import act, seal
from affidavit.pipeline.redact.kinds import Span
from affidavit.pipeline.redact.policy import Action, OwnFinder, Policy, Reading
from affidavit.pipeline.redact.scan import Scanner, merged
from affidavit.pipeline.redact.secretive import is_nothing
from affidavit.pipeline.redact.shadow import SEPARATORS
from affidavit.pipeline.redact.walk import NAME, NUMBER, TEXT, UNTOUCHED, Gatherer, Leaf, joined

FAILED: Final = "redaction_failed"
"""In ``odd``: something broke, and the texts concerned were not stored."""

_FIELD, _END = SEPARATORS
_LISTED: Final = 100
"""Entries ``redactions`` may have; the rest is summed up in one."""

_TIMES: Final = 4
"""Searches of one text at most."""

KEYED: Final = ("user_id", "session_id", "conversation_id")
"""Identity fields that ``identity="keyed"`` replaces, besides the client's address."""

_WITHHELD: Final = "withheld"
_SLOW_S: Final = 0.5
_logger = logging.getLogger("affidavit")
_slow: set[str] = set()
"""Functions that were told of as slow."""


class Redactor:
    """Redacts records one at a time; owned by one thread."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._scanner = Scanner(
            bold=policy.reading is Reading.BOLD,
            shy=policy.reading is Reading.SHY,
            patterns=policy.patterns,
        )
        self._gatherer = Gatherer(policy)
        self._counts: dict[tuple[str, str, str], int] = {}
        self._originals: dict[str, str] = {}
        self._failed = False
        self._kept = False
        self._searched: tuple[str, list[Span]] | None = None

    def redact(self, document: Document, record: bytes = b"") -> bytes | None:
        """Redact a decoded record in place; note what was found in ``redactions``. Never raises.

        Returns the box of sealed originals for the record with this id, if anything was sealed.
        """
        self._counts = {}
        self._failed = False
        box = None
        try:
            if self._policy.enabled and not self._is_clean(document):
                try:
                    self._content(document)
                finally:  # texts stay in memory no longer than their record
                    self._gatherer.forget()
            if self._originals and self._policy.seal_to is not None:
                box = seal.seal(self._policy.seal_to, self._originals, record)
        except Exception:
            _withhold_all(document)
            self._counts = {("text", "*", _WITHHELD): 1}
            self._failed = True
            box = None
        self._searched = None
        self._originals = {}
        if self._policy.keyed_identity:
            self._identity(document)
        if self._counts:
            document["redactions"] = self._listed()
        if self._failed:
            document["odd"] = sorted({*_texts(document.get("odd")), FAILED})
        return box

    def redact_text(self, text: str) -> tuple[str, list[dict[str, Any]]]:
        """Redact one text; return it with what was found."""
        document: Document = {"text": text}
        self.redact(document)
        return document["text"], document.get("redactions", [])

    # -- content ---------------------------------------------------------------------------------

    def _content(self, document: Document) -> None:
        leaves = self._gatherer.gather(document)
        for leaf in self._gatherer.withheld:
            leaf.container[leaf.key] = _withheld(leaf.container[leaf.key])
            self._count("text", leaf, _WITHHELD)
        found = self._search(leaves)
        if found is None:
            return
        renamed: list[tuple[Leaf, str]] = []
        for leaf, spans in zip(leaves, found, strict=True):
            self._kept = False
            try:
                text = self._settled(leaf, self._replaced(leaf, spans))
            except Exception:
                text = act.WITHHELD
                self._failed = True
                self._count("text", leaf, _WITHHELD)
            if leaf.form is NAME:
                if text is not None:
                    renamed.append((leaf, text))
                elif not self._kept:  # what is kept here may have to go elsewhere
                    self._gatherer.learn(leaf.text)
            elif text is not None:
                plain = leaf.form is TEXT or leaf.form is NUMBER
                leaf.container[leaf.key] = text if plain else text.encode(leaf.form, "replace")
        if renamed:
            self._rename(renamed)

    def _is_clean(self, document: Document) -> bool:
        """Whether a usual record holds nothing to redact; what is found is kept for the search."""
        texts = self._gatherer.joined(document)
        if texts is None:
            return False
        try:
            spans = self._scanner.find_common(texts)
        except Exception:  # where it broke is looked for among the single texts
            return False
        self._searched = texts, spans
        return not spans

    def _search(self, leaves: list[Leaf]) -> list[list[Span]] | None:
        """Search all texts at once; if that breaks, one by one, to lose as little as possible.

        Patterns of one's own see each text by itself: they may reach as far as it goes.
        """
        try:
            found = self._search_joined(leaves)
            if self._scanner.patterns:
                common = found if found is not None else [[]] * len(leaves)
                own = map(self._scanner.patterns.find, (leaf.text for leaf in leaves))
                found = [sorted([*a, *b]) if b else a for a, b in zip(common, own, strict=True)]
        except Exception:
            return [self._search_one(leaf) for leaf in leaves]
        return found

    def _search_one(self, leaf: Leaf) -> list[Span]:
        try:
            offset = len(leaf.name.spoken) + 1
            found = self._scanner.find_common(f"{leaf.name.spoken}{_FIELD}{leaf.text}")
            spans = [(max(0, s - offset), e - offset, kind) for s, e, kind in found if e > offset]
            if self._scanner.patterns:
                spans = sorted([*spans, *self._scanner.patterns.find(leaf.text)])
        except Exception:
            self._failed = True
            return [(0, len(leaf.text), _WITHHELD)]
        return spans

    def _search_joined(self, leaves: list[Leaf]) -> list[list[Span]] | None:
        """Give the finds in each text; None where nothing needs to be done at all."""
        whole, starts = joined(leaves)
        if self._searched is not None and self._searched[0] == whole:
            spans = self._searched[1]
        else:
            spans = self._scanner.find_common(whole)
        if not spans and not self._gatherer.special and not self._policy.finders:
            return None
        found: list[list[Span]] = [[] for _ in leaves]
        number = 0
        for start, end, kind in spans:
            while number + 1 < len(starts) and starts[number + 1] <= start:
                number += 1
            base, size = starts[number], len(leaves[number].text)
            if start < base + size:  # else it lies in the words put before the next value
                found[number].append((start - base, min(end - base, size), kind))
        return found

    def _settled(self, leaf: Leaf, text: str | None) -> str | None:
        """Search what was written once more, until nothing is found.

        A replacement shortens a text, and a word that was too far from a number may be near it
        now: whoever redacts a stored record again must find nothing.
        """
        for _ in range(_TIMES):
            if text is None or text == act.WITHHELD:
                break
            again = leaf._replace(text=text)
            more = self._replaced(again, self._search_one(again), again=True)
            if more is None:
                break
            text = more
        return text

    def _replaced(self, leaf: Leaf, spans: list[Span], *, again: bool = False) -> str | None:
        """Write a text anew; None where nothing of it changes."""
        text = leaf.text
        name = leaf.name
        if name.secret is not None and leaf.form is not NAME and self._is_told(leaf):
            spans = [(0, len(text), name.secret)]
        if leaf.form is not NUMBER and not again and self._policy.finders:
            return self._by_functions(leaf, spans)
        return self._written(leaf, spans, again=again) if spans else None

    def _is_told(self, leaf: Leaf) -> bool:
        """Whether a value is what its field's name announces."""
        text, name = leaf.text, leaf.name
        if not text.strip() or self._scanner.is_own(text):
            return False
        if name.looks is not None:
            return name.looks(text)
        return not is_nothing(text)

    def _by_functions(self, leaf: Leaf, spans: list[Span]) -> str | None:
        """Ask the application's functions: first all for places, then those that write anew.

        Places are those of the original text, so they are carried out before anything is rewritten.
        """
        writers = []
        for finder in self._policy.finders:
            answer = _asked(finder, leaf.text)
            if isinstance(answer, list):
                spans = sorted([*spans, *answer])
            elif answer is not None and answer != leaf.text:
                writers.append(finder)
        text = self._written(leaf, spans, again=False) if spans else None
        for finder in writers:
            now = leaf if text is None else leaf._replace(text=text)
            answer = _asked(finder, now.text)
            if isinstance(answer, list):
                text = self._written(now, sorted(answer), again=False) if answer else text
            elif answer is not None and answer != now.text:
                self._count("own", leaf, "replace")
                text = answer
        return text

    def _written(self, leaf: Leaf, spans: list[Span], *, again: bool) -> str | None:
        steps = tuple(leaf.path.split("."))
        policy, text = self._policy, leaf.text
        going: list[Span] = []
        for span in spans:
            if span[2] == _WITHHELD:
                self._count("text", leaf, _WITHHELD)
                return act.WITHHELD
            if policy.action(span[2], steps) is Action.KEEP:
                self._kept = True
                if not again:
                    self._count(span[2], leaf, Action.KEEP)
            else:
                going.append(span)
        if not going:
            return None
        parts: list[str] = []
        at = 0
        for start, end, kind in merged(going):
            action = policy.action(kind, steps)
            parts += (text[at:start], self._instead(action, kind, text[start:end]))
            self._count(kind, leaf, action)
            at = end
        parts.append(text[at:])
        return "".join(parts)

    def _instead(self, action: Action, kind: str, value: str) -> str:
        if action is not Action.SEAL:
            return act.replacement(action, kind, value, self._policy.key)
        number = str(len(self._originals) + 1)
        self._originals[number] = value
        return f"[sealed {kind} {number}]"

    def _rename(self, renamed: list[tuple[Leaf, str]]) -> None:
        """Put redacted names in place of the originals; order and values stay."""
        groups: dict[int, dict[str, tuple[Leaf, str]]] = {}
        for leaf, name in renamed:
            groups.setdefault(id(leaf.container), {})[leaf.key] = (leaf, name)
        for changes in groups.values():
            mapping = next(iter(changes.values()))[0].container
            copy = dict(mapping)
            mapping.clear()
            for key, value in copy.items():
                new = changes[key][1] if key in changes else key
                while new in mapping:
                    new += "_"
                mapping[new] = value
                node = self._gatherer.nodes.get(id(mapping), {}).get(key)
                if node is not None:
                    node.name = new
            self._repath(changes)

    def _repath(self, changes: dict[str, tuple[Leaf, str]]) -> None:
        """Let the notes about a redacted name's values show the redacted name."""
        for leaf, name in changes.values():
            old = leaf.path
            new = f"{leaf.node.path()}.{name}" if leaf.node is not None else name
            for (kind, path, action), count in list(self._counts.items()):
                if path == old or path.startswith(f"{old}."):
                    del self._counts[kind, path, action]
                    key = (kind, new + path[len(old) :], action)
                    self._counts[key] = self._counts.get(key, 0) + count

    # -- identity and notes ----------------------------------------------------------------------

    def _identity(self, document: Document) -> None:
        key = self._policy.key
        if key is None:
            return
        for name in KEYED:
            if document.get(name) is not None:
                document[name] = act.identity(key, name, document[name])
        client = document.get("client_info")
        if isinstance(client, dict) and client.get("ip_address") is not None:
            client["ip_address"] = act.identity(key, "ip_address", client["ip_address"])

    def _count(self, kind: str, leaf: Leaf, action: str) -> None:
        note = (kind, leaf.path, str(action))
        self._counts[note] = self._counts.get(note, 0) + 1

    def _listed(self) -> list[dict[str, Any]]:
        notes = list(self._counts.items())
        rest: dict[tuple[str, str, str], int] = {}
        for (kind, _path, action), count in notes[_LISTED:]:
            rest[kind, "*", action] = rest.get((kind, "*", action), 0) + count
        return [
            {"kind": kind, "count": count, "path": path, "action": action}
            for (kind, path, action), count in [*notes[:_LISTED], *rest.items()]
        ]


def _tell_slow(finder: OwnFinder, took_s: float) -> None:
    """Warn of a function that makes callers wait; once, as it would be for each text."""
    name = getattr(finder, "__qualname__", type(finder).__name__)
    if name not in _slow:
        _slow.add(name)
        _logger.warning(
            "affidavit: the function %s of redaction.finders took %.1f s for one text. Callers "
            "wait for it, up to write_timeout. Make it faster, or use a pattern.",
            name,
            took_s,
        )


def _asked(finder: OwnFinder, text: str) -> list[Span] | str | None:
    """Call a function of the application. Raises RuntimeError whatever goes wrong in it."""
    began_s = time.monotonic()
    try:
        answer = finder(text)
        took_s = time.monotonic() - began_s
        if took_s > _SLOW_S:
            _tell_slow(finder, took_s)
        if answer is None or isinstance(answer, str):
            return answer
        return list(_checked(answer, len(text)))
    # A function that leaves the program must not end the writer's thread, and on that no
    # interrupt ever arrives that is meant for the program.
    except BaseException as error:
        msg = f"A function of redaction.finders failed with {type(error).__name__}."
        raise RuntimeError(msg) from None


def _checked(answer: Any, size: int) -> Iterator[Span]:
    for start, end, kind in answer:
        if not 0 <= start < end <= size or not isinstance(kind, str):
            msg = "A finder gave a place outside of the text."
            raise ValueError(msg)
        yield start, end, kind


def _withhold_all(document: Document) -> None:
    """Keep who, when and what happened; nothing that somebody wrote."""
    for name, value in document.items():
        if name not in UNTOUCHED and not isinstance(value, bool | int | float | type(None)):
            document[name] = _withheld(value)


def _withheld(value: Any) -> Any:
    """Stand for a value, in its own type: a validator refuses a text in place of an object."""
    if isinstance(value, dict):
        return {_WITHHELD: True}
    return [] if isinstance(value, list) else act.WITHHELD


def _texts(value: Any) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []

# ruff: noqa: SIM905 - long lists of words read better as text
"""Gathering the texts of a record, each with its place, its path and what its name says."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final, NamedTuple

import msgspec

from affidavit.event import Document
from affidavit.pipeline.redact import kinds, own
from affidavit.pipeline.redact.names import Name, look
from affidavit.pipeline.redact.plain import KEY_ENDS, key_begins
from affidavit.pipeline.redact.policy import Policy
from affidavit.pipeline.redact.quick import CALL_ID, LONG_NUMBER, SHORTEST, Quick
from affidavit.pipeline.redact.secretive import is_secret
from affidavit.pipeline.redact.shadow import SEPARATORS
from affidavit.pipeline.snapshot import DECIMAL_EXT

UNTOUCHED: Final = own.UNTOUCHED

TEXT: Final = "text"
NAME: Final = "name"
NUMBER: Final = "number"
UTF8: Final = "utf-8"
LATIN: Final = "latin-1"

_FIELD, _END = SEPARATORS
_NOTHING: Final[frozenset[str]] = frozenset()
_EXACT_FLOAT: Final = 2.0**53
_NAMES_KEPT: Final = 4096
_LONGEST_NAME: Final = 64
_LONGEST_NUMBER: Final = 40
_PAIR: Final = 2
_SILENT: Final = Name("", None, perhaps=False)
_A_KEY: Final = Name("", kinds.PRIVATE_KEY, perhaps=False)
_NOT_BELOW: Final = frozenset(
    (
        "type title description format name user username userid user_id login email id role scope "
        "scopes provider host port url expires_at expires_in created_at updated_at enabled required"
    ).split()
)
"""Names that hold no secret themselves, also below one that announces secrets."""

_SCHEMA: Final = frozenset("string object array integer number boolean null".split())


class Node:
    """A step of a path. Its name can change when it is itself redacted, so paths are made late."""

    __slots__ = ("above", "name")

    def __init__(self, above: Node | None, name: str) -> None:
        self.above = above
        self.name = name

    def path(self) -> str:
        """Write the way from the record's top to here."""
        return self.name if self.above is None else f"{self.above.path()}.{self.name}"


class Leaf(NamedTuple):
    """One text: where it stands, how it got to be a text, and what its field's name says."""

    container: Any
    key: Any
    text: str
    node: Node | None
    form: str
    name: Name

    @property
    def path(self) -> str:
        """The path of the value; for a name, of what it names."""
        return f"{self.node.path()}.{self.key}" if self.node is not None else str(self.key)


_OURS: Final = {name: look(name) for name in own.NAMES}
_new: Final = tuple.__new__
"""Makes a leaf at half the price of calling its class."""


class Gatherer:
    """Walks records; remembers the names of fields that hold nothing themselves."""

    def __init__(self, policy: Policy) -> None:
        self._names: dict[str, Name] = dict(_OURS)
        self._ledger = False
        self._untouched = _NOTHING
        self._shortest = 1 if policy.patterns or policy.finders else SHORTEST
        self._rules = tuple(rule for rule in policy.fields if rule.withhold)
        self.leaves: list[Leaf] = []
        self.withheld: list[Leaf] = []
        self.special = False
        """Whether a leaf must be looked at even where nothing was found: a name, a secret field."""
        self.nodes: dict[int, dict[str, Node]] = {}
        self._quick = Quick()
        self._quick.know(_OURS)
        self._plain = not (self._rules or policy.patterns or policy.finders)

    def joined(self, document: Document) -> str | None:
        """Give the texts of a usual record as :func:`joined` does; None where it must be gathered.

        Where it gives them and nothing is found in them, nothing of the record changes.
        """
        return self._quick.joined(document) if self._plain else None

    def gather(self, document: Document) -> list[Leaf]:
        """List the texts of a record."""
        self.leaves = []
        self.withheld = []
        self.special = False
        self.nodes = {}
        self._ledger = own.is_ledger(document)
        self._untouched = own.UNTOUCHED_IN_LEDGER if self._ledger else _NOTHING
        call = document.get("call_id")  # one that an application gave can hold anything
        ours = not isinstance(call, str) or CALL_ID.fullmatch(call) is not None
        self._mapping(document, None, UNTOUCHED if ours else UNTOUCHED - {"call_id"})
        return self.leaves

    def forget(self) -> None:
        """Let go of the last record's texts."""
        self.leaves = []
        self.withheld = []
        self.nodes = {}

    def learn(self, name: str) -> None:
        """Remember that a name was searched and is harmless."""
        if len(name) <= _LONGEST_NAME:
            if len(self._names) >= _NAMES_KEPT:
                self._names = dict(_OURS)
                self._quick.know(_OURS)
            told = self._names[name] = look(name)
            self._quick.learn(name, told)

    def _mapping(  # noqa: C901 - a dispatch over types, all in one loop for speed
        self,
        mapping: dict[str, Any],
        node: Node | None,
        untouched: frozenset[str] = _NOTHING,
        above: Name | None = None,
    ) -> None:
        names, leaves = self._names, self.leaves
        told = _told(mapping) if "value" in mapping else None
        for key, value in mapping.items():
            if key in untouched:
                continue
            name = names.get(key)
            if name is None:
                name = self._unknown(mapping, key, node)
            if told is not None and key == "value":
                name = told
            if above is not None and name.secret is None and key.lower() not in _NOT_BELOW:
                name = above
            if self._rules and self._is_withheld(mapping, key, value, node):
                continue
            kind = type(value)
            if kind is str:
                if name.secret is not None:
                    self.special = True
                if len(value) >= self._shortest or name.secret is not None:
                    leaves.append(_new(Leaf, (mapping, key, value, node, TEXT, name)))
            elif kind is dict:
                self._mapping(
                    value, self._below(mapping, key, node), self._untouched, _heir(name, value)
                )
            elif value is not None and kind is not bool:
                self._value(mapping, key, value, node, name)

    def _unknown(self, mapping: dict[str, Any], key: str, node: Node | None) -> Name:
        """Look at a name not seen before, and have it searched; those in the ledger are ours."""
        if not self._ledger:
            self.leaves.append(Leaf(mapping, key, key, node, NAME, _SILENT))
            self.special = True
        return look(key)

    def _below(self, mapping: dict[str, Any], key: str, node: Node | None) -> Node:
        below = Node(node, key)
        if key not in self._names:  # it may be redacted itself: then its node must follow
            self.nodes.setdefault(id(mapping), {})[key] = below
        return below

    def _value(  # noqa: C901 - a dispatch over types
        self, container: Any, key: Any, value: Any, node: Node | None, name: Name
    ) -> None:
        kind = type(value)
        if name.secret is not None:
            self.special = True
        if kind is str:
            if len(value) >= self._shortest or name.secret is not None:
                self.leaves.append(Leaf(container, key, value, node, TEXT, name))
        elif kind is list:
            below = self._below(container, key, node) if type(key) is str else Node(node, str(key))
            self._list(value, below, name)
        elif kind is dict:
            self._mapping(value, Node(node, str(key)), self._untouched, _heir(name, value))
        elif kind is int:
            self._number(container, key, value, node, name)
        elif kind is float:
            if value.is_integer() and abs(value) < _EXACT_FLOAT:
                self._number(container, key, int(value), node, name)
        elif kind is msgspec.msgpack.Ext and value.code == DECIMAL_EXT:
            exact = Decimal(bytes(value.data).decode("ascii"))
            if exact.is_finite() and exact.adjusted() < _LONGEST_NUMBER and exact == int(exact):
                self._number(container, key, int(exact), node, name)
        elif kind is bytes:
            self._bytes(container, key, value, node, name)

    def _number(self, container: Any, key: Any, value: int, node: Node | None, name: Name) -> None:
        told = name.secret is not None and (not name.perhaps or name.looks is not None)
        if told or abs(value) >= LONG_NUMBER:
            self.leaves.append(Leaf(container, key, str(abs(value)), node, NUMBER, name))

    def _bytes(self, container: Any, key: Any, value: bytes, node: Node | None, name: Name) -> None:
        try:
            leaf = Leaf(container, key, value.decode("utf-8"), node, UTF8, name)
        except UnicodeDecodeError:
            leaf = Leaf(container, key, value.decode("latin-1"), node, LATIN, name)
        self.leaves.append(leaf)

    def _list(self, items: list[Any], node: Node, name: Name) -> None:
        first = items[0] if len(items) == _PAIR else None
        header = False
        if type(first) is bytes and type(items[1]) in {bytes, str}:
            first = first.decode("latin-1")
        if type(first) is str and len(first) <= _LONGEST_NAME and type(items[1]) in {bytes, str}:
            told = look(first)  # a header as it comes from ASGI: [name, value]
            header = told.secret is not None
            name = told if header else name
        within = False
        for index, item in enumerate(items):
            if self._rules and self._is_withheld(items, index, item, node):
                continue
            if item is not None and type(item) is not bool:
                silent = header and index == 0
                if type(item) is str and item[:5] == "-----":  # a key as a list of its lines
                    within = key_begins(item) or (within and KEY_ENDS not in item)
                self._value(
                    items, index, item, node, _SILENT if silent else _A_KEY if within else name
                )

    def _is_withheld(self, container: Any, key: str | int, value: Any, node: Node | None) -> bool:
        path = f"{node.path()}.{key}" if node is not None else str(key)
        steps = tuple(path.split("."))
        if not any(rule.covers(steps) for rule in self._rules):
            return False
        if value is not None:
            self.withheld.append(Leaf(container, key, "", node, TEXT, _SILENT))
        return True


def joined(leaves: list[Leaf]) -> tuple[str, list[int]]:
    """Put all texts together for one search; give also where in it each one begins."""
    parts: list[str] = []
    starts: list[int] = []
    at = 0
    for leaf in leaves:
        spoken = leaf.name.spoken
        if spoken:
            parts += (spoken, _FIELD)
            at += len(spoken) + 1
        starts.append(at)
        parts += (leaf.text, _END)
        at += len(leaf.text) + 1
    return "".join(parts), starts


def _heir(name: Name, mapping: dict[str, Any]) -> Name | None:
    """Say what the fields below one are: below ``passwords`` all, in a schema of it none."""
    if name.secret is None or (name.perhaps and name.looks is not is_secret):
        return None
    told = mapping.get("type")
    schema = (type(told) is str and told in _SCHEMA) or "$ref" in mapping or "anyOf" in mapping
    return None if schema else name


def _told(mapping: dict[str, Any]) -> Name | None:
    """See a header as ``{"name": ..., "value": ...}`` as the field that it is."""
    for field in ("name", "key", "header"):
        told = mapping.get(field)
        if type(told) is str and len(told) <= _LONGEST_NAME:
            return look(told)
    return None

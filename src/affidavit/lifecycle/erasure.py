"""Erasing content on a person's request: the figures, the entry and every proof stay.

Order: every record that is meant is announced in the ledger; then the content goes, some hundred
records at a time; then the ledger gets a receipt. A process that is killed leaves an announcement
without a receipt, which can be finished (:func:`unfinished`, :func:`finish`). Nothing was changed
under an announcement that is not complete. An announcement is no order: whoever may add to the
ledger can write one, so a person decides whether it is finished.

What is never in the ledger: what was erased, and whose it was. Where an erasure was of a user, it
says so, and not of whom.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, NamedTuple

from bson.decimal128 import Decimal128

from affidavit.canonical import CONTENT, EntryError, erase, groups_in, strip
from affidavit.event import NO_OUTCOME, Dest, Document, LedgerEvent
from affidavit.lifecycle.holds import Hold, in_force
from affidavit.store.erasing import Chosen, ErasableStore

ANNOUNCED_AT_ONCE: Final = 5000
"""Ids in one ledger record."""

AT_ONCE: Final = 200
"""Records that are read and replaced together."""

_TRIES: Final = 3
_RECORDS: Final = Dest.RECORDS.value
_FIGURES: Final = ("provider_used", "tokens_used", "cost_usd", "processing_time_ms")
_WHO: Final = frozenset({"subject", "client"})
_CORRECTION: Final = "correction"
_NUMBERS: Final = (int, float, Decimal128)
_OLD_CLIENT: Final = frozenset({"client_ip", "ip_address", "user_agent"})
_OLD_FACTS: Final = frozenset({"completed_at", "kind", "open_for_ms"})
"""Of records without salts, kept although an entry would have them in the group ``other``."""

Progress = Callable[[int, int], None]


class Doomed(NamedTuple):
    """A record that is meant, without its content."""

    id: Any
    groups: frozenset[str]
    proved: bool


@dataclass(slots=True)
class Planned:
    """What an erasure would do."""

    groups: tuple[str, ...]
    by: str
    doomed: list[Doomed] = field(default_factory=list)
    """Records with something to erase."""
    done: int = 0
    """Records that are meant, and have nothing (more) to erase."""
    altered: list[str] = field(default_factory=list)
    """Ids of records that have no entry to keep, because somebody changed them."""
    held: Counter[str] = field(default_factory=Counter)
    """Holds that forbid it, with how many records each."""

    @property
    def by_group(self) -> dict[str, int]:
        """How many records have something of each group."""
        return dict(sorted(Counter(g for each in self.doomed for g in each.groups).items()))


@dataclass(slots=True)
class Receipt:
    """What an erasure has done; the ledger's last word on it."""

    erasure: str
    groups: list[str]
    erased: int = 0
    already: int = 0
    """Announced records that had nothing more to erase: an interrupted run had done them."""
    gone: int = 0
    """Announced records that are not there any more: expired meanwhile."""
    without_proof: int = 0
    """Of the erased ones, those that were never proved: of another logger or an older version."""
    left: list[str] = field(default_factory=list)
    """Ids of announced records that still have their content: held meanwhile, or altered."""


class Unfinished(NamedTuple):
    """An erasure that was announced, and has no receipt."""

    erasure: str
    groups: tuple[str, ...]
    reason: str
    by: str
    ids: tuple[Any, ...]
    actor: Mapping[str, Any]
    """Who announced it, as the ledger has it."""
    at: Any = None


def plan(store: ErasableStore, chosen: Chosen, groups: Collection[str] = CONTENT) -> Planned:
    """Look at every record that is meant, and say what erasing these groups would do."""
    planned = Planned(tuple(sorted(groups)), chosen.by)
    holds = _holds(store)
    for document in store.select(chosen):
        for hold in holds:
            planned.held[hold.id] += hold.covers(document)
        try:
            going = going_from(document, groups)
        except EntryError:
            planned.altered.append(str(document["_id"]))
            continue
        if going:
            planned.doomed.append(Doomed(document["_id"], going, _is_proved(document)))
        else:
            planned.done += 1
    planned.held = +planned.held
    return planned


def carry_out(
    store: ErasableStore, planned: Planned, reason: str, progress: Progress | None = None
) -> Receipt:
    """Announce an erasure, do it, and give the receipt, which is in the ledger too.

    The caller has looked at ``planned.held``: a hold that is new by then is respected all the same.
    Raises StoreRefused before anything is announced where the right to erase is missing.
    """
    store.check_right()
    name = f"erasure-{secrets.token_hex(6)}"
    ids = [each.id for each in planned.doomed]
    groups = list(planned.groups)
    told = {"erasure": name, "groups": groups, "reason": reason, "selected_by": planned.by}
    parts = list(_in_groups(ids, ANNOUNCED_AT_ONCE))
    for part, names in enumerate(parts):
        counts = {"part": part, "parts": len(parts), "total": len(ids)}
        details = {**told, "phase": "announced", **counts, "records": names}
        store.note(LedgerEvent.ERASURE, details)
    begun = Unfinished(name, planned.groups, reason, planned.by, tuple(ids), {})
    return finish(store, begun, progress)


def unfinished(store: ErasableStore) -> list[Unfinished]:
    """Find the erasures that were wholly announced and have no receipt."""
    begun: dict[str, dict[int, Mapping[str, Any]]] = {}
    told: dict[str, Mapping[str, Any]] = {}
    for document in store.ledger(LedgerEvent.ERASURE):
        details = document.get("details") or {}
        name = str(details.get("erasure"))
        if details.get("phase") == "done":
            begun.pop(name, None)
        elif details.get("phase") == "announced":
            begun.setdefault(name, {})[int(details["part"])] = details
            told.setdefault(name, document)
    return [
        Unfinished(
            name,
            tuple(parts[0]["groups"]),
            str(parts[0].get("reason") or ""),
            str(parts[0].get("selected_by")),
            tuple(each for part in sorted(parts) for each in parts[part]["records"]),
            told[name].get("actor") or {},
            told[name].get("timestamp"),
        )
        for name, parts in begun.items()
        if 0 in parts and len(parts) == parts[0]["parts"]
    ]


def finish(store: ErasableStore, begun: Unfinished, progress: Progress | None = None) -> Receipt:
    """Erase what was announced, as far as it is still there, and write the receipt."""
    receipt = Receipt(begun.erasure, list(begun.groups))
    done = 0
    for ids in _in_groups(begun.ids, AT_ONCE):
        _erase(store, ids, begun.groups, receipt)
        done += len(ids)
        if progress is not None:
            progress(done, len(begun.ids))
    told = {**asdict(receipt), "left": receipt.left[:ANNOUNCED_AT_ONCE]}
    more = {"phase": "done", "reason": begun.reason, "selected_by": begun.by}
    store.note(LedgerEvent.ERASURE, {**told, **more})
    return receipt


def _erase(
    store: ErasableStore, ids: Sequence[Any], groups: Collection[str], receipt: Receipt
) -> None:
    """Erase some records, and read them again: only what is seen to be gone counts as erased."""
    first = store.fetch(ids)
    receipt.gone += len(ids) - len(first)
    proved = {str(each["_id"]): _is_proved(each) for each in first}
    holds = _holds(store)
    held = [each for each in first if any(hold.covers(each) for hold in holds)]
    receipt.left += [str(each["_id"]) for each in held]
    skipped = {str(each["_id"]) for each in held}
    now = [each for each in first if str(each["_id"]) not in skipped]
    to_do, altered = _pairs(now, groups)
    receipt.left += altered
    receipt.already += len(now) - len(to_do) - len(altered)
    names = [before["_id"] for before, _ in to_do]
    for _ in range(_TRIES):
        if not to_do:
            break
        store.replace(to_do)
        to_do, altered = _pairs(store.fetch(names), groups)
        receipt.left += altered
        names = [name for name in names if str(name) not in altered]
    still = {str(before["_id"]) for before, _ in to_do}
    receipt.left += sorted(still)
    gone = [str(name) for name in names if str(name) not in still]
    receipt.erased += len(gone)
    receipt.without_proof += sum(not proved[name] for name in gone)


def _pairs(
    documents: Sequence[Document], groups: Collection[str]
) -> tuple[list[tuple[Document, Document]], list[str]]:
    """Pair each record that has something to erase with what is left; name the altered ones."""
    pairs, altered = [], []
    for document in documents:
        try:
            if going_from(document, groups):
                pairs.append((document, _left(document, groups)))
        except EntryError:
            altered.append(str(document["_id"]))
    return pairs, altered


def going_from(document: Mapping[str, Any], groups: Collection[str]) -> frozenset[str]:
    """Name the groups that an erasure would take from a stored record.

    Raises EntryError for a record that has salts and no entry: it was altered.
    """
    if not _is_proved(document):
        return _groups_of_old(document, _left(document, groups))
    return groups_in(erase(document, _RECORDS, ()), _RECORDS) & _of_kind(document, groups)


def _left(document: Document | Mapping[str, Any], groups: Collection[str]) -> Document:
    if _is_proved(document):
        return erase(document, _RECORDS, _of_kind(document, groups))
    return _strip_old(document, groups)


def _of_kind(document: Mapping[str, Any], groups: Collection[str]) -> frozenset[str]:
    """Leave out what holds nothing of a person, and what others go by: flags and corrections."""
    if document.get("kind") == NO_OUTCOME or document.get("event_type") == _CORRECTION:
        return _WHO & frozenset(groups)
    return frozenset(groups)


def _strip_old(document: Mapping[str, Any], groups: Collection[str]) -> Document:
    """Take content out of a record that was never proved; its figures stay.

    Other loggers have fields of their own, so all that is not known goes with everything else.
    """
    everything = set(groups) >= CONTENT
    left = strip(document, _RECORDS, groups)
    if everything:
        left |= {name: document[name] for name in _OLD_FACTS if name in document}
    elif "client" in groups:
        left = {name: value for name, value in left.items() if name not in _OLD_CLIENT}
    answer = document.get("response_data")
    if isinstance(answer, Mapping):
        figures = {n: answer[n] for n in _FIGURES if isinstance(answer.get(n), _NUMBERS)}
        if figures:
            left["response_data"] = {**figures, **left.get("response_data", {})}
    return left


def _groups_of_old(document: Mapping[str, Any], left: Mapping[str, Any]) -> frozenset[str]:
    lost = [name for name, value in document.items() if not _is_kept(value, left.get(name))]
    return groups_in({name: document[name] for name in lost}, _RECORDS)


def _is_kept(value: Any, left: Any) -> bool:
    return left is value or bool(left == value)  # a value may be unequal to itself: NaN


def _is_proved(document: Mapping[str, Any]) -> bool:
    return any(document.get(name) is not None for name in ("salt", "salts", "erased"))


def _holds(store: ErasableStore) -> list[Hold]:
    return in_force(store.ledger(LedgerEvent.HOLD))


def _in_groups(ids: Sequence[Any], size: int) -> Iterator[list[Any]]:
    return (list(ids[at : at + size]) for at in range(0, len(ids), size))

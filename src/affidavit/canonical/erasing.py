"""Taking groups of fields out of a stored record: its entry, leaf and proofs stay the same."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from affidavit.canonical.record import (
    EXEMPT,
    GROUPS,
    PARTS,
    EntryError,
    commitment_of,
    divided,
    entry_of,
    salts_of,
)
from affidavit.canonical.values import key_of
from affidavit.event import Document

CONTENT: Final = GROUPS - {"actor"}
"""Groups that may hold what a person said, or who a person is; and findings about it."""


def groups_in(document: Mapping[str, Any], dest: str) -> frozenset[str]:
    """Name the groups of which a stored record has fields; it need not have salts.

    Raises EntryError for a value that has no canonical form.
    """
    return frozenset(divided(document, dest))


def erase(document: Mapping[str, Any], dest: str, groups: Collection[str]) -> Document:
    """Give a copy of a stored record without the fields of these groups; its entry is the same.

    A part (``request_data``) goes with the last of its fields. Groups that the record does not have
    are passed over. Raises EntryError for a record that has no entry.
    """
    if entry_of(document, dest) is None:
        msg = "A record without salts has no entry that could stay the same."
        raise EntryError(msg)
    present = divided(document, dest)
    going = present.keys() & set(groups)
    if not going:
        return dict(document)
    seed = document.get("salt")
    salts = dict(document.get("salts") or {}) if seed is None else salts_of(seed, present)
    gone = dict(document.get("erased") or {})
    gone.update({name: commitment_of(salts.pop(name), present[name]) for name in sorted(going)})
    return {**strip(document, dest, going), "salts": salts, "erased": gone}


def strip(document: Mapping[str, Any], dest: str, groups: Collection[str]) -> Document:
    """Give a copy without the fields of these groups, and without salts and marks of an erasure.

    What is left has no entry: :func:`erase` keeps it. This alone is for records that never had one.
    Raises EntryError for a value that has no canonical form.
    """
    present = divided(document, dest)
    left = {name: value for name, value in document.items() if name not in EXEMPT}
    for group in present.keys() & set(groups):
        holder = next((part for part, pair in PARTS.items() if group in pair), None)
        if holder is None:
            for name in [n for n in left if key_of(n) in present[group]]:
                del left[name]
            continue
        part = {n: v for n, v in left[holder].items() if key_of(n) not in present[group]}
        left[holder] = part
        if not any(value is not None for value in part.values()):
            del left[holder]
    return left

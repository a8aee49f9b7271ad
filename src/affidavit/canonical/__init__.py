"""What is hashed of a record: one form for values, salted commitments, the entry, its leaf.

:mod:`.values` gives every stored value one JSON form, the same before and after storing.
:mod:`.record` makes of a record its *entry*: some facts in clear, and one salted commitment for
each group of fields that may be erased later. The leaf of the log is the entry's hash.
:mod:`.erasing` takes such groups out.

Pure: no driver, no threads, no files. The format is ``docs/reference/entry.md``.
"""

from affidavit.canonical.erasing import CONTENT, erase, groups_in, strip
from affidavit.canonical.record import (
    ENTRY_LIMIT,
    ENTRY_VERSION,
    EXEMPT,
    GROUPS,
    SALT_SIZE,
    EntryError,
    entry,
    entry_of,
    leaf_hash,
    leaf_of,
    new_salt,
    openings,
)
from affidavit.canonical.values import encode, epoch_ms, from_json, normalise, to_json

__all__ = [
    "CONTENT",
    "ENTRY_LIMIT",
    "ENTRY_VERSION",
    "EXEMPT",
    "GROUPS",
    "SALT_SIZE",
    "EntryError",
    "encode",
    "entry",
    "entry_of",
    "epoch_ms",
    "erase",
    "from_json",
    "groups_in",
    "leaf_hash",
    "leaf_of",
    "new_salt",
    "normalise",
    "openings",
    "strip",
    "to_json",
]

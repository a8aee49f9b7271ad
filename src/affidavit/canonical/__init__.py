"""What is hashed of a record: one form for values, salted commitments, the entry, its leaf.

:mod:`.values` gives every stored value one JSON form, the same before and after storing.
:mod:`.record` makes of a record its *entry*: some facts in clear, and one salted commitment for
each group of fields that may be erased later. The leaf of the log is the entry's hash.

Pure: no driver, no threads, no files. The format is ``docs/reference/entry.md``.
"""

from affidavit.canonical.record import (
    ENTRY_LIMIT,
    ENTRY_VERSION,
    EXEMPT,
    GROUPS,
    SALT_SIZE,
    EntryError,
    entry,
    entry_of,
    erase,
    leaf_hash,
    leaf_of,
    new_salt,
    openings,
)
from affidavit.canonical.values import encode, epoch_ms, from_json, normalise, to_json

__all__ = [
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
    "leaf_hash",
    "leaf_of",
    "new_salt",
    "normalise",
    "openings",
    "to_json",
]

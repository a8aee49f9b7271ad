"""What happens to stored records later: erasing content, holds that forbid it, putting a log back.

Lives here: which fields go and in which order everything is told to the ledger (:mod:`.erasure`),
legal holds (:mod:`.holds`), and in which order an export is put back (:mod:`.importing`).
Does not live here: how a record keeps its proof without its content (``canonical``), how a store
finds, replaces and takes documents (``store.erasing``, ``store.restoring``), and expiry, which the
database does.
"""

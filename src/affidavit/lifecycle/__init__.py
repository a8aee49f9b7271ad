"""What happens to stored records later: erasing content on request, and holds that forbid it.

Lives here: which fields go and in which order everything is told to the ledger (:mod:`.erasure`),
and legal holds (:mod:`.holds`).
Does not live here: how a record keeps its proof without its content (``canonical``), how a store
finds and replaces records (``store.erasing``), and expiry, which the database does.
"""

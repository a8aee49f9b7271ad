"""What the ways of capturing share: the hook in an SDK's base client, taps on streams, parsing.

The ways themselves are in :mod:`affidavit.capture`, one file each, and know this package but not
each other. Who owns what:

- a :class:`~.call.CapturedCall` belongs to the one request that made it, and after that to its tap;
- a :class:`~.taps.Tap` belongs to whoever reads the stream; what ends it first, wins;
- who records which client is decided in :mod:`.hook`, under its lock.
"""

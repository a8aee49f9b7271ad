"""The durable local queue for records the store has not confirmed.

Lives here: the SQLite file of one process (:mod:`.sqlite`), who owns a file and taking over those
of dead processes (:mod:`.owner`), and the counters that survive a SIGKILL (:mod:`.counters`).
Does not live here: threads, and the decision when to spool or send (that is ``_engine``).
"""

"""The one synchronous engine: queue, writer thread, shipper thread, acknowledgements.

Lives here: taking records from callers (:mod:`.inbox`), finishing and routing them
(:mod:`.writer`, and :mod:`.sender` for batches under way), sending what waits in the spool,
heartbeats and the watchdog (:mod:`.shipper`), taking over spools of dead processes
(:mod:`.adopt`), start, fork and stop (:mod:`.engine`).
Does not live here: what a record looks like (``logger``), how it is kept (``store``, ``spool``).

Who owns which state
--------------------
==========================  =====================================================================
queue and its byte count    callers put, the writer takes; ``Inbox`` guards both with one lock
sequence numbers, settled   the writer's thread
spool                       the writer appends, the shipper reads and removes
batches under way           the writer launches and lands them; the sender's threads answer
second connection           a lock, ``Core.second_connection``: the shipper's while it works, else a
                            second batch's
tallies                     anyone; ``Counters`` guards each increment
held records (no disk)      the writer adds, the shipper removes, under ``Core.held_lock``
breaker                     the writer trips it, the shipper closes it; guarded by its own lock
adopted spools              the shipper's thread
==========================  =====================================================================
"""

from affidavit._engine.engine import Engine
from affidavit._engine.stats import Stats
from affidavit._engine.ticket import State, Ticket

__all__ = ["Engine", "State", "Stats", "Ticket"]

"""Making the log grow: leaf batches become leaves of one tree, and each step is signed.

Lives here: the log's key and identity (:mod:`.keys`), one step of sealing (:mod:`.sealing`) with
what is covered (:mod:`.cover`), the tree and its tiles (:mod:`.tree`), numbers that did not come
(:mod:`.gaps`) and batches built again (:mod:`.rebuild`), and running all that (:mod:`.run`).
Does not live here: the formats and the tree's mathematics (``integrity``), verification, and how
anything is kept (``store``).
"""

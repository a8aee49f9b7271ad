"""Evidence that leaves the house: bundles for one call, exports of a whole log, and reading both.

Lives here: what is written into folders (:mod:`.bundle`, :mod:`.export`), reading them back
(:mod:`.inspect`, :mod:`.folder`), and a record's place and proof in a live log (:mod:`.place`).
Does not live here: the rules of verification (``integrity.verify``), and how the log grows
(``sealer``).
"""

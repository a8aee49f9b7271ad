"""Measuring Affidavit beside raw PyMongo, in one run: ``python -m bench`` (``make bench``).

Lives here: one module per question (:mod:`.caller`, :mod:`.throughput`, :mod:`.sustained`,
:mod:`.loop_lag`, :mod:`.foreground`, :mod:`.share`, :mod:`.storage`, :mod:`.writes`), what they
share (:mod:`.measure`, :mod:`.workload`, :mod:`.servers`), and how results are shown
(:mod:`.report`, :mod:`.claims`). Each section runs in a process of its own, on a ``mongod`` of its
own, so that none warms or burdens another. :mod:`.views` stands alone: the speed of reading.
"""

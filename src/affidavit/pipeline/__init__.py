"""From what the application handed over to the bytes that are stored: pure steps, no I/O.

Lives here: taking a snapshot on the caller's thread (:mod:`.snapshot`), and on the writer's thread
building the document of it (:mod:`.build`), cleaning and cutting (:mod:`.clean`), compressing
fields (:mod:`.compress`) and encoding (:mod:`.chain`, which runs the steps in order). Does not live
here: threads, queues, databases.
"""

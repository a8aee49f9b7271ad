"""The HTTP service and its console: what `affidavit serve` runs.

Lives here: who a visitor is and what they may do (:mod:`.visitor`, :mod:`.roles`, :mod:`.doors`,
:mod:`.auth`), the HTTP interface (:mod:`.api`), the pages (:mod:`.pages`, with templates, words and
static files), the schedules of the one process (:mod:`.schedules`), and :mod:`.app`, which ties
them together. :class:`.backend.Backend` is the only way from here to the log.
Does not live here: questions, sums, proofs, alerts, and anything about MongoDB. A page asks the
rooms below for them, as a command does.

Needs the extra ``serve``. Nothing but ``affidavit serve`` imports this room, and only when it runs.
"""

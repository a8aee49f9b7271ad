"""Questions about finished calls, and their answers.

Lives here: typed questions, the one shape of answers, and what each kind of question makes of sums.
Does not live here: databases. An engine behind :class:`affidavit.store.analytics.Totals` gives the
sums (:mod:`affidavit.tally`), and which one it was stands in the answer.
"""

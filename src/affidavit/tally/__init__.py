"""What finished calls count for, and sums of it.

Lives here: a call as plain numbers and keys (:mod:`.facts`), sums that merge in any order
(:mod:`.sums`), distributions in relative-error buckets (:mod:`.sketch`), and hours, days and months
of a time zone (:mod:`.times`). All of it is pure, and below the stores, because they make sums too.
Does not live here: questions and answers (:mod:`affidavit.analytics`), databases, prices.
"""

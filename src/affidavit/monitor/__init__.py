"""How the log and the database under it are doing: metrics, alerts, advice.

Lives here: the list of metrics (:mod:`.metrics`), what was read of the database as plain data
(:mod:`.reading`), and pure functions that make values of it. Does not live here: the driver, which
:mod:`affidavit.store` hides behind the Protocol of ``store/monitoring.py``.
"""

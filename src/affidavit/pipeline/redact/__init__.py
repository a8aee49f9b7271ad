"""Redaction: the one place where every text of a record passes before it leaves the process.

``Redactor(policy).redact(document)`` works on a decoded record, in place. :mod:`.scan` finds,
:mod:`.policy` says what to do, :mod:`.act` does it, :mod:`.record` walks. Pure: no I/O, no threads.
"""

from affidavit.pipeline.redact.policy import PRESETS, Action, Policy
from affidavit.pipeline.redact.record import Redactor

__all__ = ["PRESETS", "Action", "Policy", "Redactor"]

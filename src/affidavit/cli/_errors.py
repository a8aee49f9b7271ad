"""Exit codes, and errors as one line: the cause and the next step, without a trace."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Final

from affidavit.cli._text import escape
from affidavit.errors import (
    AffidavitError,
    ConfigError,
    MissingExtra,
    SetupClash,
    StoreRefused,
    StoreUnavailable,
)

FOUND_WRONG: Final = 1
"""The command worked and found something that needs doing."""
USAGE: Final = 2
"""A wrong argument, setting or configuration file."""
UNAVAILABLE: Final = 3
"""The database does not answer."""
REFUSED: Final = 4
"""The database refuses: rights or login."""
INTERRUPTED: Final = 130

_CODES: Final[tuple[tuple[type[AffidavitError], int], ...]] = (
    (ConfigError, USAGE),
    (MissingExtra, USAGE),
    (StoreUnavailable, UNAVAILABLE),
    (StoreRefused, REFUSED),
    (SetupClash, FOUND_WRONG),
    (AffidavitError, FOUND_WRONG),
)

TRACE_VARIABLE: Final = "AFFIDAVIT_TEST_TRACE"


def explain(error: Exception) -> int:
    """Say what went wrong on standard error and return the exit code."""
    if os.environ.get(TRACE_VARIABLE):
        traceback.print_exception(error)
    if isinstance(error, AffidavitError):
        text = str(error)
        if isinstance(error, SetupClash) and error.remedy:
            text += f" Command: {error.remedy}"
        code = next(code for kind, code in _CODES if isinstance(error, kind))
    else:
        # The error's own text could hold content of a record or a password: only its kind is shown.
        text = (
            f"Something unexpected happened ({type(error).__name__}). This is a fault of the "
            "program; please report what you ran."
        )
        code = FOUND_WRONG
    sys.stderr.write(f"affidavit: {escape(text)}\n")
    return code

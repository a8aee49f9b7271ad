"""The command ``affidavit``: one thin module per command, and no logic of its own.

Nothing heavy is imported here, so that ``affidavit --help`` answers quickly.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from affidavit.cli._errors import explain
from affidavit.cli._pipe import outlive_readers

__all__ = ["main", "run"]


def main() -> None:
    """Run the command of this process and exit."""
    outlive_readers()
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; errors are one line on standard error."""
    from affidavit.cli._app import app

    try:
        app(list(arguments), prog_name="affidavit", standalone_mode=True)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except Exception as error:
        return explain(error)
    return 0

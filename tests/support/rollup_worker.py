"""A keeper in a process of its own, in small groups, to be killed: ``python -m … URI``."""

from __future__ import annotations

import sys
import time

from affidavit.analytics.keeper import Keeper
from affidavit.config import AuditConfig
from affidavit.store import open_log


def main() -> None:
    """Fold until there is nothing left; a line for each group."""
    with open_log(sys.argv[1], AuditConfig()) as log:
        keeper = Keeper(log.seals, log.rollups, most_leaves=1)
        print("ready", flush=True)
        while keeper.step() is not None:
            print(keeper.k, flush=True)
            time.sleep(0.001)
        print("done", flush=True)


if __name__ == "__main__":
    main()

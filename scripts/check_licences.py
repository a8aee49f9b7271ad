"""Check the licence of everything that a user installs with Affidavit, extras included.

Only licences on the list below pass, so that a new or unclear one is looked at by a person. AGPL,
GPL, LGPL and SSPL never come onto it. One package under the MPL is accepted by name.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

from scripts.runtime_closure import closure

if TYPE_CHECKING:
    from importlib.metadata import Distribution

EXTRAS = ("demo",)

# SPDX names, and the words that older metadata uses for the same licences.
PERMISSIVE = re.compile(
    r"""(apache(-2\.0|\ software\ license|\ license,?\ (version\ )?2\.0|\ 2\.0)?
        |bsd(-[23]-clause|\ license|\ [23]-clause\ license)?
        |isc(\ license)?(\ \(iscl)?
        |mit(-0|\ license)?
        |psf(-2\.0)?|python\ software\ foundation\ license
        |0bsd|unlicense|zlib)""",
    re.IGNORECASE | re.VERBOSE,
)

ACCEPTED_BY_NAME = {
    "certifi": "MPL-2.0: a list of certificates, used as it is and never changed here",
}


def stated_licences(package: Distribution) -> list[str]:
    """What a package's metadata says: the expression if there is one, else the older fields."""
    metadata = package.metadata
    if "License-Expression" in metadata:
        return [metadata["License-Expression"]]
    classifiers = [
        text.rpartition("::")[2].strip()
        for text in metadata.get_all("Classifier", [])
        if text.startswith("License ::")
    ]
    if classifiers:
        return classifiers
    older = metadata["License"].strip() if "License" in metadata else ""
    return [older.splitlines()[0] if older else "none stated"]


def is_permissive(statement: str) -> bool:
    """Whether one of the alternatives (`A OR B`) is permissive in all its parts (`A AND B`)."""
    return any(
        all(PERMISSIVE.fullmatch(part.strip(" ()")) for part in re.split(r"\s+AND\s+", alternative))
        for alternative in re.split(r"\s+OR\s+", statement)
    )


def main() -> int:
    """Print every package with a licence that needs a person; 1 when there is one."""
    packages = closure(extras=EXTRAS)
    refused = {
        name: statements
        for name, package in sorted(packages.items())
        if name not in ACCEPTED_BY_NAME
        and not all(map(is_permissive, statements := stated_licences(package)))
    }
    for name, statements in refused.items():
        print(f"{name}: {', '.join(statements)}", file=sys.stderr)
    if refused:
        print(
            "These licences are not on the list in scripts/check_licences.py. Take another "
            "package, or add the licence there if it is permissive.",
            file=sys.stderr,
        )
        return 1
    print(f"Licences: {len(packages)} packages that users install, all permissive.")
    return 0


if __name__ == "__main__":
    sys.exit(main())

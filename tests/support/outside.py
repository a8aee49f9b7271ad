"""Programs of others that verify what we write: Go's checksum-database packages, and openssl.

Both come from Debian; ``scripts/install-debian.sh`` installs them, and ``make setup`` runs it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

SOURCE = Path(__file__).parents[1] / "outside" / "verify.go"
GOPATH = Path("/usr/share/gocode")
_MISSING = (
    "{what} is missing, with which the tests verify the log from outside. "
    "Run as root: sh scripts/install-debian.sh (or install golang-go, golang-golang-x-mod-dev "
    "and openssl by other means)."
)


class Outside:
    """Go's packages, in a small program of ours; its caches lie in a directory of its own."""

    def __init__(self, folder: Path) -> None:
        """Build the program in ``folder``."""
        if shutil.which("go") is None:
            raise RuntimeError(_MISSING.format(what="Go"))
        if not (GOPATH / "src/golang.org/x/mod/sumdb/tlog").is_dir():
            raise RuntimeError(_MISSING.format(what="Go's package golang.org/x/mod"))
        self.folder = folder
        self._program = folder / "verify"
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "GOCACHE": str(folder / "cache"),
            "GOPATH": str(GOPATH),
            "GO111MODULE": "off",  # Debian's packages are sources below GOPATH
            "GOTOOLCHAIN": "local",
            "GOFLAGS": "",
            "CGO_ENABLED": "0",
        }
        subprocess.run(
            ["go", "build", "-o", self._program, SOURCE],
            cwd=folder,
            env=environment,
            check=True,
            timeout=300,
        )
        shutil.rmtree(folder / "cache", ignore_errors=True)

    def record(self, vkey: str, entry: bytes, proof: str) -> str:
        """Verify that an entry is in the log; what the program says. Raises OutsideError."""
        return self._run("record", vkey.encode(), entry, proof.encode())

    def growth(self, vkey: str, old: str, new: str, proof: list[str]) -> str:
        """Verify that one checkpoint leads to another, by base64 hashes. Raises OutsideError."""
        return self._run("growth", vkey.encode(), old.encode(), new.encode(),
                         "\n".join(proof).encode())  # fmt: skip

    def sign(self, key: str, text: str) -> str:
        """Let Go sign a text with a private key of ours; the note. Raises OutsideError."""
        return self._run("sign", key.encode(), text.encode()) + "\n"

    def served(self, vkey: str, entry: bytes, index: int, prefix: str, token: str) -> str:
        """Verify a log that is served at an address, and one entry in it. Raises OutsideError."""
        return self._run("served", vkey.encode(), entry, str(index).encode(), prefix.encode(),
                         token.encode())  # fmt: skip

    def exported(self, vkey: str, entry: bytes, index: int, folder: Path) -> str:
        """Verify the tiles of an export, and one entry in it. Raises OutsideError."""
        return self.served(vkey, entry, index, str(folder), "")

    def _run(self, command: str, *contents: bytes) -> str:
        place = Path(mkdtemp(dir=self.folder))
        files = [place / str(number) for number in range(len(contents))]
        for file, content in zip(files, contents, strict=True):
            file.write_bytes(content)
        return self.run(command, *map(str, files))

    def run(self, *arguments: str) -> str:
        """Run the program on files, as its first lines say. Raises OutsideError."""
        done = subprocess.run(
            [self._program, *arguments], capture_output=True, text=True, timeout=60, check=False
        )
        if done.returncode:
            raise OutsideError(done.stderr.strip())
        return done.stdout.strip()


class OutsideError(Exception):
    """A program of others does not accept what it was given."""


@cache
def openssl() -> str:
    """The path of openssl."""
    found = shutil.which("openssl")
    if found is None:
        raise RuntimeError(_MISSING.format(what="The command openssl"))
    return found


def openssl_verify(folder: Path, public: bytes, data: bytes, signature: bytes) -> None:
    """Verify an Ed25519 signature with openssl. Raises OutsideError."""
    key, text, blob = folder / "key.pem", folder / "text", folder / "signature"
    pem = Ed25519PublicKey.from_public_bytes(public)
    key.write_bytes(pem.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    text.write_bytes(data)
    blob.write_bytes(signature)
    command = [openssl(), "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", str(key)]
    command += ["-in", str(text), "-sigfile", str(blob)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise OutsideError(done.stdout.strip() or done.stderr.strip())

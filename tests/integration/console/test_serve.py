"""``affidavit serve`` as a user runs it: a process, its output, its end."""

from __future__ import annotations

import os
import re
import signal
import ssl
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pymongo.database import Database

COMMAND = "from affidavit.cli import main; main()"
TOLD = re.compile(r"The console is at (\S+)")
LINK = re.compile(r"(http\S+/login/first\?key=\S+)")


def wait_until(ready: Callable[[], object], timeout_s: float) -> None:
    """Wait until something is so."""
    until_s = time.monotonic() + timeout_s
    while not ready():
        assert time.monotonic() < until_s, "it did not come in time"
        time.sleep(0.05)


def is_ready(url: str) -> bool:
    """Whether a service answers, and its database does."""
    try:
        return httpx.get(f"{url}/readyz", timeout=10).is_success
    except httpx.HTTPError:
        return False


class Running:
    """A service in a process of its own, and what it prints."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self.process, self._out, self._err = process, folder / "out", folder / "err"

    @property
    def out(self) -> str:
        """What it printed so far."""
        return self._out.read_text("utf-8")

    @property
    def err(self) -> str:
        """What it complained of so far."""
        return self._err.read_text("utf-8")

    def found(self, pattern: re.Pattern[str]) -> str:
        """Wait until it prints something."""
        wait_until(lambda: pattern.search(self.out) is not None, timeout_s=90)
        match = pattern.search(self.out)
        assert match is not None, self.err
        return match[1]

    def end(self, number: int = signal.SIGTERM) -> int:
        """End it; gives its exit code."""
        self.process.send_signal(number)
        return self.process.wait(30)


@contextmanager
def service(folder: Path, *arguments: str, **variables: str) -> Iterator[Running]:
    """Run it on a free port; it is killed at the end, if it is still there."""
    folder.mkdir(exist_ok=True)
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        process = subprocess.Popen(
            [sys.executable, "-c", COMMAND, "serve", "--port", "0", *arguments],
            stdout=out,
            stderr=err,
            env={**os.environ, **variables},
            cwd=folder,
        )
    try:
        yield Running(process, folder)
    finally:
        process.kill()
        process.wait()


@pytest.mark.requirement("R13")
def test_it_prints_where_it_is_and_a_link_and_ends_cleanly(
    mongodb_uri: str, database: Database[dict[str, Any]], tmp_path: Path
) -> None:
    """The link lets the first administrator in; a second start prints none; SIGTERM ends it."""
    with service(tmp_path / "a", "--uri", mongodb_uri) as first:
        url, link = first.found(TOLD), first.found(LINK)
        assert link.startswith(url)
        assert url.startswith("http://127.0.0.1:")
        with httpx.Client(follow_redirects=True) as browser:
            key = link.partition("?key=")[2]
            page = browser.post(f"{url}/login/first", data={"key": key})
            assert page.url.path == "/settings"
        assert first.end() == 0
        assert key not in first.err
        assert "Traceback" not in first.err
    with service(tmp_path / "b", "--uri", mongodb_uri) as second:
        url = second.found(TOLD)
        wait_until(lambda: httpx.get(f"{url}/readyz").is_success, timeout_s=60)
        assert second.end(signal.SIGINT) == 0
        assert LINK.search(second.out) is None
    with service(tmp_path / "c", "--uri", mongodb_uri, "--new-link") as third:
        third.found(LINK)


@pytest.mark.requirement("R13")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--host", "0.0.0.0"), "without TLS"),  # noqa: S104 - it must not listen there
        (("--tls-cert", "cert.pem"), "TLS needs both"),
        (("--oidc-issuer", "https://login.example.org"), "oidc_client_id"),
        (("--oidc-role", "staff"), "GROUP=ROLE"),
        (("--uri", "mongodb://127.0.0.1"), "names no database"),
        (("--host", "192.0.2.1", "--behind-proxy", "192.0.2.2"), "cannot be opened"),
    ],
)
def test_it_refuses_to_start_with_the_reason(
    arguments: tuple[str, ...], said: str, mongodb_uri: str, tmp_path: Path
) -> None:
    """Nothing listens, one line says why, and the exit code is that of wrong arguments."""
    with service(tmp_path / "a", "--uri", mongodb_uri, *arguments) as refused:
        assert refused.process.wait(30) == 2
        assert said in refused.err
        assert "Traceback" not in refused.err
        assert refused.out == ""


@pytest.mark.requirement("R13")
def test_its_settings_come_from_the_file_and_the_environment_too(
    mongodb_uri: str, tmp_path: Path
) -> None:
    """A container is configured without arguments; an option wins over both."""
    folder = tmp_path / "a"
    folder.mkdir()
    issuer = 'oidc_issuer = "https://login.example.org"\noidc_client_id = "affidavit"\n'
    (folder / "affidavit.toml").write_text(f"[serve]\nport = 1\n{issuer}", encoding="utf-8")
    arguments = ("--uri", mongodb_uri, "--no-schedules")
    with service(folder, *arguments, AFFIDAVIT_SERVE_LANGUAGE="es") as running:
        url = running.found(TOLD)
        assert f"The issuer must allow {url}/login/oidc/back" in running.out
        page = httpx.get(f"{url}/login").text
        assert 'lang="es"' in page
        assert "login.example.org" in page
        assert running.end() == 0
    with service(tmp_path / "b", *arguments, AFFIDAVIT_SERVE_HOST="0.0.0.0") as refused:  # noqa: S104
        assert refused.process.wait(30) == 2
        assert "without TLS" in refused.err


@pytest.mark.requirement("R13")
def test_with_tls_cookies_and_headers_keep_browsers_to_it(
    mongodb_uri: str, tmp_path: Path, certificate: tuple[Path, Path]
) -> None:
    """Secure, with the prefix that no other host can set, and HSTS."""
    cert, key = certificate
    with service(
        tmp_path / "a", "--uri", mongodb_uri, "--tls-cert", str(cert), "--tls-key", str(key)
    ) as running:
        link = running.found(LINK)
        assert link.startswith("https://")
        trusted = ssl.create_default_context(cafile=cert)
        with httpx.Client(verify=trusted) as browser:
            url, _, secret = link.partition("?key=")
            answer = browser.post(url, data={"key": secret})
            assert answer.status_code == httpx.codes.SEE_OTHER
            assert answer.headers["strict-transport-security"].startswith("max-age=")
            cookie = answer.headers["set-cookie"]
            assert cookie.startswith("__Host-affidavit=")
            assert "secure" in cookie.lower()
            assert browser.get(url.replace("/login/first", "/settings")).is_success
        assert running.end() == 0


@pytest.mark.requirement("R9", "R13")
def test_it_starts_without_a_database_and_says_so(tmp_path: Path) -> None:
    """It runs, is not ready, shows the log-in, and no trace."""
    nowhere = "mongodb://127.0.0.1:9/away?serverSelectionTimeoutMS=300"
    with service(tmp_path / "a", "--uri", nowhere) as running:
        url = running.found(TOLD)
        wait_until(lambda: _answers(f"{url}/healthz"), timeout_s=60)
        assert httpx.get(f"{url}/readyz", timeout=10).status_code == httpx.codes.SERVICE_UNAVAILABLE
        assert httpx.get(f"{url}/login").is_success
        wait_until(lambda: "away" in httpx.get(f"{url}/readyz").text, timeout_s=10)
        tried = httpx.post(f"{url}/login", data={"token": "aff_0123456789_" + "x" * 43})
        assert tried.status_code == httpx.codes.SERVICE_UNAVAILABLE
        assert "Traceback" not in tried.text
        assert running.end() == 0
        assert "Traceback" not in running.err


def _answers(url: str) -> bool:
    try:
        return httpx.get(url).is_success
    except httpx.HTTPError:
        return False


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1 and its key."""
    return certificate_in(tmp_path_factory.mktemp("tls"))


def certificate_in(folder: Path) -> tuple[Path, Path]:
    """Make them in a folder."""
    import ipaddress
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(here, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    cert_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return cert_file, key_file

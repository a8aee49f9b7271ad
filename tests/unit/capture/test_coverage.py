"""Which clients are found, and what is said of them."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from affidavit import AuditConfig
from affidavit.capture.coverage import CLIENTS, Client, Coverage, Known, installed, numbers
from affidavit.cli.doctor import _clients
from affidavit.store.findings import Finding, Level
from scripts import test_litellm, test_sdks

pytestmark = pytest.mark.requirement("R1", "R34")

ROOT = Path(__file__).resolve().parents[3]


def environment(monkeypatch: pytest.MonkeyPatch, **versions: str) -> None:
    """Let these packages be installed, and no others."""

    def version(package: str) -> str:
        name = package.replace("-", "_")
        if name not in versions:
            raise metadata.PackageNotFoundError(package)
        return versions[name]

    monkeypatch.setattr(metadata, "version", version)


def test_the_installed_sdks_are_found_with_a_tested_version() -> None:
    """Those of the lock: what the other tests of capture run with."""
    found = {client.known.package: client for client in installed()}
    for package in ("openai", "anthropic", "langchain-core", "opentelemetry-sdk"):
        assert found[package].is_tested, found[package]
        assert found[package].version == metadata.version(package)


def test_the_oldest_versions_are_those_that_are_tested_for() -> None:
    """What is said of a package is what the project itself asks for, or its script installs."""
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["dependency-groups"]
    floors = dict(re.findall(r"([a-z-]+)>=([\d.]+)", " ".join(map(str, groups["dev"]))))
    floors |= {"litellm": test_litellm.OLDEST, **test_sdks.OLDEST}
    for known in CLIENTS:
        if known.oldest:
            assert numbers(floors[known.package])[:2] == numbers(known.oldest), known


@pytest.mark.parametrize(
    ("version", "tested"),
    [("1.60", True), ("1.60.0", True), ("3.54.0", True), ("1.59.9", False), ("4.0.0rc1", False),
     ("dev", False)],
)  # fmt: skip
def test_a_version_is_tested_or_not(version: str, tested: bool) -> None:
    """From the oldest on, below the next that nobody has seen."""
    known = Known("openai", Coverage.HOOK, "", "1.60", "4")
    assert Client(known, version).is_tested is tested


def said(config: AuditConfig | None = None) -> list[Finding]:
    """What the doctor says."""
    return list(_clients(config or AuditConfig()))


def test_each_client_is_named_with_what_records_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hook, a callback, or nothing; with what to do about it."""
    environment(monkeypatch, openai="3.1.0", litellm="1.106.2", cohere="5.20.0", anthropic="0.1.0")
    openai, anthropic, litellm, cohere, guard = said()
    assert (openai.level, litellm.level) == (Level.OK, Level.OK)
    assert "instrument()" in openai.text
    assert "affidavit.capture.litellm" in litellm.text
    assert (anthropic.level, cohere.level, guard.level) == (Level.NOTE,) * 3
    assert "0.49 and newer, below 3" in anthropic.text
    assert "@audit.observe" in cohere.remedy
    assert "guard='record'" in guard.remedy


def test_a_guard_that_is_on_is_no_note(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is one that is off where every client is covered."""
    environment(monkeypatch, groq="1.0.0")
    assert said(AuditConfig(guard="record"))[-1].level is Level.OK
    environment(monkeypatch, openai="3.1.0")
    assert said()[-1].level is Level.OK


def test_an_environment_without_clients_is_said_to_have_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing is a finding, too."""
    environment(monkeypatch)
    assert "no client" in said()[0].text

"""The command ``affidavit demo``, as far as no server is needed."""

from __future__ import annotations

import subprocess
import sys

import pytest
import typer

from affidavit.cli import demo as command
from affidavit.demo.app import RateLimit
from affidavit.errors import MissingExtra


def test_missing_packages_are_named_with_the_command_that_installs_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A plain installation of the library says what the demo needs."""
    monkeypatch.setattr(command, "_PACKAGES", ("fastapi", "no_such_package"))
    with pytest.raises(MissingExtra, match=r'no_such_package.*pip install "affidavit\[demo\]"'):
        command._need_extras()


def test_loading_the_command_loads_none_of_the_demo() -> None:
    """The command line stays quick for everybody else."""
    code = (
        "import sys, affidavit.cli.demo;"
        "sys.exit(any(name in sys.modules for name in ('fastapi', 'openai', 'pymongo', 'uvicorn')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_option_goes_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """LLM=canned is what ``make demo`` passes on."""
    monkeypatch.setenv("LLM", "canned")
    assert command._choose(None) == "canned"
    assert command._choose("real") == "real"


def test_without_the_model_the_canned_endpoint_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed by pip alone, the demo needs no model."""
    monkeypatch.delenv("LLM", raising=False)
    monkeypatch.setattr("affidavit.demo.real_model._PACKAGE", "no-such-package")
    assert command._choose(None) == "canned"


@pytest.mark.parametrize("name", ["gpt", "Real"])
def test_an_unknown_model_or_profile_is_refused(name: str) -> None:
    """The text names the choices."""
    with pytest.raises(typer.BadParameter, match="canned or real"):
        command._choose(name)
    with pytest.raises(typer.BadParameter, match="direct or high-volume"):
        command._profile(name)


@pytest.mark.requirement("R18")
def test_the_rate_limit_counts_by_user() -> None:
    """One user at the limit leaves the others alone; no limit, no count."""
    limit = RateLimit({"intern": 2})
    assert [limit.exceeded("intern") for _ in range(3)] == [None, None, {"requests": 3, "limit": 2}]
    assert all(limit.exceeded("ana") is None for _ in range(5))

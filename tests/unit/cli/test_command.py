"""The command as a process: fast help, exit codes, and errors in one line."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from affidavit.cli import _app, run
from affidavit.config import SETTINGS
from tests.support.hang_up import run_into_closed_pipe

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.requirement("R6")


def test_help_imports_neither_driver_nor_table_layout() -> None:
    """They would take most of the time."""
    program = (
        "import sys\n"
        "from affidavit.cli import run\n"
        "code = run(['--help'])\n"
        "heavy = {'pymongo', 'rich', 'cryptography', 'fastapi'} & set(sys.modules)\n"
        "sys.exit(f'{code} {heavy}' if code or heavy else 0)"
    )
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "search" in ended.stdout


def test_a_line_on_standard_error_is_there_at_once(tmp_path: Path) -> None:
    """Into a file too: a service that says what it does an hour later helps nobody."""
    program = (
        "import pathlib, sys\n"
        "from affidavit.cli import _output\n"
        "from affidavit.cli._pipe import outlive_readers\n"
        "outlive_readers()\n"
        "_output.note('here')\n"
        "print(pathlib.Path(sys.argv[1]).read_text())"
    )
    said = tmp_path / "said"
    with said.open("w", encoding="utf-8") as errors:
        ended = subprocess.run(
            [sys.executable, "-c", program, str(said)],
            check=True,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    assert ended.stdout == "here\n\n"


@pytest.mark.parametrize("arguments", [["no-such-command"], ["search", "--no-such-option"]])
def test_wrong_usage_is_exit_code_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """As of every command line tool."""
    assert run(arguments) == 2
    assert "No such" in capsys.readouterr().err


def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    """--help of each works and says something."""
    names = [command.name or "" for command in _app.app.registered_commands]
    assert {"tail", "search", "show", "timeline", "said", "status", "stats", "doctor"} <= {*names}
    for name in [*names, "dead-letters"]:
        assert run([name, "--help"]) == 0
        assert len(capsys.readouterr().out.splitlines()) > 4


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """One line."""
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("affidavit ")


@pytest.mark.parametrize(
    ("uri", "code", "says"),
    [
        ("mongodb://user:hunter2@127.0.0.1:9/wadm?serverSelectionTimeoutMS=200", 3, "not answer"),
        ("mongodb://user:hunter2@127.0.0.1:9/", 2, "names no database"),
        ("mongodb://user:hunter2@127.0.0.1:9/wadm?journal=false", 2, "journaling off"),
        ("postgres://user:hunter2@127.0.0.1/wadm", 2, "no known store"),
        ("mongodb://user:hunter2@127.0.0.1:notaport/wadm", 2, "no usable MongoDB address"),
        ("mongodb://user:x/hunter2@127.0.0.1/wadm", 2, "percent-encoded"),
        ("mongodb://user:x@hunter2@127.0.0.1/wadm", 2, "percent-encoded"),
    ],
)
def test_an_address_that_does_not_work_is_one_line_without_the_password(
    uri: str, code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Cause and next step, no trace."""
    assert run(["search", "--uri", uri]) == code
    shown = capsys.readouterr().err
    assert says in shown
    assert len(shown.splitlines()) == 1
    assert "hunter2" not in shown


def test_config_explains_every_setting_with_its_source(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Value, where it came from, and its effect here; the password of an address is hidden."""
    (tmp_path / "affidavit.toml").write_text("batch_size = 25\nttl_days = 40\n", "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AFFIDAVIT_TTL_DAYS", "50")
    monkeypatch.setenv("AFFIDAVIT_MONGODB_URI", "mongodb://u:hunter2@h/wadm")
    assert run(["config", "--json"]) == 0
    shown = capsys.readouterr().out
    assert "hunter2" not in shown
    settings = {entry["name"]: entry for entry in json.loads(shown)["settings"]}
    assert set(settings) == set(SETTINGS)
    assert all(len(entry["effect"]) > 20 for entry in settings.values())
    assert (settings["batch_size"]["value"], settings["batch_size"]["source"]) == (
        25,
        "affidavit.toml",
    )
    assert (settings["ttl_days"]["value"], settings["ttl_days"]["source"]) == (
        50,
        "AFFIDAVIT_TTL_DAYS",
    )
    assert settings["batch_writes"]["source"] == "default"
    assert run(["config"]) == 0
    table = capsys.readouterr().out
    assert all(name in table for name in SETTINGS)


def test_an_unknown_variable_is_an_error_with_the_near_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistyped setting is not silently ignored."""
    monkeypatch.setenv("AFFIDAVIT_TTL_DAY", "50")
    assert run(["config"]) == 2
    assert "AFFIDAVIT_TTL_DAYS" in capsys.readouterr().err


def test_an_unexpected_error_shows_its_kind_and_nothing_of_its_text(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The text could hold a password or content."""

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("mongodb://u:hunter2@h")

    monkeypatch.setattr(_app, "app", broken)
    assert run(["config"]) == 1
    shown = capsys.readouterr().err
    assert "RuntimeError" in shown
    assert "hunter2" not in shown


@pytest.mark.parametrize("arguments", [["--help"], ["config"], ["config", "--json"]])
def test_a_reader_that_hangs_up_is_no_error(arguments: list[str]) -> None:
    """As with `| head`: nothing is said, and the exit code is that of the work."""
    assert run_into_closed_pipe(*arguments) == (0, "")


def test_a_failing_command_keeps_its_exit_code_without_a_reader() -> None:
    """Also when its one line of error finds nobody (`2>&1 | head`)."""
    assert run_into_closed_pipe("search", "--since", "never", errors_too=True) == (2, "")

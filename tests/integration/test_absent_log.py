"""Reading where no log is: it is said, with where one might be, and nothing is written."""

from __future__ import annotations

from typing import Any

import pytest
from pymongo.database import Database

from affidavit.cli import run

Log = Database[dict[str, Any]]

pytestmark = pytest.mark.requirement("R20")

READINGS = (
    ["stats"],
    ["show", "0" * 24],
    ["search"],
    ["tail"],
    ["timeline", "--user", "ana"],
    ["said", "hello"],
    ["prices", "unpriced"],
    ["prices", "reprice", "--since", "7d"],
)


@pytest.fixture
def nowhere(database: Log, mongodb_uri: str, monkeypatch: pytest.MonkeyPatch) -> Log:
    """An address with a mistyped name of a database, in the environment."""
    typed = f"{database.name}x"
    monkeypatch.setenv("AFFIDAVIT_MONGODB_URI", mongodb_uri.replace(database.name, typed))
    return database.client[typed]


@pytest.mark.parametrize("command", READINGS, ids=" ".join)
def test_a_mistyped_database_is_an_error_and_stays_empty(
    nowhere: Log, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    """Exit code of a configuration error, the name that was typed, and no ledger."""
    assert run(command) == 2
    shown = capsys.readouterr()
    assert f"There is no log in the database '{nowhere.name}'" in shown.err
    assert shown.out == ""
    assert nowhere.list_collection_names() == []


def test_the_log_that_was_meant_is_named(
    nowhere: Log, database: Log, mongodb_uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A log in a database of a similar name is listed first, with its collection."""
    assert run(["setup", "--uri", mongodb_uri]) == 0
    assert run(["stats"]) == 2
    assert f"What looks like a log: {database.name} (collection llm_audit)" in (
        capsys.readouterr().err
    )


def test_a_log_in_a_database_beside_is_hinted_at(
    database: Log, mongodb_uri: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """The application has a setting that the command was not given."""
    monkeypatch.setenv("AFFIDAVIT_MONGODB_URI", mongodb_uri)
    beside = database.client[f"{database.name}_audit"]
    try:
        for name in ("llm_logs", "llm_logs_ledger"):
            beside.create_collection(name)
        assert run(["search"]) == 2
        said = capsys.readouterr().err
        assert f"For {beside.name} set AFFIDAVIT_SEPARATE_DATABASE=true" in said
    finally:
        database.client.drop_database(beside.name)


def test_another_collection_of_the_same_database_is_named(
    database: Log, mongodb_uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """--collection may be what is wrong."""
    assert run(["setup", "--uri", mongodb_uri, "--collection", "own"]) == 0
    assert run(["search", "--uri", mongodb_uri]) == 2
    assert f"{database.name} (collection own)" in capsys.readouterr().err
    assert run(["search", "--uri", mongodb_uri, "--collection", "own"]) == 0


def test_a_log_that_is_empty_or_was_never_set_up_is_read(
    database: Log, mongodb_uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Records alone are a log, as older loggers leave it."""
    database.create_collection("llm_audit")
    assert run(["stats", "--uri", mongodb_uri]) == 0
    assert "No calls." in capsys.readouterr().out

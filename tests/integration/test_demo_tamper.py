"""The second half of the demonstration alone: an administrator at work on a sealed log."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from bson import CodecOptions
from bson.raw_bson import RawBSONDocument

from affidavit import AuditConfig, AuditLogger
from affidavit.cli import run
from affidavit.demo import tamper
from affidavit.integrity.findings import Finding, Kind
from affidavit.integrity.note import Signer
from affidavit.store import open_log

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pymongo.database import Database

    Log = Database[dict[str, Any]]

pytestmark = pytest.mark.requirement("R20")
ENVIRONMENT = "demo-test"


@pytest.fixture
def commit(database: Log, mongodb_uri: str, tmp_path: Path) -> Callable[..., tamper.Tampering]:
    """Three calls of this run and one of another are in the log; gives the second half."""
    spool = str(tmp_path / "spool")
    for environment, users in ((ENVIRONMENT, "abc"), ("theirs", "x")):
        with AuditLogger(
            mongodb_uri, spool_dir=spool, environment=environment, seal="off"
        ) as audit:
            for number, user in enumerate(users):
                with audit.call(provider="p", model="m", message="q", user_id=user) as call:
                    call.complete(text="answer", cost_usd=Decimal(number + 1) / 100)

    def second_half(*, put_back: bool) -> tamper.Tampering:
        plan = tamper.Run(ENVIRONMENT, {}, None, tmp_path / "saved.checkpoint", None, put_back)
        with open_log(mongodb_uri, AuditConfig()) as log:
            return tamper.commit(log, database, plan, lambda _: None)

    return second_half


def stored(database: Log) -> dict[Any, bytes]:
    """Every record, byte for byte."""
    options: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument)
    records = database.llm_audit.with_options(codec_options=options)
    return {document["_id"]: document.raw for document in records.find()}


def test_what_was_done_is_found_again_by_the_command_that_is_named(
    commit: Callable[..., tamper.Tampering], mongodb_uri: str
) -> None:
    """The dearest call is edited, the next of another user deleted: exit code of an alteration."""
    done = commit(put_back=False)
    assert done.problems == []
    told = [(act.what, act.user_id, act.cost_usd, act.found_as) for act in done.acts]
    assert told == [("edited", "c", "0.03", "altered"), ("deleted", "b", "0.02", "missing")]
    assert run([*done.command.split()[1:], "--uri", mongodb_uri]) == 14


def test_both_records_are_put_back_byte_for_byte(
    commit: Callable[..., tamper.Tampering], database: Log, mongodb_uri: str, tmp_path: Path
) -> None:
    """Every record is what it was, and the command that is named finds nothing wrong."""
    before = stored(database)
    done = commit(put_back=True)
    assert ([act.found_as for act in done.acts], done.put_back) == (["altered", "missing"], True)
    assert stored(database) == before
    assert not list(tmp_path.glob("*.bson"))
    assert run([*done.command.split()[1:], "--uri", mongodb_uri]) == 0


def test_a_log_that_does_not_verify_is_not_touched(
    commit: Callable[..., tamper.Tampering], database: Log
) -> None:
    """What is wrong already is a problem of the run; nothing is added to it."""
    database.llm_audit.update_one({"environment": "theirs"}, {"$set": {"user_id": "mallory"}})
    before = stored(database)
    done = commit(put_back=True)
    assert (done.acts, done.clean_before) == ([], False)
    assert "before it was touched" in done.problems[0]
    assert stored(database) == before


def test_a_crime_that_is_not_found_and_a_finding_without_a_crime_are_problems() -> None:
    """What was done and what was found are held against each other both ways."""
    act = tamper.Act(what="edited", call_id="c1", user_id="u", model="m", cost_usd="0.01")
    stranger = Finding(Kind.ALTERED, {"writer": "w", "seq": 8}, "Another one.")
    done = tamper.Tampering(problems=[])
    tamper.match([stranger], [({"writer": "w", "seq": 7}, act)], done)
    assert act.found_as == ""
    assert done.problems == [
        "nobody found that call c1 was edited",
        "found, and nobody did it: Another one.",
    ]


def test_a_log_whose_key_is_elsewhere_is_left_alone(
    commit: Callable[..., tamper.Tampering], database: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody seals there now: the second half is left out, and says why."""
    signer = Signer("affidavit/elsewhere")
    with open_log(database, AuditConfig()) as log:
        log.seals.claim(signer.name, signer.vkey)
    monkeypatch.setattr(tamper, "SEAL_TIMEOUT_S", 0.5)
    before = stored(database)
    done = commit(put_back=True)
    assert "is not on this host" in done.left_out
    assert (done.problems, done.acts, stored(database)) == ([], [], before)

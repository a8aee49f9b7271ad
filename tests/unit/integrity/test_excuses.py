"""What is gone for a reason in the ledger is told as such, and new reasons want confirmation."""

from __future__ import annotations

from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import pytest
from bson.objectid import ObjectId
from hypothesis import given, settings
from hypothesis import strategies as st

from affidavit.canonical import erase, leaf_of
from affidavit.canonical.values import epoch_ms
from affidavit.integrity.adopted import rows_of
from affidavit.integrity.findings import UNCONFIRMED_CODE, Kind, Policy, Report, Verdict
from affidavit.integrity.leaves import FIRST, REBUILT, build
from affidavit.integrity.told import TOLD_BY
from affidavit.integrity.trust import Trust
from affidavit.integrity.verify import Scope, verify
from affidavit.integrity.words import told, verdict
from tests.support.small_log import DAY_S, SmallLog

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.requirement("R20", "R21")
Docs = dict[str, Any]


@lru_cache
def _made() -> SmallLog:
    log = SmallLog()
    first, second = log.start("w-a"), log.start("w-b")
    for _ in range(4):
        log.seal([log.calls(first, 10), log.calls(second, 10)])
    return log


@pytest.fixture
def log() -> SmallLog:
    """A log of two writers, of which a checkpoint was saved; then a third one came."""
    log = _made().copy()
    log.at += timedelta(minutes=10)
    log.start("w-c")
    return log


def checked(log: SmallLog, *, later_s: float = 60, **options: Any) -> Report:
    """Verify with what was saved before the third writer came."""
    scope = Scope(**options.pop("scope", {}))
    known = {"vkey": _made().signer.vkey, "saved": _made().checkpoint, **options}
    now_ms = epoch_ms(log.at) + int(later_s * 1000)
    return verify(log, Trust(**known), now_ms=now_ms, scope=scope)


def excuse_a_loss(log: SmallLog, by: str = "w-c") -> None:
    """Delete a record, and say that it was lost."""
    gone = log.held["records"].pop(30)
    log.say(by, "spool_adopted", {"writer": gone["writer"], "lost_seqs": [[gone["seq"]] * 2]})


def excuse_a_refusal(log: SmallLog) -> None:
    """Delete the newest writer's record, and say that the database refused it."""
    writer = log.writers["w-c"]
    log.seal([log.calls(writer, 3)])
    log.say("w-c", "dead_letter", {"seqs": [log.held["records"].pop()["seq"]]})


def excuse_by_retention(log: SmallLog) -> None:
    """Delete the older half, and say that records are kept for a minute only."""
    log.command({"ttl_s": 60})
    del log.held["records"][:40]


def excuse_an_erasure(log: SmallLog) -> None:
    """Take content out, and say that somebody asked for it."""
    gone = log.held["records"][30]
    log.command({"records": [str(gone["_id"])], "groups": ["request"]}, "erasure")
    log.held["records"][30] = erase(gone, "records", ["request"])


def foreign(log: SmallLog) -> Docs:
    """A document such as other loggers write, dated between sealed ones."""
    return {
        "_id": ObjectId(), "event_type": "llm_response", "user_id": "u",
        "timestamp": log.held["records"][30]["timestamp"],
    }  # fmt: skip


def excuse_an_insertion(log: SmallLog) -> None:
    """Put a record in, and say that another logger's records are taken over."""
    log.held["records"].append(foreign(log))
    log.command({"documents": 1}, "adoption")


def excuse_by_closing(log: SmallLog) -> None:
    """Put a record in, and say that the adoption is closed with it."""
    made_up = foreign(log)
    log.held["records"].append(made_up)
    rows = b"".join(rows_of([made_up]))
    log.command({"closing": "c", "part": 0, "parts": 1, "rows": rows}, "adoption_closed")


EXCUSES: list[tuple[Callable[[SmallLog], None], int, str]] = [
    (excuse_a_loss, 1, "1 record missing for reasons the log's owner gave: 1 lost or refused"),
    (excuse_a_refusal, 1, "1 record missing for reasons the log's owner gave: 1 lost or refused"),
    (excuse_by_retention, 40, "40 records missing for reasons the log's owner gave: 40 expired"),
    (excuse_an_erasure, 1, "1 record with content erased for reasons the log's owner gave"),
    (excuse_an_insertion, 1, "1 of another logger"),
    (excuse_by_closing, 1, "1 of another logger"),
]
each_excuse = pytest.mark.parametrize(
    ("act", "count", "says"), EXCUSES, ids=[act.__name__ for act, *_ in EXCUSES]
)


def test_a_whole_log_is_complete(log: SmallLog) -> None:
    """Nothing is said of reasons, for nothing needed one."""
    report = checked(log)
    assert (report.verdict, report.says, report.exit_code) == (Verdict.COMPLETE, "Complete.", 0)
    assert verdict(report) == "Complete. Level: separated."
    assert report.excuses == []


@each_excuse
def test_a_reason_given_after_the_saved_checkpoint_is_not_confirmed(
    log: SmallLog, act: Callable[[SmallLog], None], count: int, says: str
) -> None:
    """Whoever may write to the ledger can give it after the deed: its own verdict and exit code."""
    act(log)
    report = checked(log, later_s=3600)
    assert report.findings == []
    assert (report.verdict, report.exit_code) == (Verdict.UNCONFIRMED, UNCONFIRMED_CODE)
    assert report.unconfirmed == count
    assert report.says == (
        f"NOT CONFIRMED: complete, with {says}. For {count} of them nobody outside has confirmed "
        "the reason."
    )
    excuse = report.excuses[-1]
    assert str(excuse).endswith("AFTER the saved checkpoint")
    assert ("ledger", str(excuse)) in told(report)
    as_dict = report.as_dict()
    assert (as_dict["verdict"], as_dict["says"]) == ("unconfirmed", report.says)
    assert as_dict["excuses"][-1]["confirmed"] is False


@each_excuse
def test_who_has_looked_at_the_reasons_can_accept_them(
    log: SmallLog, act: Callable[[SmallLog], None], count: int, says: str
) -> None:
    """Then nothing is wrong, and the verdict still says what is gone."""
    act(log)
    report = checked(log, later_s=3600)
    report.policy = Policy.ACCEPT
    assert (report.verdict, report.exit_code) == (Verdict.EXCUSED, 0)
    assert report.says.startswith(f"Complete, with {says}.")


@each_excuse
def test_a_reason_that_was_there_at_the_checkpoint_is_told(
    log: SmallLog, act: Callable[[SmallLog], None], count: int, says: str
) -> None:
    """Who saved a checkpoint later could have seen it; to be strict refuses it all the same."""
    act(log)
    report = checked(log, later_s=3600, saved=log.checkpoint)
    assert (report.verdict, report.exit_code) == (Verdict.EXCUSED, 0)
    assert report.says == f"Complete, with {says}."
    assert (report.unconfirmed, report.excuses[-1].doubt) == (0, "")
    report.policy = Policy.STRICT
    assert (report.verdict, report.exit_code) == (Verdict.UNCONFIRMED, UNCONFIRMED_CODE)


def test_without_a_checkpoint_nothing_is_newer_than_it(log: SmallLog) -> None:
    """The reasons are told, and strictness is asked for."""
    excuse_a_loss(log)
    report = checked(log, saved=None)
    assert (report.verdict, report.exit_code) == (Verdict.EXCUSED, 0)
    assert "1 lost or refused" in report.says


# -- what is not believed --------------------------------------------------------------------------


def test_only_who_started_as_a_writer_can_have_taken_over(log: SmallLog) -> None:
    """A ledger record by anybody else explains no loss, and is named."""
    log.command({"writer": "w-a", "lost_seqs": [[12, 13]]}, "spool_adopted")
    del log.held["records"][30]
    gone = log.held["records"].pop(30)
    log.command({"writer": gone["writer"], "lost_seqs": [[0, 99]]}, "spool_adopted")
    report = checked(log, saved=log.checkpoint)
    assert report.kinds[Kind.MISSING]
    assert "has never started as a writer" in report.findings[0].text
    assert "NOT BELIEVED" in str(report.excuses[-1])


def call_it_refused(log: SmallLog, by: str = "w-c") -> Docs:
    """Delete a record, and say that it was refused from a spool that was taken over."""
    gone = log.held["records"].pop(30)
    details = {"writer": gone["writer"], "refused_seqs": [[gone["seq"]] * 2]}
    if by in log.writers:
        log.say(by, "dead_letter", details)
    else:
        log.command(details, "dead_letter")
    return gone


def test_what_was_refused_of_a_spool_taken_over_is_explained(log: SmallLog) -> None:
    """Whoever took it over names the numbers; after the checkpoint that is not confirmed."""
    call_it_refused(log)
    report = checked(log, saved=log.checkpoint)
    assert (report.findings, report.verdict) == ([], Verdict.EXCUSED)
    assert report.counts["explained"] == 1
    assert "were refused" in str(report.excuses[-1])
    assert checked(log).verdict is Verdict.UNCONFIRMED


def test_a_refusal_is_believed_only_as_a_loss_is(log: SmallLog) -> None:
    """Of a silent writer, from one that has started as a writer, and of no number of its own."""
    other = log.copy()
    call_it_refused(other, "a command")
    report = checked(other, saved=other.checkpoint)
    assert report.kinds == {Kind.MISSING: 1}
    assert "has never started as a writer" in report.findings[0].text
    gone = call_it_refused(log)
    log.at += timedelta(minutes=10)
    log.seal([log.calls(log.writers[gone["writer"]], 2)])
    report = checked(log, saved=log.checkpoint)
    assert report.kinds == {Kind.MISSING: 1}
    assert "went on recording after that" in report.findings[0].text


def test_numbers_of_another_writer_are_none_of_ones_own(log: SmallLog) -> None:
    """A record of the one who took over, with a number that it calls refused, is missing."""
    writer = log.writers["w-c"]
    log.seal([log.calls(writer, 3)])
    gone = log.held["records"].pop()
    told = {"writer": "w-a", "refused_seqs": [[gone["seq"]] * 2]}
    log.say("w-c", "dead_letter", told)
    assert checked(log, saved=log.checkpoint).kinds == {Kind.MISSING: 1}


def test_only_a_writer_that_is_silent_has_lost_something(log: SmallLog) -> None:
    """One that goes on recording was not taken over."""
    excuse_a_loss(log)
    of = log.writers[str(log.held["ledger"][-1]["details"]["writer"])]
    log.at += timedelta(minutes=10)
    log.seal([log.calls(of, 2)])
    report = checked(log, saved=log.checkpoint)
    assert report.kinds == {Kind.MISSING: 1}
    assert "went on recording after that" in report.findings[0].text


@pytest.mark.parametrize(
    "ranges", [[[30, 5]], [[-9, -1]], ["0-99"], [[0]], [[0, 99.0]], {"0": 99}, 7]
)
def test_ranges_that_are_none_explain_nothing(log: SmallLog, ranges: Any) -> None:
    """And they do not disturb what others say."""
    gone = log.held["records"].pop(30)
    log.say("w-c", "spool_adopted", {"writer": gone["writer"], "lost_seqs": ranges})
    assert checked(log, saved=log.checkpoint).kinds == {Kind.MISSING: 1}
    log.say("w-c", "spool_adopted", {"writer": gone["writer"], "lost_seqs": [[gone["seq"]] * 2]})
    assert checked(log, saved=log.checkpoint).verdict is Verdict.EXCUSED


def test_a_reason_in_a_leaf_that_the_sealer_made_is_not_confirmed(log: SmallLog) -> None:
    """The sealer makes leaves of what is stored under a silent writer's name, whoever stored it."""
    gone = log.held["records"].pop(30)
    writer = log.writers["w-c"]
    details = {"writer": gone["writer"], "lost_seqs": [[gone["seq"]] * 2]}
    item = log.batch(writer, [("ledger", {"event_type": "spool_adopted", "details": details})])
    document = log.held["ledger"][-1]
    made = build(
        "w-c", document["seq"], [leaf_of(document, "ledger")], [epoch_ms(document["timestamp"])],
        b"\x01", FIRST, log.signer, made=REBUILT,
    )  # fmt: skip
    log.leaf_batches[made.id] = {**made.as_document(), "sent_at": log.at}
    log.seal([item])
    report = checked(log, saved=log.checkpoint)
    assert (report.findings, report.verdict) == ([], Verdict.UNCONFIRMED)
    assert "the sealer made" in str(report.excuses[-1])


def test_a_later_closing_changes_nothing_that_an_earlier_one_has_said(log: SmallLog) -> None:
    """Whoever alters a document of another logger cannot commit to it anew."""
    document = foreign(log)
    log.held["records"].append(document)
    for name in ("first", "second"):
        rows = b"".join(rows_of([document]))
        log.command({"closing": name, "part": 0, "parts": 1, "rows": rows}, "adoption_closed")
        document["user_id"] = "another"
    document["user_id"] = "another"
    assert checked(log, saved=log.checkpoint).kinds == {Kind.ALTERED: 1}


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text(max_size=4)
    | st.binary(max_size=60),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=6,
)  # fmt: skip
_NAMES = [
    "ttl_s", "writer", "lost_seqs", "seqs", "refused_seqs", "records", "groups", "closing", "part",
    "parts", "rows", "leaf_key",
]  # fmt: skip


@settings(max_examples=60)
@given(
    kind=st.sampled_from(TOLD_BY),
    details=st.dictionaries(st.sampled_from(_NAMES), _VALUES, max_size=6) | _VALUES,
)
def test_no_ledger_record_stops_a_verification(kind: str, details: Any) -> None:
    """Whatever somebody has sealed: the rest is judged, and what is gone is not passed over."""
    log = _made().copy()
    log.command(details, kind)
    del log.held["records"][30]
    log.at += timedelta(days=1)
    report = checked(log, saved=log.checkpoint)
    assert report.verdict is not Verdict.COMPLETE
    assert told(report)
    assert report.as_dict()


# -- retention -------------------------------------------------------------------------------------


def test_what_expires_as_it_was_said_before_needs_no_confirmation(log: SmallLog) -> None:
    """Also when a later set-up has said the same again."""
    log.command({"ttl_s": 90 * DAY_S})
    log.held["records"].clear()
    report = checked(log, later_s=91 * DAY_S)
    assert (report.verdict, report.exit_code, report.unconfirmed) == (Verdict.EXCUSED, 0, 0)
    assert [str(each) for each in report.excuses] == [
        "records are kept for 90 days: 80 records, says cli-0 [leaf 0]"
    ]


def test_a_retention_that_became_shorter_is_named(log: SmallLog) -> None:
    """From what to what, and when; also where it happened before the checkpoint."""
    log.command({"ttl_s": 3600})
    log.held["records"].clear()
    report = checked(log, later_s=2 * 3600, saved=log.checkpoint)
    assert report.verdict is Verdict.EXCUSED
    assert "records are kept for 3,600 s, shortened on 2026-11-01 12:" in str(report.excuses[-1])
    assert "from 90 days: 80 records" in str(report.excuses[-1])


def test_longer_and_shorter_again_is_shorter(log: SmallLog) -> None:
    """What was promised after the checkpoint cannot be taken back unseen."""
    log.command({"ttl_s": 365 * DAY_S})
    log.at += timedelta(days=100)
    log.command({"ttl_s": 90 * DAY_S})
    log.held["records"].clear()
    report = checked(log)
    assert (report.verdict, report.unconfirmed) == (Verdict.UNCONFIRMED, 80)


def test_a_first_retention_after_the_checkpoint_is_not_confirmed() -> None:
    """Where nothing was to expire, whoever says otherwise is asked."""
    log = SmallLog(retention_days=None)
    log.seal([log.calls(log.start("w-a"), 10)])
    saved = log.checkpoint
    log.command({"ttl_s": 60})
    log.held["records"].clear()
    now_ms = epoch_ms(log.at) + 3_600_000
    report = verify(log, Trust(log.signer.vkey, "vkey", saved), now_ms=now_ms)
    assert (report.findings, report.verdict) == ([], Verdict.UNCONFIRMED)


# -- parts -----------------------------------------------------------------------------------------


def test_of_newer_leaves_only_older_reasons_are_believed_unseen(log: SmallLog) -> None:
    """`--since checkpoint` takes no ledger record on trust that came after the checkpoint."""
    log.seal([log.calls(log.writers["w-c"], 5)])
    setup = {**log.held["ledger"][0], "_id": ObjectId(), "writer": "cli-x", "timestamp": log.at}
    log.held["ledger"].append({**setup, "details": {"ttl_s": 1}})  # nobody has sealed it
    log.held["records"].pop()
    report = checked(log, later_s=3600, scope={"from_saved": True})
    assert not report.clean


def test_a_part_is_complete_as_far_as_was_looked(log: SmallLog) -> None:
    """Whoever reads some of it cannot say more."""
    report = checked(log, scope={"sample": 5})
    assert report.says == "Complete as far as was looked."


def test_numbers_that_never_came_are_told_and_those_told_as_lost_are_not(log: SmallLog) -> None:
    """A gap is no secret, and an account of it is not asked for twice."""
    writer = log.writers["w-b"]
    writer.seq += 7
    gap = {"gap": "w-b", "s0": 41, "n": 7, "t": epoch_ms(log.at)}
    log.seal([gap, log.calls(writer, 2)])
    assert checked(log, saved=None).says == "Complete, with 7 numbers that never came."
    log.at += timedelta(minutes=10)
    log.say("w-c", "spool_adopted", {"writer": "w-b", "lost_seqs": [[41, 44]]})
    report = checked(log, saved=None)
    assert (report.counts["gaps"], report.counts["never_came"]) == (7, 3)

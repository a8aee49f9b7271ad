"""The command `affidavit prices` on a real database: what has no cost, and pricing again."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from affidavit import AuditConfig, AuditLogger, canonical
from affidavit.analytics.correcting import Corrector
from affidavit.analytics.reprice import Repriced, Written, reprice
from affidavit.cli import run
from affidavit.errors import StoreRefused
from affidavit.integrity.note import Signer
from affidavit.pricing import load, read_overrides
from affidavit.sealer.keys import LogKey
from affidavit.sealer.run import seal_once
from affidavit.sealer.sealing import Sealer
from affidavit.store import connect, connect_seals, open_log, prices_of
from affidavit.store.repricing import Span
from affidavit.tally.facts import correction_of, fact_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pymongo.database import Database

    Log = Database[dict[str, Any]]

pytestmark = pytest.mark.requirement("R13")

CHEAPER = """
[[price]]
provider = "openai"
model = "gpt-5"
input = 1
output = 5

[[price]]
provider = "mine"
input = 0.5
output = 0.5
"""
GPT_5 = Decimal("0.002250000")
"""1,000 in and 100 out by the list; 0.0015 by the prices above."""


@pytest.fixture
def log(database: Log, mongodb_uri: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Log:
    """Ten calls of a model in the list, five of one that is not, others that stay as they are."""
    monkeypatch.setenv("AFFIDAVIT_MONGODB_URI", mongodb_uri)
    monkeypatch.setenv("AFFIDAVIT_SPOOL_DIR", str(tmp_path / "spool"))
    monkeypatch.chdir(tmp_path)
    with AuditLogger(database, seal="off") as audit:
        for number in range(10):
            ask(audit, "openai", "gpt-5", user_id=f"user_{number % 2}")
        for _ in range(5):
            ask(audit, "mine", "llama")
        ask(audit, "openai", "gpt-5", cost_usd="7")
        ask(audit, "openai", "gpt-5", tokens=False)
        with audit.call(provider="openai", model="gpt-5", message="?") as failed:
            failed.fail(ValueError("no"))
    return database


def ask(audit: AuditLogger, provider: str, model: str, *, tokens: bool = True, **more: Any) -> None:
    """Record one call of 1,000 tokens in and 100 out."""
    cost = {"cost_usd": more.pop("cost_usd")} if "cost_usd" in more else {}
    used = {"input_tokens": 1000, "output_tokens": 100} if tokens else {}
    fields = {"symbol": "BTCUSDT"}
    with audit.call(provider=provider, model=model, message="?", fields=fields, **more) as call:
        call.complete(text="!", **used, **cost)


def own_prices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str = CHEAPER) -> None:
    """Put prices of one's own in force, for the next command."""
    (tmp_path / "prices.toml").write_text(text)
    monkeypatch.setenv("AFFIDAVIT_PRICE_OVERRIDES", str(tmp_path / "prices.toml"))


def asked(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    """Run a command with --json and read what it prints."""
    capsys.readouterr()
    assert run(["prices", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def corrections(log: Log) -> list[dict[str, Any]]:
    """The corrections that are stored."""
    return list(log.llm_audit.find({"event_type": "correction"}).sort("_id", 1))


def total_nano(log: Log) -> int:
    """What all calls count for, corrections added."""
    facts = [fact_of(each) for each in log.llm_audit.find()]
    changed = [correction_of(each) for each in log.llm_audit.find()]
    return sum(f.cost_nano or 0 for f in facts if f) + sum(c.cost_nano for c in changed if c)


def test_calls_without_a_cost_are_listed_with_the_reason(
    log: Log, capsys: pytest.CaptureFixture[str]
) -> None:
    """By provider and model; a failed call that used nothing is none of them."""
    found = asked(capsys, "unpriced")
    rows = [
        (each["provider"], each["model"], each["calls"], each["tokens"], each["reason"])
        for each in found["unpriced"]
    ]
    assert rows == [
        ("mine", "llama", 5, 5500, "provider_unknown"),
        ("openai", "gpt-5", 1, 0, "no_usage"),
    ]
    noted = list(log.llm_audit_ledger.find({"event_type": "audit_access"}))
    assert [(n["details"]["command"], n["details"]["count"]) for n in noted] == [
        ("prices unpriced", 2)
    ]


def test_half_a_usage_is_no_reason_to_price_again(
    log: Log, capsys: pytest.CaptureFixture[str], mongodb_uri: str
) -> None:
    """Calls of a known model that tell one side only are said to be so: repricing changes none."""
    with AuditLogger(mongodb_uri) as audit, audit.call(provider="openai", model="o3") as call:
        call.complete(text="x", input_tokens=7)
    (row,) = asked(capsys, "unpriced", "--model", "o3")["unpriced"]
    assert (row["calls"], row["calls_with_tokens"], row["reason"]) == (1, 1, "no_usage")
    assert asked(capsys, "reprice", "--since", "1h", "--model", "o3")["corrected"] == 0


def test_other_prices_give_corrections_and_a_second_run_none(
    log: Log, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The difference is signed and exact, each call has one, and nothing else is touched."""
    before = {each["_id"]: each for each in log.llm_audit.find()}
    assert total_nano(log) == 10 * 2_250_000 + 7 * 10**9
    own_prices(tmp_path, monkeypatch)
    planned = asked(capsys, "reprice", "--since", "1h", "--dry-run")
    assert not corrections(log)
    done = asked(capsys, "reprice", "--since", "1h")
    assert {**done, "dry_run": True} == planned
    assert (done["looked_at"], done["corrected"]) == (18, 15)
    assert (done["reported"], done["unpriced"], done["refused"]) == (1, 2, 0)
    assert Decimal(done["cost_usd_diff"]) == Decimal("-0.004750000")
    assert total_nano(log) == 10 * 1_500_000 + 5 * 550_000 + 7 * 10**9
    again = asked(capsys, "reprice", "--since", "1h")
    assert (again["corrected"], again["unchanged"]) == (0, 15)
    assert len(corrections(log)) == 15
    after = {each["_id"]: each for each in log.llm_audit.find()}
    assert {key: after[key] for key in before} == before
    assert asked(capsys, "unpriced")["unpriced"][0]["provider"] == "openai"
    assert run(["stats", "cost", "--by", "model", "--since", "1d", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    costs = {row["key"]: Decimal(row["cost_usd"]) for row in answer["rows"]}
    assert costs == {"gpt-5": Decimal("7.015"), "llama": Decimal("0.00275")}
    (noted, _second) = log.llm_audit_ledger.find({"event_type": "repricing"}).sort("_id", 1)
    assert noted["details"]["corrected"] == 15
    assert noted["details"]["cost_nano_diff"] == -4_750_000


def test_a_correction_carries_the_calls_own_keys_and_time(
    log: Log, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """So that sums by any of them, in the call's own month, need no look at the call."""
    own_prices(tmp_path, monkeypatch)
    asked(capsys, "reprice", "--since", "1h", "--model", "gpt-5")
    made = corrections(log)
    assert len(made) == 10
    for each in made:
        outcome = log.llm_audit.find_one({"call_id": each["call_id"], "event_type": "llm_response"})
        assert outcome is not None
        assert each["effective_at"] == outcome["timestamp"] <= each["timestamp"]
        for name in ("user_id", "provider", "model", "status", "cost_status"):
            assert each[name] == outcome[name]
        assert each["request_data"] == {"symbol": "BTCUSDT"}
        assert each["price_book"].startswith(f"{load().version}+")
        assert each["details"] == {
            "cost_nano_diff": -750_000,
            "cost_nano": 1_500_000,
            "cost_status_before": "priced",
            "cost_status_now": "priced",
            "price_book_before": load().name,
            "tokens": 1100,
        }
        read = correction_of(each)
        assert read is not None
        assert (read.cost_nano, read.prices) == (-750_000, False)


def test_prices_can_go_there_and_back(
    log: Log, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A second book corrects the first one's corrections, and the first can come again."""
    start = total_nano(log)
    model = ("--since", "1h", "--model", "gpt-5")
    own_prices(tmp_path, monkeypatch)
    asked(capsys, "reprice", *model)
    cheaper = total_nano(log)
    monkeypatch.delenv("AFFIDAVIT_PRICE_OVERRIDES")
    asked(capsys, "reprice", *model)
    assert total_nano(log) == start
    own_prices(tmp_path, monkeypatch)
    asked(capsys, "reprice", *model)
    assert total_nano(log) == cheaper < start
    assert len(corrections(log)) == 30


def test_corrections_are_sealed_and_provable(
    log: Log, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """They went the way of every record: numbered, in a leaf batch, in the tree."""
    own_prices(tmp_path, monkeypatch)
    asked(capsys, "reprice", "--since", "1h")
    key = Signer("test/prices")
    store = connect_seals(log, AuditConfig())
    store.claim(key.name, key.vkey)
    seal_once(Sealer(store, lambda: LogKey(key), where="service"))
    made = corrections(log)
    batches = list(log.llm_audit_leaf_batches.find({"w": made[0]["writer"]}))
    leaves = {batch["s0"]: batch["h"] for batch in batches}
    for each in made:
        start = max(first for first in leaves if first <= each["seq"])
        place = 32 * (each["seq"] - start)
        assert leaves[start][place : place + 32] == canonical.leaf_of(each, "records")
    sealed = {item["b"] for seal in log.llm_audit_seals.find({"items": {"$exists": 1}})
              for item in seal["items"] if "b" in item}  # fmt: skip
    assert sealed >= {batch["_id"] for batch in batches}
    assert run(["show", made[0]["call_id"]]) == 0
    assert "cost_nano_diff" in capsys.readouterr().out


def test_two_runs_at_once_count_once(log: Log, tmp_path: Path, mongodb_uri: str) -> None:
    """Both have the same id for a call and a book: the second one's is refused, and it ends."""
    config = AuditConfig(spool_dir=str(tmp_path / "spool"))
    span = Span(datetime.now(UTC) - timedelta(hours=1), datetime.now(UTC), model="gpt-5")
    (tmp_path / "prices.toml").write_text(CHEAPER)
    book = load(read_overrides(str(tmp_path / "prices.toml")))
    start = total_nano(log)
    done = Repriced(book.name)

    def both(made: Sequence[Any]) -> Written:
        """Write after another run has written the same."""
        with Corrector(lambda chosen: connect(mongodb_uri, chosen), config) as other:
            assert other(made) == Written(stored=10)
        with Corrector(lambda chosen: connect(mongodb_uri, chosen), config) as write:
            return write(made)

    with open_log(log, config) as opened, pytest.raises(StoreRefused, match="first correction"):
        reprice(prices_of(opened), span, book, both, into=done)
    assert done.corrected == 0
    assert total_nano(log) == start - 10 * 750_000


def test_a_set_up_of_an_older_version_is_said_to_be_so(
    log: Log, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its validator knows no corrections: one dead letter, not thousands, and what helps."""
    rules = log.command("listCollections", filter={"name": "llm_audit"})
    held = rules["cursor"]["firstBatch"][0]["options"]["validator"]
    older = json.loads(json.dumps(held).replace(', "correction"', ""))
    assert older != held
    log.command("collMod", "llm_audit", validator=older)
    own_prices(tmp_path, monkeypatch)
    assert run(["prices", "reprice", "--since", "1h"]) == 4
    assert "affidavit setup" in capsys.readouterr().err
    assert not corrections(log)
    noted = log.llm_audit_ledger.find_one({"event_type": "repricing"})
    assert noted is not None
    assert noted["details"]["corrected"] == 0


def test_pages_give_each_call_once(log: Log) -> None:
    """Also when many have the same millisecond, and a page is as small as can be."""
    times = log.llm_audit.distinct("timestamp", {"event_type": "llm_response"})
    log.llm_audit.update_many(
        {"event_type": "llm_response", "timestamp": {"$gt": times[0]}},
        {"$set": {"timestamp": times[-1]}},
    )
    span = Span(datetime.now(UTC) - timedelta(hours=1), datetime.now(UTC) + timedelta(seconds=5))
    with open_log(log, AuditConfig()) as opened:
        for size in (1, 2, 7, 18, 500):
            found = [d["_id"] for page in prices_of(opened).outcomes(span, size) for d in page]
            assert len(found) == len(set(found)) == 18


def test_calls_of_before_there_were_prices_get_one(
    database: Log, mongodb_uri: str, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:  # fmt: skip
    """They have no status and no cost; users stay the keyed tokens that they were stored as."""
    monkeypatch.setenv("AFFIDAVIT_MONGODB_URI", mongodb_uri)
    monkeypatch.setenv("AFFIDAVIT_SPOOL_DIR", str(tmp_path / "spool"))
    monkeypatch.setenv("AFFIDAVIT_IDENTITY", "keyed")
    monkeypatch.setenv("AFFIDAVIT_REDACTION_KEY", "hex:" + 32 * "a7")
    monkeypatch.chdir(tmp_path)
    with AuditLogger(database, seal="off", pricing="off") as audit:
        for _ in range(3):
            ask(audit, "openai", "gpt-5", user_id="ana")
    (row,) = asked(capsys, "unpriced")["unpriced"]
    assert (row["calls"], row["reason"]) == (3, "has_a_price_now")
    done = asked(capsys, "reprice", "--since", "1h")
    assert (done["corrected"], Decimal(done["cost_usd_diff"])) == (3, 3 * GPT_5)
    assert asked(capsys, "unpriced")["unpriced"] == []
    users = set(database.llm_audit.distinct("user_id", {"event_type": "llm_response"}))
    assert {each["user_id"] for each in corrections(database)} == users
    assert all(user.startswith("keyed:") for user in users)


def test_erased_calls_keep_their_cost(
    log: Log, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Their price depends on what is gone, so no difference is made up."""
    log.llm_audit.update_many({"user_id": "user_1"}, {"$set": {"erased": {"subject": b"x" * 32}}})
    own_prices(tmp_path, monkeypatch)
    done = asked(capsys, "reprice", "--since", "1h")
    assert (done["corrected"], done["erased"]) == (10, 5)


def test_the_command_in_words(
    log: Log, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What a person reads, and that wrong arguments are said to be so."""
    assert run(["prices", "unpriced"]) == 0
    assert "does not know the provider" in capsys.readouterr().out
    own_prices(tmp_path, monkeypatch)
    assert run(["prices", "unpriced"]) == 0
    assert "it has a price now" in capsys.readouterr().out
    assert run(["prices", "reprice", "--since", "1h", "--dry-run"]) == 0
    assert "15 would be corrected" in capsys.readouterr().out
    assert run(["prices", "reprice", "--since", "1h"]) == 0
    assert "Difference: -0.00475 US dollars" in capsys.readouterr().out
    assert run(["prices", "reprice"]) == 2
    told = capsys.readouterr().err
    assert "--since 30d" in told
    assert "--dry-run" in told
    assert run(["prices", "reprice", "--since", "now-ish"]) == 2
    own_prices(tmp_path, monkeypatch, "[[price]]\ninput = 1")
    assert run(["prices", "reprice", "--since", "1h"]) == 2
    assert "number 1: provider" in capsys.readouterr().err


def test_a_corrected_call_is_shown_with_what_it_counts_for(
    log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """First the cost by the newest correction, then what was recorded; lists mark it."""
    own_prices(tmp_path, monkeypatch)
    assert run(["search", "--model", "gpt-5", "-n", "1", "--cost", "0.001..0.01"]) == 0
    assert "corrected" not in "".join(capsys.readouterr())
    asked(capsys, "reprice", "--since", "1h")
    call = log.llm_audit.find_one({"event_type": "correction", "model": "gpt-5"})
    assert call is not None
    assert run(["show", call["call_id"]]) == 0
    first, second, third, *rest = capsys.readouterr().out.splitlines()
    assert first.split() == ["cost", "USD", "0.0015,", "corrected"]
    assert second.split()[:3] == ["0.00225", "was", "recorded;"]
    assert "UTC by the price book" in third
    assert any(line.startswith("── correction at") for line in rest)
    assert run(["search", "--model", "gpt-5", "--cost", "0.001..0.01"]) == 0
    found = capsys.readouterr()
    assert " 0.0015* " in found.out
    assert " 0.00225 " not in found.out
    assert "* corrected; `affidavit show`" in found.err
    assert run(["search", "--model", "gpt-5", "--cost", "5.."]) == 0
    assert "corrected" not in "".join(capsys.readouterr())

"""The roles on a server with access control: what each can do, and all that it cannot."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from bson.objectid import ObjectId
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from affidavit import AuditLogger
from affidavit.analytics.facade import Analytics
from affidavit.cli import run
from affidavit.config import AuditConfig
from affidavit.demo.mongod import Mongod
from affidavit.errors import StoreRefused
from affidavit.spool.owner import default_directory
from affidavit.store import open_log
from affidavit.store.mongo import roles
from affidavit.store.mongo.connect import locate
from affidavit.store.mongo.setup import apply, ensure, plan_setup
from affidavit.store.planning import State
from affidavit.store.questions import SearchFilter
from tests.support.documents import Numbered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pymongo.collection import Collection
    from pymongo.database import Database

    Log = Database[dict[str, Any]]

pytestmark = pytest.mark.requirement("R21")

UNAUTHORIZED = 13
NAME = "wadm"
PASSWORD = "a pass/word"


@pytest.fixture(scope="module")
def guarded() -> Iterator[Mongod]:
    """A server with access control, set up, with one user for each role."""
    with Mongod.start(auth=True) as server:
        config = AuditConfig()
        location = locate(server.uri_for(server.user or "", server.password or "", NAME), config)
        plan = plan_setup(location, config, with_roles=True)
        assert apply(location, plan, config).clashes == []
        for role in roles.PURPOSE:
            location.database.command("createUser", role, pwd=PASSWORD, roles=[f"llm_audit_{role}"])
        location.close()
        yield server


def uri_of(server: Mongod, role: str) -> str:
    """The address for the user of a role."""
    return server.uri_for(role, PASSWORD, NAME, auth_source=NAME)


@pytest.fixture
def as_role(guarded: Mongod) -> Iterator[Callable[[str], Log]]:
    """The database as the user of a role sees it."""
    opened: list[MongoClient[dict[str, Any]]] = []

    def connect(role: str) -> Log:
        opened.append(MongoClient(uri_of(guarded, role)))
        return opened[-1][NAME]

    yield connect
    for client in opened:
        client.close()


def ledger_record() -> dict[str, Any]:
    """Something for the ledger."""
    return Numbered(f"w-{ObjectId()}").document("audit_access", datetime.now(UTC))


def refused(act: Callable[[], object]) -> bool:
    """Whether the server answers that it is not allowed."""
    try:
        act()
    except OperationFailure as error:
        return error.code == UNAUTHORIZED
    return False


CHANGES: dict[str, Callable[[Collection[dict[str, Any]]], object]] = {
    "update": lambda c: c.update_one({}, {"$set": {"status": "failed"}}),
    "upsert": lambda c: c.update_one({"_id": 1}, {"$set": {"a": 1}}, upsert=True),
    "replace": lambda c: c.replace_one({}, {"a": 1}),
    "find and modify": lambda c: c.find_one_and_update({}, {"$set": {"a": 1}}),
    "delete": lambda c: c.delete_many({}),
    "drop": lambda c: c.drop(),
    "rename": lambda c: c.rename("elsewhere"),
    "create index": lambda c: c.create_index("user_id"),
    "drop index": lambda c: c.drop_index("timestamp_1"),
    "collMod": lambda c: c.database.command("collMod", c.name, validator={}),
    "$out": lambda c: list(c.aggregate([{"$match": {}}, {"$out": c.name}])),
    "$merge": lambda c: list(c.aggregate([{"$match": {}}, {"$merge": {"into": c.name}}])),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("collection", ["llm_audit", "llm_audit_ledger"])
@pytest.mark.parametrize("role", ["writer", "reader", "sealer", "service", "monitor"])
def test_no_role_of_daily_work_can_rewrite_the_log(
    as_role: Callable[[str], Log], role: str, collection: str, change: str
) -> None:
    """Neither records nor ledger; whoever has the writer's password can only add."""
    target = as_role(role)[collection]
    assert refused(lambda: CHANGES[change](target))


@pytest.mark.parametrize(
    ("role", "into"),
    [
        ("writer", ["llm_audit", "llm_audit_ledger", "llm_audit_writers",
                    "llm_audit_leaf_batches"]),
        ("reader", ["llm_audit_ledger", "llm_audit_writers", "llm_audit_leaf_batches"]),
        (
            "sealer",
            ["llm_audit_seals", "llm_audit_tiles", "llm_audit_leaf_batches", "llm_audit_writers",
             "llm_audit_ledger", "llm_audit_rollups_a"],
        ),
        ("setup", ["llm_audit_ledger"]),
        ("privacy", ["llm_audit_ledger", "llm_audit_leaf_batches"]),
        ("monitor", ["llm_audit_ledger", "llm_audit_leaf_batches"]),
        ("service", ["llm_audit_rollups_a"]),
    ],
)  # fmt: skip
def test_each_role_inserts_exactly_where_it_should(
    as_role: Callable[[str], Log], role: str, into: list[str]
) -> None:
    """Into its own collections and into no other."""
    everywhere = ("llm_audit", "llm_audit_ledger", "llm_audit_writers", "llm_audit_leaf_batches",
                  "llm_audit_seals", "llm_audit_tiles", "llm_audit_rollups_a",
                  "orders")  # fmt: skip
    database = as_role(role)
    for name in everywhere:
        document = {**ledger_record(), "at": datetime.now(UTC)}
        document["event_type"] = "security_event"
        if name in into:
            database[name].insert_one(document)
        else:
            assert refused(lambda n=name, d=document: database[n].insert_one(d)), name


@pytest.mark.parametrize("role", ["writer", "reader", "sealer", "privacy", "monitor"])
def test_readers_see_records_ledger_and_views(as_role: Callable[[str], Log], role: str) -> None:
    """And nothing else of the database."""
    database = as_role(role)
    for name in ("llm_audit", "llm_audit_ledger", "llm_audit_writers", "llm_calls", "llm_outcomes"):
        list(database[name].find().limit(1))
    assert refused(database["orders"].find_one)


@pytest.mark.requirement("R13")
@pytest.mark.parametrize("role", ["writer", "reader"])
def test_applications_and_people_may_ask(as_role: Callable[[str], Log], role: str) -> None:
    """Every question of analytics is answered with the rights of the role, and noted."""
    at = datetime.now(UTC) - timedelta(minutes=5)
    as_role("writer").llm_audit.insert_many(Numbered(f"w-{ObjectId()}").call(at))
    with open_log(as_role(role), AuditConfig()) as log:
        asked = Analytics(lambda: log)
        assert asked.cost(last="1d").totals.calls
        assert asked.usage(last="1d").totals.users
        assert asked.performance(last="1d").totals.calls
        assert asked.providers(last="1d").totals.calls
        assert asked.calls(last="1d").rows
        assert asked.people(last="1d").rows
        assert asked.limits(last="1d").totals.calls
        assert asked.budget().question == "budget"


def test_the_service_cannot_read_content(as_role: Callable[[str], Log]) -> None:
    """It computes derived collections only; reading records takes the reader's role as well."""
    database = as_role("service")
    assert refused(database["llm_audit"].find_one)
    assert refused(database["llm_calls"].find_one)
    database["llm_audit_rollups_a"].update_one({"_id": 1}, {"$set": {"n": 1}}, upsert=True)
    database["llm_audit_rollups_a"].delete_many({})


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("collection", ["llm_audit", "llm_audit_ledger", "llm_audit_seals"])
def test_who_erases_may_update_records_and_nothing_else(
    as_role: Callable[[str], Log], collection: str, change: str
) -> None:
    """Neither remove nor drop them, nor change what is told of it in the ledger, nor a seal."""
    may = collection == "llm_audit" and change in {"update", "find and modify"}
    target = as_role("privacy")[collection]
    if may:
        target.find_one_and_update({"_id": 0}, {"$set": {"a": 1}})
    elif not (collection == "llm_audit" and change == "replace"):  # the validator's affair
        assert refused(lambda: CHANGES[change](target))


def test_the_privacy_role_is_all_that_an_erasure_needs(
    guarded: Mongod, as_role: Callable[[str], Log]
) -> None:
    """And a writer's or reader's login cannot erase."""
    with AuditLogger(uri_of(guarded, "writer"), seal="off") as audit:
        for _ in range(3):
            with audit.call(provider="p", model="m", message="hello", user_id="to-erase") as call:
                call.complete(text="answer")
    options = ["--user", "to-erase", "--reason", "r", "--yes"]
    for role in ("writer", "reader"):
        assert run(["erase", *options, "--uri", uri_of(guarded, role)]) == 4
    assert as_role("reader").llm_audit.count_documents({"user_id": "to-erase"}) == 6
    assert as_role("reader").llm_audit_ledger.find_one({"event_type": "erasure"}) is None
    assert run(["erase", *options, "--uri", uri_of(guarded, "privacy")]) == 0
    assert as_role("reader").llm_audit.count_documents({"user_id": "to-erase"}) == 0
    assert run(["hold", "add", "--all", "--reason", "r", "--uri", uri_of(guarded, "privacy")]) == 0
    assert run(["hold", "list", "--uri", uri_of(guarded, "privacy")]) == 0


def test_tokens_are_made_with_the_rights_of_the_service(
    guarded: Mongod, capsys: pytest.CaptureFixture[str]
) -> None:
    """The console's user makes, lists and ends them by the command; a reader or writer does not."""
    asked = ["tokens", "create", "a program", "--role", "viewer", "--json"]
    for role in ("reader", "writer"):
        assert run([*asked, "--uri", uri_of(guarded, role)]) == 4
    capsys.readouterr()
    assert run([*asked, "--uri", uri_of(guarded, "console")]) == 0
    made = json.loads(capsys.readouterr().out)
    assert run(["tokens", "list", "--uri", uri_of(guarded, "console")]) == 0
    assert run(["tokens", "revoke", made["id"], "--uri", uri_of(guarded, "console")]) == 0


def test_the_writer_works_on_what_set_up_made(guarded: Mongod) -> None:
    """It may neither list collections nor indexes, and needs not."""
    config = AuditConfig()
    location = locate(uri_of(guarded, "writer"), config)
    state = ensure(location, config, 10)
    assert (state.made_now, state.block_compressor, state.ttl_days) == (False, "zstd", 90)
    location.close()


def test_the_writer_alone_cannot_set_up_and_is_told_who_can(guarded: Mongod) -> None:
    """The text names the command for an administrator."""
    config = AuditConfig(collection="llm_other")
    location = locate(uri_of(guarded, "writer"), config)
    with pytest.raises(StoreRefused, match="affidavit setup"):
        ensure(location, config, 10)
    location.close()


def test_the_set_up_role_makes_everything_but_roles(
    guarded: Mongod, as_role: Callable[[str], Log]
) -> None:
    """Starting from nothing, and without any right to change records."""
    with guarded.client() as root:
        for name in ("llm_calls", "llm_outcomes", "llm_audit_writers", "llm_audit_ledger"):
            root[NAME].drop_collection(name)
    config = AuditConfig()
    location = locate(uri_of(guarded, "setup"), config)
    done = apply(location, plan_setup(location, config), config)
    assert {step.state for step in done.steps} == {State.DONE}
    location.close()
    records = as_role("setup")["llm_audit"]
    for change in ("update", "replace", "delete", "drop", "rename", "drop index"):
        assert refused(lambda c=change: CHANGES[c](records)), change


def test_reading_without_the_right_to_note_it_is_refused(guarded: Mongod) -> None:
    """A login that may read but not insert into the ledger sees nothing."""
    with guarded.client() as root:
        root[NAME].command("createUser", "peeper", pwd=PASSWORD, roles=["read"])
    uri = guarded.uri_for("peeper", PASSWORD, NAME, auth_source=NAME)
    with open_log(uri, AuditConfig()) as log:
        page = log.reader.search(SearchFilter())
        with pytest.raises(StoreRefused, match="llm_audit_ledger"):
            log.note_access("search", {}, len(page.rows))


def test_roles_that_are_there_are_left_and_changed_ones_brought_up_to_date(
    guarded: Mongod,
) -> None:
    """``setup --roles`` can be repeated."""
    config = AuditConfig()
    location = locate(guarded.uri_for(guarded.user or "", guarded.password or "", NAME), config)

    def to_do() -> list[str]:
        plan = plan_setup(location, config, with_roles=True)
        return [s.key for s in plan.in_state(State.TODO) if s.key.startswith("role:")]

    assert to_do() == []
    location.database.command("updateRole", "llm_audit_sealer", privileges=[])
    assert to_do() == ["role:llm_audit_sealer"]
    apply(location, plan_setup(location, config, with_roles=True), config)
    assert to_do() == []
    location.close()


def test_the_doctor_names_missing_and_excessive_rights(guarded: Mongod) -> None:
    """Each user is judged by its role; root could do too much; a mere reader lacks much."""

    def rights(uri: str) -> list[tuple[str, str]]:
        with open_log(uri, AuditConfig()) as log:
            return [(f.level, f.text) for f in log.examine() if f.check == "rights"]

    assert rights(uri_of(guarded, "writer")) == [("ok", "writer may read and add records")]
    assert rights(uri_of(guarded, "reader")) == [
        ("ok", "reader may read the log and not add records")
    ]
    assert rights(uri_of(guarded, "setup")) == [
        ("ok", "setup may set the log up and read it, and not add records")
    ]
    assert {role: rights(uri_of(guarded, role))[0][0] for role in roles.PURPOSE} == dict.fromkeys(
        roles.PURPOSE, "ok"
    )
    with guarded.client() as admin:
        admin[NAME].command("createUser", "onlooker", pwd=PASSWORD, roles=["read"])
    [(level, text)] = rights(guarded.uri_for("onlooker", PASSWORD, NAME, auth_source=NAME))
    assert (level, "insert on llm_audit" in text) == ("wrong", True)
    root = rights(guarded.uri_for(guarded.user or "", guarded.password or "", NAME))
    assert any(level == "note" and "remove" in text for level, text in root)


def test_the_doctor_does_not_send_a_wrong_password_to_the_server_room(guarded: Mongod) -> None:
    """The server answers: what is wrong is in the address, and the remedy says where."""
    uri = guarded.uri_for("writer", "not the password", NAME, auth_source=NAME)
    with open_log(uri, AuditConfig()) as log:
        [finding] = log.examine()
    assert (finding.check, finding.level) == ("connection", "wrong")
    assert "refuses the login" in finding.text
    assert "password" in finding.remedy
    assert "Start the server" not in finding.remedy
    assert "not the password" not in finding.text + finding.remedy


def test_the_doctor_finds_a_role_that_is_not_as_this_version_makes_it(guarded: Mongod) -> None:
    """Such as one of an older version; the remedy is the command that mends it."""
    config = AuditConfig()
    with guarded.client() as admin:
        admin[NAME].command("updateRole", "llm_audit_writer", privileges=[
            {"resource": {"db": NAME, "collection": "llm_audit"}, "actions": ["find"]}
        ])  # fmt: skip
    with open_log(uri_of(guarded, "writer"), config) as log:
        [finding] = [f for f in log.examine() if f.check == "rights"]
    assert (finding.level, "insert on llm_audit_ledger" in finding.text) == ("wrong", True)
    assert "setup --roles" in finding.remedy
    uri = guarded.uri_for(guarded.user or "", guarded.password or "", NAME)
    location = locate(uri, config)
    apply(location, plan_setup(location, config, with_roles=True), config)
    location.close()


def test_the_doctor_is_content_with_the_set_up_user(
    guarded: Mongod, capsys: pytest.CaptureFixture[str]
) -> None:
    """It runs as a check after set-up: exit code 0."""
    assert run(["doctor", "--uri", uri_of(guarded, "setup")]) == 0, capsys.readouterr().out


def test_the_sealers_role_seals_what_the_writers_role_cannot(
    guarded: Mongod, as_role: Callable[[str], Log], caplog: pytest.LogCaptureFixture
) -> None:
    """A logger without the right makes no key and does not complain; the sealer needs no more."""
    with AuditLogger(uri_of(guarded, "writer")) as audit:
        with audit.call(provider="p", model="m", message="hello", user_id="u") as call:
            call.complete(text="answer")
        time.sleep(1.5)  # its own thread has looked by then
    database = as_role("sealer")
    assert database.llm_audit_seals.find_one({"_id": "log"}) is None
    assert list((default_directory() / "keys").glob("*.key*")) == []
    assert not [one for one in caplog.records if one.levelname not in {"INFO", "DEBUG"}]
    assert run(["seal", "--once", "--uri", uri_of(guarded, "sealer")]) == 0
    stored = {d["writer"] for d in database.llm_audit.find({"salt": {"$exists": True}})}
    items = [item for seal in database.llm_audit_seals.find() for item in seal.get("items", ())]
    assert stored <= {item.get("b", "").rpartition(":")[0] for item in items}
    [state] = database.llm_audit_rollup_states.find({"_id": "a"})
    newest = database.llm_audit_seals.find_one({"cp": {"$exists": True}}, sort=[("i0", -1)])
    assert newest is not None
    assert state["k"] == newest["_id"]
    assert run(["rollups", "rebuild", "--uri", uri_of(guarded, "sealer")]) == 0
    assert run(["rollups", "status", "--uri", uri_of(guarded, "reader")]) == 0
    for role in ("reader", "writer"):
        assert run(["rollups", "rebuild", "--uri", uri_of(guarded, role)]) == 4
    assert run(["keys", "rotate", "--uri", uri_of(guarded, "sealer")]) == 0
    assert run(["keys", "rotate", "--uri", uri_of(guarded, "writer")]) == 4
    assert run(["status", "--uri", uri_of(guarded, "reader")]) in {0, 1}


@pytest.mark.requirement("R20", "R37")
def test_a_reader_asks_all_that_is_asked_after_an_incident(
    guarded: Mongod, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Timelines, texts and reports need no more than the right to read, and to be noted."""
    with AuditLogger(uri_of(guarded, "writer"), seal="off") as audit:
        with audit.call(provider="openai", message="Sell it all", user_id="asked-about") as call:
            call.complete(text="Sold.")
        audit.annotate(call.call_id, kind="decision", name="sold", ref="ORDER-7")
    where = ["--uri", uri_of(guarded, "reader")]
    bill = tmp_path / "bill.csv"
    bill.write_text("date,model,cost\n2026-11-01,m,1\n", "utf-8")
    for arguments in (
        ["timeline", "--user", "asked-about"],
        ["timeline", "--user", "asked-about", "--shared"],
        ["timeline", "--ref", "ORDER-7"],
        ["timeline", "--around", call.call_id],
        ["said", "sell it all"],
        ["report", "--month", "this", "--out", str(tmp_path / "report")],
    ):
        assert run([*arguments, *where]) == 0, capsys.readouterr().err
    # Other tests of this file take things out of the same log: a finding is right, a refusal not.
    assert run(["report", "--month", "this", "--verify", *where]) in {0, 1}
    assert "not verified for this report" not in capsys.readouterr().out
    assert run(["reconcile", "--provider", "openai", str(bill), *where]) == 1


@pytest.mark.requirement("R13")
def test_the_console_without_its_role_says_which_command_grants_it(
    guarded: Mongod, tmp_path: Path
) -> None:
    """As after an upgrade whose roles nobody has brought up to date: nothing crashes."""
    from tests.support.console import serving

    settings = {"spool_dir": str(tmp_path / "spool")}
    with (
        serving(
            uri_of(guarded, "reader"), audit=settings, state_dir=tmp_path, with_token=False
        ) as served,
        served.client("") as client,
    ):
        assert client.get("/login").is_success
        answer = client.post("/login", data={"token": "aff_0123456789_" + "x" * 43})
        assert answer.status_code == 502
        assert "affidavit setup --roles" in answer.text
        assert "Traceback" not in answer.text

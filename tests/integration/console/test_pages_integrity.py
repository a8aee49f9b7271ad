"""The auditor's room: the log, verifying in the background, losses, readings, evidence."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import time
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from bson.decimal128 import Decimal128

from affidavit.console import evidencing
from affidavit.console.jobs import Job
from affidavit.event import LedgerEvent
from tests.conftest import with_database
from tests.support.console import Served, serving
from tests.support.rooms import HOSTILE, SECRET, Room, furnish
from tests.support.servers import GivenServer, fresh_database

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymongo.database import Database

    from affidavit.demo.mongod import Mongod

pytestmark = pytest.mark.requirement("R20", "R21")

Given = tuple[Served, Room, "Database[dict[str, Any]]"]


@pytest.fixture
def room(mongod: Mongod | GivenServer, tmp_path: Path) -> Iterator[Given]:
    """A service over a small sealed log of its own: tests here damage it."""
    with fresh_database(mongod.uri) as database:
        held = furnish(database, tmp_path)
        uri = with_database(mongod.uri, database.name)
        settings = {"spool_dir": str(tmp_path / "served")}
        with serving(uri, audit=settings, state_dir=tmp_path / "state") as served:
            yield served, held, database


def shown(answer: httpx.Response) -> str:
    """The page's own part."""
    assert answer.status_code == httpx.codes.OK, answer.text[:2000]
    return answer.text.partition("<main")[2]


def csrf_of(page: httpx.Response) -> str:
    """The token of a session's forms."""
    found = re.search(r'<meta name="csrf" content="([^"]+)"', page.text)
    assert found is not None
    return found[1]


def verified(served: Served, client: httpx.Client, form: dict[str, str], file: str = "") -> Job:
    """Begin a verification as a browser does, and wait for its end."""
    token = csrf_of(client.get("/integrity?view=verify"))
    files = {"checkpoint": ("log.checkpoint", file or "", "text/plain")} if file else None
    answer = client.post("/integrity/verify", data={"csrf": token, **form}, files=files)
    assert answer.status_code == httpx.codes.OK, answer.text[:2000]
    return ended(served, answer.url.params["job"])


def ended(served: Served, name: str, kind: str = evidencing.VERIFICATION) -> Job:
    """Wait for the end of a job."""
    until_s = time.monotonic() + 60
    while time.monotonic() < until_s:
        job: Job | None = served.app.state.jobs.find(kind, name)
        assert job is not None
        if job.state != "running":
            return job
        time.sleep(0.05)
    raise AssertionError(job)


@pytest.mark.parametrize("view", ["log", "verify", "losses", "readings", "evidence"])
def test_every_view_is_a_page(room: Given, view: str) -> None:
    """Nothing is missing, no word is left as its key, no content is shown."""
    served, _, _ = room
    with served.client() as client:
        page = shown(client.get(f"/integrity?view={view}"))
    assert "could not be had" not in page
    assert "style=" not in page
    assert SECRET not in page
    texts = re.sub(r"<[^>]+>", " ", page)
    assert not re.findall(r"\b(?:integrity|monitoring|ledger)\.[a-z_.]+", texts)


def test_the_newest_checkpoint_can_be_saved_and_the_key_is_named(room: Given) -> None:
    """The file is the one that `affidavit checkpoint` prints."""
    served, held, _ = room
    with served.client() as client:
        page = shown(client.get("/integrity"))
        saved = client.get("/integrity/checkpoint")
    assert held.key.vkey in page.replace("&#43;", "+")
    assert saved.text == held.checkpoint
    assert "attachment" in saved.headers["content-disposition"]


def test_a_log_that_holds_is_verified_against_a_saved_checkpoint(room: Given) -> None:
    """In the background, with the words of `affidavit verify`; kept, and noted in the ledger."""
    served, held, database = room
    with served.browser() as client:
        job = verified(served, client, {"vkey": held.key.vkey}, held.checkpoint)
        assert (job.state, job.error) == ("done", None)
        page = shown(client.get(f"/integrity?view=verify&job={job.name}"))
        told = client.get(f"/integrity/verify/{job.name}/result.json").json()
        part = client.get(f"/integrity/verify/{job.name}", headers={"HX-Request": "true"})
    assert "Nothing is wrong." in page
    assert "hx-trigger" not in part.text
    assert part.headers["HX-Redirect"].endswith(job.name)
    assert told["clean"] is True
    assert told["saved_size"] == told["size"] > 0
    commands = [
        entry["details"]["command"]
        for entry in database.llm_audit_ledger.find({"event_type": "audit_access"})
    ]
    assert {"verify", "verify result"} <= set(commands)
    kept = database.llm_audit_service.find_one({"kind": evidencing.VERIFICATION})
    assert kept is not None


def test_the_level_is_one_word_on_every_page_and_its_reason_is_told(room: Given) -> None:
    """This host writes and seals: page, overview and a verification against a checkpoint agree."""
    served, held, _ = room
    with served.browser() as client:
        room_page, start = shown(client.get("/integrity")), shown(client.get("/?wait=1"))
        assert "Self-attested" in room_page
        assert "where records are written" in room_page
        assert "Self-attested" in start
        job = verified(served, client, {"vkey": held.key.vkey}, held.checkpoint)
        assert job.result is not None
        assert job.result["level"] == "self-attested"
        page = shown(client.get(f"/integrity?view=verify&job={job.name}"))
        assert "Level: Self-attested" in page
        assert "on a host that writes records" in page


def test_damage_is_named_as_the_command_names_it(room: Given) -> None:
    """An edited cost is found, and the page says which record and what was done."""
    served, held, database = room
    outcome = {"call_id": held.calls["sales"][0], "event_type": "llm_response"}
    cost = {"response_data.cost_usd": Decimal128("9")}
    database.llm_audit.update_one(outcome, {"$set": cost})
    with served.browser() as client:
        job = verified(served, client, {"pasted": held.checkpoint.replace("\n", "\r\n")})
        page = shown(client.get(f"/integrity?view=verify&job={job.name}"))
    assert job.result is not None
    assert job.result["found"] == {"altered": 1}
    assert "The log does not hold." in page
    assert "ALTERED" in page


def test_another_logs_checkpoint_does_not_pass(room: Given) -> None:
    """A checkpoint that this log did not grow from is a finding or a refusal, and never clean."""
    served, held, _ = room
    lines = held.checkpoint.split("\n")
    forged = "\n".join([lines[0], "3", *lines[2:]])
    with served.browser() as client:
        job = verified(served, client, {"vkey": held.key.vkey}, forged)
    assert job.state == "failed" or (job.result is not None and not job.result["clean"])


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"pasted": "this is none"}, "checkpoint cannot be read"),
        ({"vkey": "nonsense"}, "nonsense"),
        ({"part": "after"}, "give that checkpoint"),
    ],
)
def test_what_cannot_be_used_is_said_and_stays_in_the_form(
    room: Given, form: dict[str, str], said: str
) -> None:
    """Nothing begins; the words say what is wrong."""
    served, _, _ = room
    with served.browser() as client:
        token = csrf_of(client.get("/integrity?view=verify"))
        answer = client.post("/integrity/verify", data={"csrf": token, **form})
    assert answer.status_code == httpx.codes.BAD_REQUEST
    assert said in answer.text
    assert served.app.state.jobs.newest(evidencing.VERIFICATION) == []


def test_a_verification_can_be_cancelled(room: Given, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends at its next step, and the page says so; another can begin then."""
    served, _, _ = room

    def slow(*_: object, progress: Any, **__: object) -> None:
        while True:
            progress(1, 10)
            time.sleep(0.02)

    monkeypatch.setattr(evidencing, "verify", slow)
    with served.browser() as client:
        token = csrf_of(client.get("/integrity?view=verify"))
        answer = client.post("/integrity/verify", data={"csrf": token})
        name = answer.url.params["job"]
        assert "progress" in shown(answer)
        second = client.post("/integrity/verify", data={"csrf": token})
        assert second.status_code == httpx.codes.BAD_REQUEST
        assert "running already" in second.text
        shown(client.post(f"/integrity/verify/{name}/cancel", data={"csrf": token}))
        assert ended(served, name).state == "cancelled"
        page = shown(client.get(f"/integrity?view=verify&job={name}"))
    assert "It was cancelled" in page


def test_losses_and_gaps_are_listed(room: Given) -> None:
    """What the ledger says is lost, and numbers that were sealed as gaps."""
    served, _, database = room
    now = datetime.now(UTC)
    details = {"change": "x", "writer": HOSTILE, "count": 7}
    served.backend.alerts.note(LedgerEvent.RECORDS_LOST, details, now)
    gap = {"gap": "w-gone", "s0": 41, "n": 3, "t": 0}
    database.llm_audit_seals.insert_one({"_id": 10**6, "at": now, "items": [gap]})
    with served.client() as client:
        page = shown(client.get("/integrity?view=losses"))
    assert "Records lost" in page
    assert ">7<" in page
    assert "w-gone" in page
    assert ">41<" in page
    assert "<script>alert" not in page


def test_readings_are_listed_filtered_and_paged(room: Given) -> None:
    """Who, by which command, looking for what and why; hostile words are only text."""
    served, _, _ = room
    backend = served.backend
    backend.log.note_access("search", {"text": HOSTILE}, 1, {"visitor": "eve", "how": "token"})
    for number in range(60):
        backend.log.note_access("show", {"call_id": f"c{number}", "reason": "a case"}, 1)
    with served.client() as client:
        page = shown(client.get("/integrity?view=readings"))
        assert page.count("a case") == 50
        more = re.search(r'href="(/integrity\?[^"]*cursor=[^"]+)"', page)
        assert more is not None
        second = shown(client.get(more[1].replace("&amp;", "&")))
        assert second.count("a case") == 10
        assert "<script>alert" not in second
        one = shown(client.get("/integrity?view=readings&text=c7"))
        assert one.count("a case") == 1
        eve = shown(client.get("/integrity?view=readings&who=eve"))
        assert "eve" in eve
        assert "a case" not in eve
        odd = shown(client.get("/integrity?view=readings&cursor=zzz"))
        assert "none of this list" in odd
        assert "No reading fits" in shown(client.get("/integrity?view=readings&who[$ne]=x&who=q"))


def test_an_auditor_of_one_department_sees_their_own_readings(room: Given) -> None:
    """What others looked for may name what this one may not see."""
    served, _, _ = room
    served.backend.log.note_access("show", {"call_id": "c-other"}, 1)
    token = served.token_of("auditor", departments=("sales",), name="the auditor of sales")
    with served.client(token) as client:
        page = shown(client.get("/integrity?view=readings&who=someone"))
        assert "c-other" not in page
        again = shown(client.get("/integrity?view=readings"))
    assert "the auditor of sales" in again
    assert "c-other" not in again


def test_evidence_of_a_call_checks_elsewhere_and_is_noted_with_the_reason(
    room: Given, tmp_path: Path
) -> None:
    """The bundle is the one of `affidavit prove`; the small verifier, served here, accepts it."""
    served, held, database = room
    call_id = held.calls["research"][0]
    with served.browser() as client:
        token = csrf_of(client.get("/integrity?view=evidence"))
        form = {"csrf": token, "call_id": call_id}
        refused = client.post("/integrity/bundle", data=form)
        assert refused.status_code == httpx.codes.BAD_REQUEST
        assert call_id in refused.text  # what was typed is kept
        packed = client.post("/integrity/bundle", data={**form, "reason": "a court's order"})
        script = client.get("/integrity/verifier")
    assert packed.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(packed.content)) as archive:
        archive.extractall(tmp_path / "out")
    (tmp_path / "affidavit_verify.py").write_text(script.text, encoding="utf-8")
    (folder,) = (tmp_path / "out").iterdir()
    checked = subprocess.run(
        [
            sys.executable, "-I", str(tmp_path / "affidavit_verify.py"), str(folder),
            "--vkey", held.key.vkey,
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout + checked.stderr
    noted = database.llm_audit_ledger.find_one({"details.command": "prove"})
    assert noted is not None
    assert noted["details"]["filter"]["reason"] == "a court's order"


def test_evidence_of_a_call_outside_the_scope_is_no_call(room: Given) -> None:
    """As if there were none; and nothing is noted as read."""
    served, held, database = room
    with served.client(served.token_of("auditor", departments=("sales",))) as client:
        form = {"call_id": held.calls["research"][0], "reason": "x"}
        other = client.post("/integrity/bundle", data=form)
        none = client.post("/integrity/bundle", data={"call_id": "none", "reason": "x"})
        whole = client.post("/integrity/package", data={"reason": "x"})
    assert other.status_code == none.status_code == httpx.codes.BAD_REQUEST
    assert SECRET not in other.text
    assert whole.status_code == httpx.codes.FORBIDDEN
    assert database.llm_audit_ledger.count_documents({"details.command": "prove"}) == 0


def test_the_whole_log_is_packed_in_the_background(room: Given) -> None:
    """With a reason; the package has the manifest, and its download is noted."""
    served, _, database = room
    with served.browser() as client:
        token = csrf_of(client.get("/integrity?view=evidence"))
        refused = client.post("/integrity/package", data={"csrf": token})
        assert refused.status_code == httpx.codes.BAD_REQUEST
        shown(client.post("/integrity/package", data={"csrf": token, "reason": "the yearly audit"}))
        (job,) = served.app.state.jobs.newest(evidencing.PACKAGE)
        assert ended(served, job.name, evidencing.PACKAGE).state == "done"
        page = shown(client.get("/integrity?view=evidence"))
        assert f"/integrity/package/{job.name}" in page
        packed = client.get(f"/integrity/package/{job.name}")
        with zipfile.ZipFile(io.BytesIO(packed.content)) as archive:
            assert "affidavit-export/manifest.json" in archive.namelist()
        noted = {"details.command": "export download"}
        assert database.llm_audit_ledger.count_documents(noted) == 1
        (path,) = evidencing.packages(served.backend).glob("*.zip")
        old = time.time() - evidencing.PACKAGES_KEPT_S - 60
        os.utime(path, (old, old))
        page = shown(client.get("/integrity?view=evidence"))
        assert "not here any more" in page
        assert not path.exists()


@pytest.mark.parametrize("role", ["writer", "viewer", "analyst"])
def test_others_do_not_come_in(room: Given, role: str) -> None:
    """The room is for auditors and administrators, in each of its routes."""
    served, held, _ = room
    call_id = held.calls["sales"][0]
    with served.client(served.token_of(role)) as client:
        for path in ("", "/checkpoint", "/verify/x", "/verify/x/result.json", "/verifier"):
            assert client.get(f"/integrity{path}").status_code == httpx.codes.FORBIDDEN
        for path in ("verify", "verify/x/cancel", "bundle", "package"):
            answer = client.post(f"/integrity/{path}", data={"call_id": call_id, "reason": "x"})
            assert answer.status_code == httpx.codes.FORBIDDEN

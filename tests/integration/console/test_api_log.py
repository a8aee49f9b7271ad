"""The log over HTTP: proofs, tiles and checkpoints that programs of others verify."""

from __future__ import annotations

import base64
import io
import json
import time
import zipfile
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest

from affidavit.config import AuditConfig
from affidavit.integrity.merkle import check_consistency, check_inclusion
from affidavit.integrity.note import Signer
from affidavit.integrity.tiles import tiles_of
from affidavit.sealer.keys import LogKey
from affidavit.sealer.run import seal_once
from affidavit.sealer.sealing import Sealer
from affidavit.store import connect_seals
from tests.conftest import with_database
from tests.support.api import SECRET, Api, call, new_id, ready
from tests.support.outside import Outside
from tests.support.servers import fresh_database

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.requirement("R20", "R21"), pytest.mark.xdist_group("outside")]

LOG = "/api/v1/log"
KEY = Signer("audit.example/served")
CALL = new_id()
WHY = {"X-Access-Reason": "ticket 4711"}


@pytest.fixture(scope="module")
def api(mongod: Any) -> Iterator[Api]:
    """The service over a sealed log of some hundred records: a whole tile, and a part of one."""
    with (
        fresh_database(mongod.uri) as database,
        ready(with_database(mongod.uri, database.name)) as api,
    ):
        documents = [call() for _ in range(160)]
        documents[77]["_id"] = CALL
        documents[3]["department"] = "sales"
        seals = connect_seals(api.backend.uri, AuditConfig())
        seals.claim(KEY.name, KEY.vkey)
        for part, size in ((documents[:100], 200), (documents[100:], 321)):
            assert api.as_().post("/api/v1/records", json=part).status_code == 201
            deadline_s = time.monotonic() + 30
            while (seals.last_seal() or {"size": 0})["size"] < size:
                assert time.monotonic() < deadline_s, "the leaves did not come"
                time.sleep(0.2)
                seal_once(Sealer(seals, lambda: LogKey(KEY), where="service"))
        seals.close()
        yield api


def test_a_call_is_proved_to_who_has_nothing_of_ours(
    api: Api, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Go's packages verify each proof, and read the whole tree from its tiles."""
    go = Outside(tmp_path_factory.mktemp("go"))
    proved = api.as_("auditor").get(f"/api/v1/calls/{CALL}/proof").json()
    assert [row["event_type"] for row in proved["records"]] == ["llm_request", "llm_response"]
    assert proved["left_out"] == []
    prefix = f"{api.served.url}{LOG}"
    for row in proved["records"]:
        entry = base64.b64decode(row["entry"])
        assert SECRET.encode() not in entry
        said = go.record(KEY.vkey, entry, row["proof"])
        assert said == f"record {row['index']} of {proved['size']}"
        said = go.served(KEY.vkey, entry, row["index"], prefix, api.served.token)
        assert said == f"read {proved['size']} leaves, and found {row['index']}"


def test_checkpoint_and_key_are_as_they_were_signed(api: Api) -> None:
    """The newest, and all before it in pages."""
    client = api.as_("auditor")
    newest = client.get(f"{LOG}/checkpoint")
    assert newest.headers["content-type"].startswith("text/plain")
    assert "max-age" in newest.headers["cache-control"]
    assert client.get(f"{LOG}/vkey").text.strip() == KEY.vkey
    assert client.get(f"{LOG}/identity").json()["vkey"] == KEY.vkey
    rows, cursor = [], None
    while True:
        page = client.get(
            f"{LOG}/checkpoints", params={"limit": 1} | ({"cursor": cursor} if cursor else {})
        ).json()
        rows += page["rows"]
        cursor = page["next"]
        if cursor is None:
            break
    assert rows[-1]["checkpoint"] == newest.text
    assert [row["k"] for row in rows] == list(range(len(rows)))


def test_tiles_stand_at_their_paths_and_may_be_kept(api: Api) -> None:
    """Each tile of the tree, whole or a part, and no other."""
    client = api.as_("auditor")
    size = client.get(f"{LOG}/identity").json()["size"]
    for tile in tiles_of(size):
        found = client.get(f"{LOG}/{tile.path}")
        assert found.status_code == 200
        assert len(found.content) == 32 * tile.width
        assert "immutable" in found.headers["cache-control"]
        again = client.get(f"{LOG}/{tile.path}", headers={"If-None-Match": found.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    for path in ("tile/0/001", "tile/0/002.p/3", "tile/1/000", "tile/0/001.p/256", "tile/0/1"):
        assert client.get(f"{LOG}/{path}").status_code == 404


def test_growth_and_places_are_proved_between_any_sizes(api: Api) -> None:
    """By the hashes alone."""
    client = api.as_("auditor")
    size = client.get(f"{LOG}/identity").json()["size"]
    leaves = client.get(f"{LOG}/tile/0/000").content
    roots = {
        row["size"]: base64.b64decode(row["root"])
        for row in client.get(f"{LOG}/checkpoints").json()["rows"]
    }
    for index in (0, 5, 255):
        told = client.get(f"{LOG}/inclusion", params={"index": index}).json()
        hashes = [base64.b64decode(each) for each in told["hashes"]]
        leaf = leaves[32 * index : 32 * index + 32]
        check_inclusion(leaf, index, size, hashes, roots[size])
    for old, root in roots.items():
        told = client.get(f"{LOG}/consistency", params={"old": old}).json()
        hashes = [base64.b64decode(each) for each in told["hashes"]]
        check_consistency(old, root, size, roots[size], hashes)
    beyond = (
        f"inclusion?index={size}",
        f"consistency?old={size + 1}",
        "inclusion?index=1&size=9999",
    )
    for path in beyond:
        assert client.get(f"{LOG}/{path}").status_code == 400


def test_a_bundle_needs_a_reason_and_holds_the_call(api: Api) -> None:
    """A zip file with the records and their proofs."""
    client = api.as_("auditor")
    assert client.get(f"/api/v1/calls/{CALL}/bundle").status_code == 400
    given = client.get(f"/api/v1/calls/{CALL}/bundle", headers=WHY)
    assert given.status_code == 200
    with zipfile.ZipFile(io.BytesIO(given.content)) as packed:
        names = packed.namelist()
    assert any(name.endswith("checkpoint") for name in names)
    assert sum(name.endswith("proof.tlog-proof") for name in names) == 2


def finished(client: Any, document: dict[str, Any]) -> dict[str, Any]:
    """Export, and wait for the end."""
    begun = client.post("/api/v1/exports", json=document)
    assert begun.status_code == 202, begun.text
    address = begun.headers["location"]
    deadline_s = time.monotonic() + 30
    while (job := client.get(address).json())["state"] == "running":
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    return dict(job)


def test_an_export_is_exactly_what_the_search_finds(api: Api) -> None:
    """Metadata or whole calls, with a manifest of counts and hashes."""
    client = api.as_("auditor")
    job = finished(client, {"filter": {"department": "research"}})
    assert (job["state"], job["rows"], job["complete"]) == ("done", 159, True)
    manifest = client.get(f"/api/v1/exports/{job['name']}/manifest").json()
    given = client.get(f"/api/v1/exports/{job['name']}/file")
    assert given.headers["content-disposition"].startswith("attachment")
    assert sha256(given.content).hexdigest() == manifest["files"]["calls.jsonl"]["sha256"]
    assert SECRET not in given.text
    rows = [json.loads(line) for line in given.text.splitlines()]
    page = client.get("/api/v1/calls", params={"department": "research", "limit": 200}).json()
    assert [row["_id"] for row in rows] == [row["_id"] for row in page["rows"]]
    whole = finished(
        client, {"filter": {"department": "sales"}, "content": True, "reason": "ticket 4711"}
    )
    assert SECRET in client.get(f"/api/v1/exports/{whole['name']}/file").text
    table = finished(client, {"filter": {"department": "sales"}, "format": "csv"})
    lines = client.get(f"/api/v1/exports/{table['name']}/file").text.splitlines()
    assert len(lines) == 2
    listed = client.get("/api/v1/exports").json()["exports"]
    assert {job["name"], whole["name"], table["name"]} <= {each["name"] for each in listed}


def test_an_export_stays_within_the_scope_and_with_those_who_see_it(api: Api) -> None:
    """An auditor of one department exports its calls, and sees no export of more."""
    everything = finished(api.as_("auditor"), {})
    sales = api.as_("auditor", departments=("sales",))
    assert finished(sales, {})["rows"] == 1
    assert finished(sales, {"filter": {"department": "research"}})["rows"] == 0
    assert sales.get(f"/api/v1/exports/{everything['name']}").status_code == 404
    assert sales.get(f"/api/v1/exports/{everything['name']}/file").status_code == 404


@pytest.mark.parametrize(
    "document",
    [
        {"filter": {"nonsense": "1"}},
        {"filter": {"user_id": {"$ne": 1}}},
        {"filter": {"since": "nonsense"}},
        {"filter": {"field:$where": "1"}},
        {"content": True},
        {"content": True, "format": "csv", "reason": "because"},
        {"filter": {"text": "x"}},
        {"format": "xml"},
        {"out": "/etc/passwd"},
    ],
)
def test_an_export_that_makes_no_sense_is_refused(api: Api, document: dict[str, Any]) -> None:
    """Before anything is made."""
    answer = api.as_("auditor").post("/api/v1/exports", json=document)
    assert answer.status_code in {400, 422}, answer.text


def test_an_export_whose_process_is_gone_is_said_to_be_cut_off(api: Api) -> None:
    """By every other process, also after a restart."""
    long_ago = datetime.now(UTC) - timedelta(minutes=5)
    api.backend.service.put(
        "export",
        "00ff00ff",
        {
            "by": "somebody",
            "state": "running",
            "began_at": long_ago,
            "heard_at": long_ago,
            "wanted": {"filter": [], "scope": {}, "host": "another"},
        },
    )
    client = api.as_("auditor")
    assert client.get("/api/v1/exports/00ff00ff").json()["state"] == "cut_off"
    assert client.get("/api/v1/exports/00ff00ff/file").status_code == 409
    assert client.delete("/api/v1/exports/00ff00ff").status_code == 204

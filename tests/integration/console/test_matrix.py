"""Every route by every role, in its own and another department and tenant; made from the routes.

A new route is in here by itself; one without a right is an error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import pytest
from fastapi.routing import APIRoute

from affidavit.console.doors import OPEN, Door, is_for_programs
from affidavit.console.roles import Right, may
from affidavit.console.visitor import Role
from tests.conftest import with_database
from tests.support.console import Served, serving
from tests.support.servers import GivenServer, fresh_database

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fastapi import FastAPI

    from affidavit.demo.mongod import Mongod

OPEN_BESIDE = frozenset({"/api/v1/openapi.json"})
"""Says how to ask, and nothing of the log."""

CONTENT = "zanzibar-prompt"
ANSWER = "zanzibar-answer"
WHO = "user_of_zanzibar"
NO_CALL = "0123456789abcdef01234567"


class Asked(NamedTuple):
    """One method of one route."""

    method: str
    path: str
    right: Right | None
    is_open: bool


def routes_of(app: FastAPI) -> Iterator[Any]:
    """Every route, those of included routers too."""

    def flat(routes: Iterable[Any]) -> Iterator[Any]:
        for route in routes:
            inner = getattr(route, "original_router", None)
            if inner is None:
                yield route
            else:
                yield from flat(inner.routes)

    return flat(app.routes)


def doors_of(dependant: Any) -> list[Door]:
    """The doors in front of a route."""
    found = [dependant.call] if isinstance(dependant.call, Door) else []
    return found + [door for each in dependant.dependencies for door in doors_of(each)]


def asked(app: FastAPI) -> list[Asked]:
    """All that can be asked for."""
    found = []
    for route in routes_of(app):
        doors = doors_of(route.dependant) if isinstance(route, APIRoute) else []
        right = doors[0].right if doors else None
        found += [
            Asked(method, route.path, right, not doors)
            for method in sorted(route.methods - {"HEAD", "OPTIONS"})
        ]
    return found


class Stage(NamedTuple):
    """A service with one call in it."""

    served: Served
    call_id: str


@pytest.fixture(scope="module")
def stage(
    mongod: Mongod | GivenServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    """A log with one call of the trading department of tenant one."""
    folder = tmp_path_factory.mktemp("matrix")
    with (
        fresh_database(mongod.uri) as database,
        serving(
            with_database(mongod.uri, database.name),
            audit={"spool_dir": str(folder / "spool"), "department": "trading", "tenant": "one"},
            state_dir=folder / "state",
        ) as served,
    ):
        audit = served.backend.audit
        with audit.call(provider="p", model="m", message=CONTENT, user_id=WHO) as call:
            call.complete(text=ANSWER, input_tokens=1, output_tokens=1)
        assert call.call_id is not None
        assert audit.flush()
        yield Stage(served, call.call_id)


def send(client: httpx.Client, one: Asked, call_id: str) -> tuple[int, str]:
    """Ask for it with the call's id, or a name that is none; status and body."""
    path = one.path.replace("{call_id}", call_id).replace("{path:path}", "checkpoint")
    path = path.replace("{question}", "cost").replace("{form}", "csv").replace("{number}", "0")
    while "{" in path:
        path = path[: path.index("{")] + "nothing" + path[path.index("}") + 1 :]
    body: dict[str, Any] = {}
    if one.method != "GET":
        body = {"json": {}} if is_for_programs(path) else {"data": {}}
    with client.stream(one.method, path, **body) as answer:
        if one.path == "/live" and answer.is_success:
            return answer.status_code, next(answer.iter_text())
        return answer.status_code, answer.read().decode("utf-8", "replace")


@pytest.mark.requirement("R13")
def test_every_route_asks_for_one_right_or_is_named_as_open(stage: Stage) -> None:
    """A new route without a door does not pass unseen."""
    for route in routes_of(stage.served.app):
        name = route.path.removesuffix("/{path:path}")
        if name in OPEN | OPEN_BESIDE:
            continue
        assert isinstance(route, APIRoute), route
        assert len(doors_of(route.dependant)) == 1, f"{route.path} has no door, or several"


@pytest.mark.requirement("R13")
def test_nobody_is_let_in_without_a_token(stage: Stage) -> None:
    """Programs get 401, people the log-in; whatever the method."""
    wrong = []
    with stage.served.client("") as client:
        for one in asked(stage.served.app):
            status, _ = send(client, one, stage.call_id)
            if not one.is_open and status not in {401, 303}:
                wrong.append((one, status))
            if status >= 500:
                wrong.append((one, status))
    assert wrong == []


@pytest.mark.requirement("R13")
@pytest.mark.parametrize("role", Role)
def test_each_role_gets_what_the_table_says_and_nothing_else(stage: Stage, role: Role) -> None:
    """403 where it has no right; anything but 401, 403 or an error of the service where it has."""
    wrong = []
    with stage.served.client(stage.served.token_of(role)) as client:
        for one in asked(stage.served.app):
            status, _ = send(client, one, stage.call_id)
            if one.is_open or one.path == "/logout":
                continue
            allowed = one.right is None or may(role, one.right)
            if allowed and (status in {401, 403} or status >= 500):
                wrong.append((one.method, one.path, status, "should be allowed"))
            if not allowed and status != 403:
                wrong.append((one.method, one.path, status, "should be refused"))
    assert wrong == []


@pytest.mark.requirement("R13")
@pytest.mark.parametrize("role", [Role.WRITER, Role.VIEWER])
def test_without_the_right_to_content_none_comes_out_of_any_route(stage: Stage, role: Role) -> None:
    """Not in lists, details, errors or what is counted."""
    leaked = []
    with stage.served.client(stage.served.token_of(role)) as client:
        for one in asked(stage.served.app):
            _, body = send(client, one, stage.call_id)
            if CONTENT in body or ANSWER in body:
                leaked.append((one.method, one.path))
    assert leaked == []


@pytest.mark.requirement("R13")
@pytest.mark.parametrize(
    "limits",
    [
        {"departments": ("risk",)},
        {"tenants": ("two",)},
        {"departments": ("trading",), "tenants": ("two",)},
        {"departments": ()},
    ],
    ids=str,
)
def test_a_call_outside_the_scope_is_not_there_for_any_route(
    stage: Stage, limits: dict[str, tuple[str, ...]]
) -> None:
    """It looks like one that does not exist; nothing of it is in a list, a sum or an export."""
    wrong = []
    token = stage.served.token_of(Role.AUDITOR, **limits)
    with stage.served.client(token) as client:
        for one in asked(stage.served.app):
            status, body = send(client, one, stage.call_id)
            told = [text for text in (CONTENT, ANSWER, WHO) if text in body]
            there = "{call_id}" in one.path and status != send(client, one, NO_CALL)[0]
            if told or there:
                wrong.append((one.method, one.path, status, told))
    assert wrong == []


@pytest.mark.requirement("R13")
def test_a_call_inside_the_scope_is_there(stage: Stage) -> None:
    """The same routes, with the right department and tenant."""
    token = stage.served.token_of(Role.AUDITOR, departments=("trading",), tenants=("one", "two"))
    with stage.served.client(token) as client:
        for path in (f"/api/v1/calls/{stage.call_id}", f"/calls/{stage.call_id}"):
            assert client.get(path).status_code == httpx.codes.OK
        assert WHO in client.get("/api/v1/calls").text


@pytest.mark.requirement("R13")
def test_a_scope_can_not_be_widened_by_parameters(stage: Stage) -> None:
    """Asking for another department, for many, or with an operator: it stays what it is."""
    token = stage.served.token_of(Role.AUDITOR, departments=("risk",))
    queries: list[Any] = [
        {"department": "trading"},
        [("department", "risk"), ("department", "trading")],
        {"department[$ne]": "x"},
        {"departments": "trading"},
        {"department": '{"$ne": null}'},
        {"tenant": "one"},
        {"user_id": WHO},
    ]
    with stage.served.client(token) as client:
        for query in queries:
            for path in ("/api/v1/calls", "/calls", "/api/v1/analytics/usage", "/cost"):
                answer = client.get(path, params=query)
                assert answer.status_code < 500, (path, query)
                found = answer.text.replace("%2F", "/")
                assert CONTENT not in found
                assert f'"{WHO}"' not in found or query == {"user_id": WHO}, (path, query)

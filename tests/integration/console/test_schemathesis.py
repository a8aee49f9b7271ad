"""Whatever the OpenAPI description allows, and what it does not, makes no server error."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import hypothesis
import hypothesis.errors
import pytest
import schemathesis
from fastapi import FastAPI
from schemathesis import GenerationMode

from affidavit.console.api import routers
from affidavit.console.api.describe import describe
from tests.conftest import with_database
from tests.support.api import Api, call, ready
from tests.support.servers import fresh_database

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.requirement("R13", "R31")]

EXAMPLES = 12
"""For each operation; a longer run is a matter of this number."""


@pytest.fixture(scope="module")
def api(mongod: Any) -> Iterator[Api]:
    """The service with some calls."""
    with (
        fresh_database(mongod.uri) as database,
        ready(with_database(mongod.uri, database.name), requests_per_minute=1_000_000) as api,
    ):
        assert api.as_().post("/api/v1/records", json=[call() for _ in range(5)]).is_success
        yield api


def paths() -> list[tuple[str, str]]:
    """Every operation of the description: a method and a path."""
    app = FastAPI()
    for router in routers():
        app.include_router(router)
    described = describe(app)["paths"]
    return [(method, path) for path, held in described.items() for method in held]


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize(("method", "path"), paths())
def test_no_request_makes_a_server_error(
    api: Api, method: str, path: str, mode: GenerationMode
) -> None:
    """Neither with what fits the description nor with what does not."""
    loaded = schemathesis.openapi.from_dict(api.as_().get("/api/v1/openapi.json").json())
    loaded.config.update(base_url=api.served.url)
    operation = loaded[path][method.upper()]
    headers = {"Authorization": f"Bearer {api.served.token}"}

    @hypothesis.settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        answer = case.call(headers=headers, timeout=30)
        assert answer.status_code < 500 or answer.status_code == 503, answer.text
        assert "Traceback" not in answer.text

    with contextlib.suppress(hypothesis.errors.Unsatisfiable):  # nothing of it can be wrong
        ask()

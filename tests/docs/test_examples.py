"""Every example on every page is run against a real server."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from affidavit import AuditConfig, AuditLogger
from affidavit.cli import run
from affidavit.demo.canned import CannedEndpoint
from affidavit.demo.child import Child, wait_until
from tests.docs import pages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymongo.database import Database

LASTING = ("demo", "--follow", "--watch", "affidavit serve", "root@")
"""What marks a command that does not end by itself, or wants a login."""

TUTORIAL = Path("docs/tutorial/first-service.md")


def _can_run(command: str) -> bool:
    """Whether a shown command can be run as it is: ours, and without a placeholder."""
    ours = command.startswith("affidavit ")
    return ours and not re.search(r"\b(CALL_)?ID\b|--cursor", command) and not any(
        word in command for word in LASTING
    )  # fmt: skip


PAGES_WITH_COMMANDS = sorted({page for page, _, line in pages.shell_lines() if _can_run(line)})


@pytest.fixture(scope="module")
def model() -> Iterator[CannedEndpoint]:
    """Where the examples' SDKs find a model."""
    endpoint = CannedEndpoint.start(latency_ms=1)
    yield endpoint
    endpoint.stop()


@pytest.fixture
def environment(model: CannedEndpoint, mongodb_uri: str, tmp_path: Path) -> dict[str, str]:
    """The environment of an example: its own state directory, the model, no stray settings."""
    return {
        **os.environ,
        "AFFIDAVIT_MONGODB_URI": mongodb_uri,
        "OPENAI_BASE_URL": model.base_url,
        "OPENAI_API_KEY": "none",
        "ANTHROPIC_BASE_URL": model.anthropic_url,
        "ANTHROPIC_API_KEY": "none",
        "PYTHONPATH": str(tmp_path),
    }


@pytest.mark.requirement("R2", "R7")
@pytest.mark.parametrize("page", pages.with_examples(), ids=str)
def test_the_examples_of_a_page_run(
    page: Path,
    environment: dict[str, str],
    mongodb_uri: str,
    database: Database[dict[str, Any]],
    tmp_path: Path,
) -> None:
    """All Python blocks of a page, in order, as one program; their own assertions hold."""
    program = tmp_path / "example.py"
    program.write_text(pages.for_server(pages.script(page), mongodb_uri, database.name), "utf-8")
    ran = subprocess.run(
        [sys.executable, str(program)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, f"{page}, line as in the traceback:\n{ran.stderr}"


@pytest.mark.requirement("R5", "R35")
@pytest.mark.parametrize("page", PAGES_WITH_COMMANDS, ids=str)
def test_the_commands_of_a_page_run(
    page: Path,
    mongodb_uri: str,
    database: Database[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Every `affidavit` line without a placeholder, in order, on a log with one call.

    Another such log is in the database beside, where ``separate_database`` has it. Files of a page,
    as ```csv title="usage.csv"``` has them, are there.
    """
    monkeypatch.setenv("AFFIDAVIT_MONGODB_URI", mongodb_uri)
    monkeypatch.chdir(tmp_path)
    for block in pages.blocks(page, "csv"):
        (tmp_path / block.info.removeprefix('title="').rstrip('"')).write_text(block.text, "utf-8")
    for apart in (False, True):
        with (
            AuditLogger(config=AuditConfig(separate_database=apart)) as audit,
            audit.call(provider="p", user_id="user_123") as call,
        ):
            call.complete(text="Sideways.")
    for where, line, command in pages.shell_lines():
        if where == page and _can_run(command):
            words = shlex.split(pages.for_server(command, mongodb_uri, database.name))
            assert run(words[1:]) in {0, 1}, f"{page}:{line}: {command}"


@pytest.mark.requirement("R1", "R3")
def test_the_tutorials_service_records_a_call_with_its_user(
    environment: dict[str, str],
    mongodb_uri: str,
    database: Database[dict[str, Any]],
    tmp_path: Path,
) -> None:
    """The file of the tutorial is served by uvicorn; its own curl request leaves one call."""
    (block,) = [b for b in pages.blocks(TUTORIAL, "python") if b.info == 'title="assistant.py"']
    source = pages.for_server(block.text, mongodb_uri, database.name)
    (tmp_path / "assistant.py").write_text(source, "utf-8")
    port = _free_port()
    command = [sys.executable, "-m", "uvicorn", "assistant:app", "--port", str(port)]
    child = Child(command, log=tmp_path / "uvicorn.log", env=environment, directory=tmp_path)
    try:
        wait_until(lambda: _answers(port), child=child, timeout_s=30, what="uvicorn")
        answer = httpx.post(
            f"http://127.0.0.1:{port}/analyze",
            json={"symbol": "BTCUSDT", "message": "What moved today?"},
            headers={"x-user": "ana", "x-department": "research"},
            timeout=20,
        ).json()
    finally:
        child.stop()
    (call,) = database["llm_calls"].find({"user_id": "ana"})
    assert call["call_id"] == answer["call_id"]
    assert (call["status"], call["department"], call["service"]) == (
        "completed",
        "research",
        "assistant",
    )
    assert call["request_data"]["symbol"] == "BTCUSDT"
    assert call["client_info"]["ip_address"] == "127.0.0.1"
    assert call["response_data"]["cost_usd"].to_decimal() > 0


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/docs", timeout=1).is_success
    except httpx.HTTPError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

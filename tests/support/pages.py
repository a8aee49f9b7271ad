"""A service over a log that has something of everything that the pages of calls show."""

from __future__ import annotations

import re
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from html import unescape
from typing import TYPE_CHECKING, Any

from affidavit import AuditLogger
from affidavit.integrity.note import Signer
from tests.conftest import with_database
from tests.support.console import Served, serving
from tests.support.rooms import HOSTILE, SECRET, sealed
from tests.support.servers import fresh_database

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx
    from pymongo.database import Database

SHA = "ab" * 32
REASON = "complaint 4711 of a customer"
_CSRF = re.compile(r'name="csrf" value="([^"]+)"')


@dataclass(frozen=True)
class Pages:
    """What the log holds, and the service over it."""

    served: Served
    database: Database[dict[str, Any]]
    talk: str
    """A call with a conversation, tools, a picture and a redacted address, of research."""
    failed: str
    """A call that failed, of sales."""
    hostile: str
    """A call whose every text is hostile, of research."""
    key: Signer

    def noted(self, command: str) -> list[dict[str, Any]]:
        """What the ledger says of readings by a command."""
        wanted = {"event_type": "audit_access", "details.command": command}
        return list(self.database.llm_audit_ledger.find(wanted))


@contextmanager
def furnished(uri: str, folder: Path) -> Iterator[Pages]:
    """Record some calls and events, seal them, and run the service over them."""
    with fresh_database(uri) as database:
        with AuditLogger(database, seal="off", spool_dir=str(folder / "spool")) as audit:
            talk, failed, hostile = _talk(audit), _failed(audit), _hostile(audit)
            for number in range(60):
                with audit.call(
                    provider="openai", model="gpt-5-mini", message=SECRET, user_id=f"u{number % 7}",
                    department="support", session_id=f"s{number // 10}",
                ) as call:  # fmt: skip
                    call.complete(text=SECRET, input_tokens=10, output_tokens=5, cost_usd="0.01")
            audit.security_event(kind="prompt_injection", severity="high", user_id="u1")
            audit.flush(10)
        key = Signer("affidavit/pages")
        sealed(database, key)
        settings = {"spool_dir": str(folder / "served")}
        with serving(
            with_database(uri, database.name), audit=settings, state_dir=folder / "state"
        ) as served:
            yield Pages(served, database, talk, failed, hostile, key)


def _talk(audit: AuditLogger) -> str:
    picture = {"type": "image", "sha256": SHA, "bytes": 48213, "media_type": "image/png"}
    messages = [
        {"role": "system", "content": "You are a careful assistant."},
        {"role": "user", "content": [{"type": "text", "text": SECRET}, picture]},
        {"role": "assistant", "tool_calls": [_asked("lookup", '{"symbol": "ABC"}')]},
        {"role": "tool", "tool_call_id": "t0", "content": "42.5"},
        {"role": "user", "content": "Write to jane.doe@example.com"},
    ]
    with audit.call(
        provider="anthropic", model="claude", messages=messages, user_id="ana",
        department="research", tenant="acme", session_id="s-talk", fields={"symbol": "ABC"},
        ip_address="192.0.2.7", user_agent="tests/1",
    ) as call:  # fmt: skip
        call.complete(
            text="It stands at 42.5.", input_tokens=700, output_tokens=50, cached_tokens=600,
            cost_usd="0.0123456", tool_calls=[{"id": "t1", "name": "mail", "arguments": {"to": 1}}],
        )  # fmt: skip
    audit.annotate(str(call.call_id), kind="score", name="helpful", value=0.9, note="said well")
    return str(call.call_id)


def _asked(name: str, arguments: str) -> dict[str, Any]:
    return {"id": "t0", "type": "function", "function": {"name": name, "arguments": arguments}}


def _failed(audit: AuditLogger) -> str:
    call = audit.call(provider="openai", model="gpt-5", message=SECRET, department="sales")
    with suppress(TimeoutError), call:
        msg = f"the model broke while it said {SECRET}"
        raise TimeoutError(msg)
    return str(call.call_id)


def _hostile(audit: AuditLogger) -> str:
    with audit.call(
        provider=HOSTILE, model=HOSTILE, message=f"{HOSTILE} {SECRET}", user_id=HOSTILE,
        department="research", session_id=HOSTILE, fields={"symbol": HOSTILE},
        ip_address=HOSTILE, user_agent=HOSTILE,
    ) as call:  # fmt: skip
        call.complete(text=HOSTILE * 20_000, tool_calls=[{"name": HOSTILE, "arguments": HOSTILE}])
    return str(call.call_id)


def body(answer: httpx.Response, status: int = 200) -> str:
    """The page's own part; checks what every page must keep to."""
    assert answer.status_code == status, f"{answer.status_code}: {answer.text[:1500]}"
    text = answer.text
    assert "<script>alert" not in text
    assert not re.search(r"<script(?![^>]*\bsrc=)", text)
    assert " style=" not in text
    assert "<style" not in text
    # What somebody typed stands in its field as it was typed, and is shown nowhere else.
    beside = re.sub(r' value="[^"]*"', "", text)
    assert not any(odd in beside for odd in "\x1b\u202e\x00")
    assert "Traceback" not in text
    return text.partition("<main")[2] or text


def words(page: str) -> str:
    """What a person reads of a page."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page)).split())


def csrf(answer: httpx.Response) -> str:
    """The token of a page's forms."""
    found = _CSRF.search(answer.text)
    assert found is not None
    return found[1]

"""The application of the canary campaign: pushes known secrets through every field and path.

``python -X faulthandler -m tests.faults.canary_app JOB`` with a JSON job: ``uri``, ``settings``,
``texts`` (a file, outside of what is searched afterwards), ``end`` (``close``, ``kill`` or
``crash``). Logs everything at DEBUG to its standard error, as an application in trouble would.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from affidavit import AsyncAuditLogger, AuditLogger


@dataclass
class Foreign:
    """An object of the application."""

    note: str


class Shown:
    """Says a secret when it is printed."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text


class Broken:
    """Raises with a secret in the error, like SDK models of another version."""

    def __init__(self, text: str) -> None:
        self._text = text

    def model_dump(self) -> dict[str, Any]:
        """Fail."""
        raise ValueError(self._text)


def shapes(text: str, texts: list[str]) -> dict[str, Any]:
    """Give the same text in every shape a field can have."""
    cycle: dict[str, Any] = {"note": text}
    cycle["again"] = cycle
    return {
        "plain": text,
        "nested": {"a": {"b": [{"c": text}, [text]]}},
        "names": dict.fromkeys(texts, 1),
        "bytes": text.encode(),
        "tuple": (text, {"x": text}),
        "set": set(texts),
        "foreign": Foreign(text),
        "shown": Shown(text),
        "broken": Broken(text),
        "cycle": cycle,
        "surrogate": f"{text} \ud800",
        "odd": [float("nan"), 2**80, text],
        "json": json.dumps({"arguments": text}),
        "json_twice": json.dumps(json.dumps({"arguments": text})),
        "long": f"{'head ' * 3000} {text} {'tail ' * 3000}",
        "edge": f"{'x' * 5000} {text} {'y ' * 20_000}",
    }


def push(audit: AuditLogger, texts: list[str]) -> None:
    """Record everything that can be recorded."""
    text = "\n".join(texts)
    everywhere = shapes(text, texts)
    parts = [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": text}}]
    tools = [{"id": "call_1", "function": {"name": "f", "arguments": json.dumps({"q": text})}}]
    conversation = [
        {"role": "system", "content": text},
        {"role": "user", "content": parts},
        {"role": "assistant", "content": None, "tool_calls": tools},
        {"role": "tool", "tool_call_id": "call_1", "content": text},
    ]
    asked: dict[str, Any] = {"provider": "canned", "model": "m"}
    with audit.call(**asked, message=text, fields=everywhere) as call:
        call.complete(text=text, tool_calls=tools, finish_reason=text, fields=everywhere)
    with audit.call(
        **asked, messages=conversation, parameters={"tools": tools, "stop": texts}
    ) as call:
        call.complete(text=text)
    with audit.call(provider=text, model=text, message="x") as call:
        call.complete(provider_used=text, model=text)
    with contextlib.suppress(RuntimeError), audit.call(**asked, message=text) as call:
        call.partial(text=text)
        raise RuntimeError(f"the provider refused: {text}")
    with audit.call(**asked, message=text) as call:
        call.fail(text)
    with audit.call(**asked, message=text) as call:
        call.fail(KeyError(text))
    with contextlib.suppress(KeyboardInterrupt), audit.call(**asked, message=text) as call:
        call.partial(text=text, fields=everywhere)
        raise KeyboardInterrupt(text)
    with audit.call(**asked, message=f"{'word ' * 900_000}{text}") as call:
        call.complete(text=f"{text}{' word' * 900_000}")
    audit.rate_limit_exceeded(limit_type=text, current_usage=everywhere, details={"note": text})
    audit.security_event(kind=text, details={"payload": text, **everywhere}, call_id=call.call_id)
    audit.annotate(call.call_id, kind="review", name=text, value=everywhere, ref=text, note=text)
    for one in texts:
        audit.annotate(call.call_id, kind="score", name="one", value=one)


async def push_streamed(uri: str, settings: dict[str, Any], text: str) -> None:
    """Stream an answer and be cancelled in the middle of it."""
    async with AsyncAuditLogger(uri, **settings) as audit:

        async def stream() -> None:
            async with audit.call(provider="canned", message=text) as call:
                call.partial(text=text)
                await asyncio.sleep(60)

        task = asyncio.create_task(stream())
        await asyncio.sleep(0.2)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def main() -> int:
    """Push, and end as the job says."""
    job = json.loads(sys.argv[1])
    logging.basicConfig(level=logging.DEBUG)
    # The driver prints whole documents at DEBUG; an application that wants that has turned it on.
    logging.getLogger("pymongo").setLevel(logging.DEBUG)
    texts = json.loads(Path(job["texts"]).read_text("utf-8"))
    audit = AuditLogger(job["uri"], **job["settings"])
    push(audit, texts)
    if job["end"] != "close":
        push(audit, texts)  # some of it is on its way now
        os.kill(os.getpid(), signal.SIGKILL if job["end"] == "kill" else signal.SIGABRT)
    audit.flush(30)
    sys.stdout.write(f"{audit.stats()}\n")
    audit.close()
    asyncio.run(push_streamed(job["uri"], job["settings"], "\n".join(texts)))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""A small trading assistant that audits its own calls: what an application of yours looks like.

Everything about auditing is in three places: the logger and ``instrument`` where the assistant is
made, the middleware in :func:`create_app`, and the two events in ``_admit``. The calls of the
model have no auditing code at all, but for one: ``report`` asks without an SDK, and what it costs
is billed, so it records its call by hand, with the cost.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import re
import socket
import sys
import time
from collections import defaultdict, deque
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict
from urllib.parse import urlsplit

import anthropic
import openai
import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from affidavit import AsyncAuditLogger, AuditConfig, AuditMiddleware, call_id, instrument
from affidavit.demo.child import announce
from affidavit.demo.settings import USERS, VARIABLE, Provider, Settings, decode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_SYSTEM = "You are a trading assistant. Answer in one short paragraph. Never give advice."
_MAX_TOKENS = 60
_MINUTE_S = 60.0
_INJECTION = re.compile(
    r"(ignore|forget|disregard)\s+(all\s+)?(your|the|previous|prior)\s+\w*\s*instructions"
    r"|reveal\s+(your|the)\s+system\s+prompt",
    re.IGNORECASE,
)
_TIMEOUTS = (openai.APITimeoutError, anthropic.APITimeoutError)
_FAILURES = (openai.OpenAIError, anthropic.AnthropicError)


class Analyze(BaseModel):
    """The body of ``POST /analyze``."""

    symbol: str = Field(max_length=20)
    message: str = Field(max_length=200_000)
    include_indicators: bool = True
    include_market_data: bool = True
    provider: str | None = None
    model: str | None = None


class Analysis(BaseModel):
    """The answer of ``POST /analyze``."""

    call_id: str
    answer: str
    provider: str
    model: str


class RateLimit:
    """Requests of the last minute, by user."""

    def __init__(self, limits: dict[str, int]) -> None:
        """``limits`` holds requests a minute by user; others have no limit."""
        self._limits = limits
        self._seen: defaultdict[str, deque[float]] = defaultdict(deque)

    def exceeded(self, user: str) -> dict[str, int] | None:
        """Count this request; the use and the limit when it is one too many."""
        limit = self._limits.get(user)
        if limit is None:
            return None
        now, seen = time.monotonic(), self._seen[user]
        while seen and seen[0] < now - _MINUTE_S:
            seen.popleft()
        if len(seen) >= limit:
            return {"requests": len(seen) + 1, "limit": limit}
        seen.append(now)
        return None


class Assistant:
    """The application behind the routes."""

    def __init__(self, settings: Settings) -> None:
        """Open the audit log, and one SDK client for each provider."""
        self.audit = AsyncAuditLogger(settings.mongodb_uri, AuditConfig(**settings.audit))
        instrument(self.audit)
        self._providers = settings.providers
        self._limit = RateLimit(settings.requests_per_minute)
        self._sdks: dict[str, Any] = {
            name: _sdk(provider) for name, provider in settings.providers.items()
        }

    async def analyze(self, user: str, body: Analyze) -> Analysis:
        """Answer one question, or refuse it."""
        name, provider, model = self._choose(user, body)
        await self._admit(user, body)
        reply = await self._ask(body, name, model, stream=False)
        return Analysis(
            call_id=call_id(reply) or "",
            answer=_text(provider, reply),
            provider=name,
            model=model,
        )

    async def stream(self, user: str, body: Analyze) -> StreamingResponse:
        """Answer one question piece by piece."""
        name, provider, model = self._choose(user, body)
        await self._admit(user, body)
        reply = await self._ask(body, name, model, stream=True)

        async def pieces() -> AsyncIterator[str]:
            async with reply:
                async for event in reply:
                    yield _piece(provider, event)

        head = {"x-call-id": call_id(reply) or ""}
        return StreamingResponse(pieces(), media_type="text/plain", headers=head)

    async def report(self, user: str, body: Analyze) -> Analysis:
        """Answer one question for a report that is billed: its record holds the cost."""
        name, provider, model = self._choose(user, body)
        await self._admit(user, body)
        call = self.audit.call(provider=provider.api, model=model, message=body.message)
        try:
            async with call:
                reply = await asyncio.to_thread(_past_the_sdk, provider, model, body.message)
                text, tokens = reply["choices"][0]["message"]["content"], _tokens(reply["usage"])
                call.complete(text=text, cost_usd=provider.price.cost_usd(**tokens), **tokens)
        except (OSError, http.client.HTTPException, LookupError):
            head = {"x-call-id": call.call_id}
            raise HTTPException(502, "the model failed", head) from None
        return Analysis(call_id=call.call_id, answer=text, provider=name, model=model)

    async def shortcut(self, user: str, body: Analyze) -> dict[str, Any]:
        """Answer by a way around the SDKs, as somebody might write it in a hurry."""
        _, provider, model = self._choose(user, body)
        return await asyncio.to_thread(_past_the_sdk, provider, model, body.message)

    def _choose(self, user: str, body: Analyze) -> tuple[str, Provider, str]:
        if user not in USERS:
            raise HTTPException(401, "an x-user header with a known user is wanted")
        name = body.provider or next(iter(self._providers))
        provider = self._providers.get(name)
        model = body.model or (provider.models[0] if provider else "")
        if provider is None or model not in provider.models:
            raise HTTPException(422, "no such provider or model")
        return name, provider, model

    async def _admit(self, user: str, body: Analyze) -> None:
        """Refuse what must not reach a model, and record that."""
        usage = self._limit.exceeded(user)
        if usage is not None:
            await self.audit.rate_limit_exceeded(
                user_id=user, limit_type="requests_per_minute", current_usage=usage
            )
            raise HTTPException(429, "too many requests", headers={"retry-after": "60"})
        found = _INJECTION.search(body.message)
        if found:
            await self.audit.security_event(
                user_id=user,
                kind="prompt_injection",
                severity="high",
                details={"rule": "instructions-override", "at": found.start()},
            )
            raise HTTPException(400, "this message was refused")

    async def _ask(self, body: Analyze, name: str, model: str, *, stream: bool) -> Any:
        """The model call. It is recorded, and nothing here says so."""
        sdk, question = self._sdks[name], f"{body.symbol}: {body.message}"
        turn: dict[str, Any] = {"role": "user", "content": question}
        try:
            if isinstance(sdk, anthropic.AsyncAnthropic):
                return await sdk.messages.create(
                    model=model,
                    system=_SYSTEM,
                    messages=[turn],  # type: ignore[list-item]  # a plain dictionary will do
                    max_tokens=_MAX_TOKENS,
                    stream=stream,
                )
            return await sdk.chat.completions.create(
                model=model,
                messages=[{"role": "system", "content": _SYSTEM}, turn],
                max_tokens=_MAX_TOKENS,
                stream=stream,
                **({"stream_options": {"include_usage": True}} if stream else {}),
            )
        except _TIMEOUTS as error:
            head = {"x-call-id": call_id(error) or ""}
            raise HTTPException(504, "the model took too long", head) from None
        except _FAILURES as error:
            head = {"x-call-id": call_id(error) or ""}
            raise HTTPException(502, "the model failed", head) from None

    async def close(self) -> None:
        """Write what waits, and close the connections."""
        await self.audit.close()
        for sdk in self._sdks.values():
            await sdk.close()


def create_app(settings: Settings) -> FastAPI:
    """The web application, auditing to ``settings.mongodb_uri``."""
    assistant = Assistant(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await assistant.close()

    app = FastAPI(title="Trading assistant", lifespan=lifespan)
    app.add_middleware(
        AuditMiddleware,
        audit=assistant.audit,
        user=lambda request: request.headers.get("x-user"),
        department=lambda request: USERS.get(request.headers.get("x-user", "")),
    )

    @app.post("/analyze")
    async def analyze(body: Analyze, request: Request) -> Analysis:
        return await assistant.analyze(request.headers.get("x-user", ""), body)

    @app.post("/stream")
    async def stream(body: Analyze, request: Request) -> StreamingResponse:
        return await assistant.stream(request.headers.get("x-user", ""), body)

    @app.post("/report")
    async def report(body: Analyze, request: Request) -> Analysis:
        return await assistant.report(request.headers.get("x-user", ""), body)

    @app.post("/shortcut")
    async def shortcut(body: Analyze, request: Request) -> dict[str, Any]:
        return await assistant.shortcut(request.headers.get("x-user", ""), body)

    @app.get("/audit")
    async def audit() -> dict[str, Any]:
        """The counters of this process's audit log."""
        return assistant.audit.stats().as_dict()

    return app


def _sdk(provider: Provider) -> Any:
    """A client of the SDK that the provider wants. One request, one record: it does not retry."""
    make: Any = anthropic.AsyncAnthropic if provider.api == "anthropic" else openai.AsyncOpenAI
    return make(
        base_url=provider.base_url,
        api_key="none",  # the endpoints of the demo want no key
        max_retries=0,
        timeout=provider.timeout_s,
    )


def _text(provider: Provider, reply: Any) -> str:
    """The text of a whole answer."""
    if provider.api == "anthropic":
        return "".join(block.text for block in reply.content if block.type == "text")
    return reply.choices[0].message.content or ""


class _Tokens(TypedDict):
    input_tokens: int
    cached_tokens: int
    output_tokens: int


def _tokens(usage: dict[str, Any]) -> _Tokens:
    """The tokens of a whole answer, as OpenAI tells them; the input's include the cached ones."""
    return _Tokens(
        input_tokens=usage["prompt_tokens"],
        cached_tokens=(usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0,
        output_tokens=usage["completion_tokens"],
    )


def _piece(provider: Provider, event: Any) -> str:
    """The text in one event of a streamed answer; most have one."""
    if provider.api == "anthropic":
        return event.delta.text if event.type == "content_block_delta" else ""
    return (event.choices[0].delta.content or "") if event.choices else ""


def _past_the_sdk(provider: Provider, model: str, message: str) -> dict[str, Any]:
    """One request to the provider by plain HTTP: nothing records it, but the guard sees it."""
    url = urlsplit(provider.base_url)
    line = http.client.HTTPConnection(url.hostname or "", url.port, timeout=provider.timeout_s)
    body = {"model": model, "messages": [{"role": "user", "content": message}]}
    try:
        line.request(
            "POST",
            f"{url.path}/chat/completions",
            json.dumps(body),
            {"content-type": "application/json"},
        )
        return dict(json.loads(line.getresponse().read()))
    finally:
        line.close()


def _main(address: Path) -> None:
    """In the application's own process: serve on a free loopback port and announce it."""
    app = create_app(decode(os.environ[VARIABLE]))
    # It listens from here on: a caller that comes before the server is ready waits, and is served.
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    announce(address, f"http://127.0.0.1:{listener.getsockname()[1]}")
    config = uvicorn.Config(app, log_level="warning", access_log=False)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    _main(Path(sys.argv[1]))

"""A small trading assistant that audits its own calls: what an application of yours looks like.

Everything about auditing is in three places: the logger and the middleware in
:func:`create_app`, the two events in ``_admit``, and ``async with audit.call(...)`` in ``_ask``.
"""

from __future__ import annotations

import os
import re
import socket
import sys
import time
from collections import defaultdict, deque
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openai
import uvicorn
from fastapi import FastAPI, HTTPException, Request
from pydantic import BaseModel, Field

from affidavit import AsyncAuditLogger, AuditConfig, AuditMiddleware
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
    cost_usd: str


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
        """Open the audit log and one SDK client for each provider."""
        self.audit = AsyncAuditLogger(settings.mongodb_uri, AuditConfig(**settings.audit))
        self._providers = settings.providers
        self._limit = RateLimit(settings.requests_per_minute)
        self._sdks = {
            name: openai.AsyncOpenAI(
                base_url=provider.base_url,
                api_key="none",  # the endpoints of the demo want no key
                max_retries=0,  # one request, one record
                timeout=provider.timeout_s,
            )
            for name, provider in settings.providers.items()
        }

    async def analyze(self, user: str, body: Analyze) -> Analysis:
        """Answer one question, or refuse it."""
        if user not in USERS:
            raise HTTPException(401, "an x-user header with a known user is wanted")
        name = body.provider or next(iter(self._providers))
        provider = self._providers.get(name)
        model = body.model or (provider.models[0] if provider else "")
        if provider is None or model not in provider.models:
            raise HTTPException(422, "no such provider or model")
        await self._admit(user, body)
        return await self._ask(body, name, provider, model)

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

    async def _ask(self, body: Analyze, name: str, provider: Provider, model: str) -> Analysis:
        """The model call, with its record around it."""
        messages: list[Any] = [
            {"role": "system", "content": _SYSTEM},
            {"role": "user", "content": f"{body.symbol}: {body.message}"},
        ]
        call_id = ""
        try:
            async with self.audit.call(
                provider=name,
                model=model,
                messages=messages,
                fields={
                    "symbol": body.symbol,
                    "include_indicators": body.include_indicators,
                    "include_market_data": body.include_market_data,
                },
            ) as call:
                call_id = call.call_id
                reply = await self._sdks[name].chat.completions.create(
                    model=model, messages=messages, max_tokens=_MAX_TOKENS
                )
                text = reply.choices[0].message.content or ""
                usage = _usage(reply)
                cost = provider.price.cost_usd(
                    input_tokens=usage["input_tokens"],
                    cached_tokens=usage["cached_tokens"],
                    output_tokens=usage["output_tokens"],
                )
                call.complete(
                    text=text,
                    finish_reason=reply.choices[0].finish_reason,
                    cost_usd=cost,
                    input_tokens=usage["input_tokens"],
                    output_tokens=usage["output_tokens"],
                    cached_tokens=usage["cached_tokens"],
                    reasoning_tokens=usage["reasoning_tokens"],
                    fields={"context_symbols": [body.symbol]},
                )
        except openai.APITimeoutError:
            raise HTTPException(504, "the model took too long", {"x-call-id": call_id}) from None
        except openai.OpenAIError:
            raise HTTPException(502, "the model failed", {"x-call-id": call_id}) from None
        return Analysis(
            call_id=call_id, answer=text, provider=name, model=model, cost_usd=str(cost)
        )

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

    @app.get("/audit")
    async def audit() -> dict[str, Any]:
        """The counters of this process's audit log."""
        return assistant.audit.stats().as_dict()

    return app


def _usage(reply: Any) -> dict[str, int]:
    """Token counts of a chat completion; details that a server leaves out are zero."""
    usage = reply.usage
    prompt, completion = usage.prompt_tokens_details, usage.completion_tokens_details
    return {
        "input_tokens": usage.prompt_tokens,
        "output_tokens": usage.completion_tokens,
        "cached_tokens": (prompt and prompt.cached_tokens) or 0,
        "reasoning_tokens": (completion and completion.reasoning_tokens) or 0,
    }


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

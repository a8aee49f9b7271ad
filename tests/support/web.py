"""A small web application that audits: run by several uvicorn workers in the tests.

``GET /call`` makes one audited call and answers with its ``call_id`` and the worker's process id.
Settings come from ``AFFIDAVIT_*`` variables, as in a deployment.
"""

from __future__ import annotations

import json
import os
from collections.abc import MutableMapping
from typing import Any

from affidavit import AsyncAuditLogger, AuditMiddleware

audit = AsyncAuditLogger()


async def application(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
    """The application itself."""
    if scope["type"] == "lifespan":
        while True:
            event = await receive()
            stopping = event["type"] == "lifespan.shutdown"
            if stopping:
                await audit.close()
            await send({"type": f"{event['type']}.complete"})
            if stopping:
                return
    async with audit.call(provider="p", model="m", message="hello") as call:
        call.complete(text="answer", input_tokens=1, output_tokens=1, cost_usd="0.0001")
    body = json.dumps({"call_id": call.call_id, "pid": os.getpid()}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


app = AuditMiddleware(application, audit=audit, user=lambda _request: "user_web")

"""Styles and scripts, by addresses that change with their content."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from affidavit.console.assets import FOR_EVER, find

router = APIRouter(include_in_schema=False)


@router.get("/static/{path:path}")
async def static(request: Request, path: str) -> Response:
    """Give a file; open to everybody, since the log-in page needs it."""
    asset = find(path)
    if asset is None:
        return Response("There is no such file.\n", 404, media_type="text/plain")
    headers = {"Cache-Control": FOR_EVER, "ETag": f'"{asset.digest}"', "Vary": "Accept-Encoding"}
    if request.headers.get("If-None-Match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    zipped = "gzip" in request.headers.get("Accept-Encoding", "")
    if zipped:
        headers["Content-Encoding"] = "gzip"
    return Response(asset.zipped if zipped else asset.data, 200, headers, asset.media_type)

"""Styles and scripts, by addresses that change with their content; and the mark of a tab."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from affidavit.console.assets import Asset, assets, find
from affidavit.console.caching import A_DAY, FOR_EVER, has_it, takes_gzip

router = APIRouter(include_in_schema=False)

_WITH_HEAD = ["GET", "HEAD"]


@router.api_route("/static/{path:path}", methods=_WITH_HEAD)
async def static(request: Request, path: str) -> Response:
    """Give a file; open to everybody, since the log-in page needs it."""
    asset = find(path)
    if asset is None:
        return Response("There is no such file.\n", 404, media_type="text/plain")
    return _given(request, asset, FOR_EVER)


@router.api_route("/favicon.ico", methods=_WITH_HEAD)
async def favicon(request: Request) -> Response:
    """Give the mark to whoever looks for it where browsers do, such as beside a problem as JSON."""
    return _given(request, assets()["mark.svg"], A_DAY)


def _given(request: Request, asset: Asset, kept: str) -> Response:
    plain, zipped = f'"{asset.digest}"', f'"{asset.digest}-gzip"'
    packs = takes_gzip(request.headers.get("Accept-Encoding"))
    # Two forms of one file are two tags; whoever has either has the file.
    headers = {
        "Cache-Control": kept,
        "ETag": zipped if packs else plain,
        "Vary": "Accept-Encoding",
    }
    if has_it(request.headers.get("If-None-Match"), plain, zipped):
        return Response(status_code=304, headers=headers)
    if packs:
        headers["Content-Encoding"] = "gzip"
    return Response(asset.zipped if packs else asset.data, 200, headers, asset.media_type)

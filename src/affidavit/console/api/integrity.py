"""``/api/v1/log``: the log's key, checkpoints, tiles and proofs, as tlog clients read them.

Paths and formats are those of c2sp.org/tlog-tiles and c2sp.org/tlog-checkpoint; the log's prefix is
``/api/v1/log``. Nothing here holds what a user or a model wrote.
"""

from __future__ import annotations

import threading
import time
from base64 import b64encode
from hashlib import sha256
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from fastapi.responses import PlainTextResponse, Response

from affidavit.console.api import paging
from affidavit.console.api.calls import backend_of
from affidavit.console.api.problems import bad_request, not_found
from affidavit.console.api.writing import answer
from affidavit.console.caching import FOR_EVER_MINE, has_it
from affidavit.console.doors import Allowed
from affidavit.console.roles import Right
from affidavit.console.threads import run
from affidavit.console.visitor import Visitor
from affidavit.errors import SealError
from affidavit.evidence.place import Prover
from affidavit.integrity.errors import FormatError, IntegrityError
from affidavit.integrity.merkle import HASH_SIZE, consistency_proof, inclusion_proof
from affidavit.integrity.tiles import Tile, TileHashes, width_at

if TYPE_CHECKING:
    from collections.abc import Callable

    from affidavit.console.backend import Backend

router = APIRouter(prefix="/api/v1/log", tags=["integrity"])

FRESH_S: Final = 1.0
"""Seconds for which the newest checkpoint is not asked for again."""

_SHORTLY: Final = "private, max-age=5"
_BINARY: Final = "application/octet-stream"
_MOST_SIZE: Final = 2**53

Size = Annotated[int, Query(ge=0, le=_MOST_SIZE)]


class Proving:
    """The prover at the newest checkpoint, made again once a second at most. For many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: Prover | None = None
        self._at_s = float("-inf")

    def prover(self, backend: Backend) -> Prover:
        """Raises SealError where nothing is sealed; StoreError."""
        with self._lock:
            now_s = time.monotonic()
            if self._made is None or now_s - self._at_s >= FRESH_S:
                self._made, self._at_s = Prover(backend.log.seals), now_s
            return self._made


def _proving_of(request: Request) -> Callable[[], Prover]:
    state = request.app.state
    found: Proving | None = getattr(state, "proving", None)
    if found is None:
        found = state.proving = Proving()
    backend, held = backend_of(request), found
    return lambda: held.prover(backend)


@router.get("/identity", summary="What the log says of itself")
async def identity(request: Request, visitor: Visitor = Allowed(Right.INTEGRITY)) -> Response:
    """Give the log's origin, its first key, and the key of the newest checkpoint."""
    del visitor
    paging.single(request.query_params, ())
    backend = backend_of(request)

    def ask() -> dict[str, Any]:
        seals = backend.log.seals
        found, last = seals.identity(), seals.last_seal()
        if found is None or last is None:
            msg = "Nothing is sealed yet. Run `affidavit seal`, or let the service seal."
            raise SealError(msg)
        return {
            "origin": found.get("origin"),
            "first_vkey": found.get("vkey"),
            "vkey": last.get("vkey"),
            "created_at": found.get("created_at"),
            "size": last.get("size"),
        }

    return answer(await run(ask))


@router.get("/vkey", summary="The key of the newest checkpoint", response_class=PlainTextResponse)
async def vkey(request: Request, visitor: Visitor = Allowed(Right.INTEGRITY)) -> Response:
    """Give the verifier key as text. Compare it with what you know from elsewhere."""
    del visitor
    paging.single(request.query_params, ())
    prover = await run(_proving_of(request))
    return PlainTextResponse(f"{prover.key}\n", headers={"Cache-Control": _SHORTLY})


@router.get("/checkpoint", summary="The newest checkpoint", response_class=PlainTextResponse)
async def checkpoint(request: Request, visitor: Visitor = Allowed(Right.INTEGRITY)) -> Response:
    """Give the newest signed checkpoint, a signed note."""
    del visitor
    paging.single(request.query_params, ())
    prover = await run(_proving_of(request))
    headers = {"Cache-Control": _SHORTLY}
    return PlainTextResponse(prover.checkpoint, headers=headers)


@router.get(
    "/checkpoints",
    summary="List checkpoints",
    openapi_extra=paging.described(paging.PAGES),
)
async def checkpoints(request: Request, visitor: Visitor = Allowed(Right.INTEGRITY)) -> Response:
    """Give the checkpoints from the first on, in pages; each with its size, time and key."""
    del visitor
    given = paging.single(request.query_params, paging.names(paging.PAGES))
    limit = paging.limit_of(given)
    text = paging.cursor_of(given) or "0"
    if not text.isdecimal() or not text.isascii() or len(text) > 15:  # noqa: PLR2004 - digits
        raise paging.wrong("cursor", "is not one that a page gave")
    backend, start = backend_of(request), int(text)

    def ask() -> dict[str, Any]:
        found: list[dict[str, Any]] = []
        for seal in backend.log.seals.seals(start):
            if len(found) == limit:
                return {"rows": found, "next": str(seal["_id"])}
            root = seal.get("root")
            found.append(
                {
                    "k": seal["_id"],
                    "size": seal.get("size"),
                    "root": b64encode(root).decode() if isinstance(root, bytes) else None,
                    "at": seal.get("at"),
                    "vkey": seal.get("vkey"),
                    "checkpoint": seal.get("cp"),
                }
            )
        return {"rows": found, "next": None}

    return answer(await run(ask))


@router.get(
    "/tile/{path:path}",
    summary="One tile of the tree",
    response_class=Response,
    responses={
        200: {"description": "32 bytes for each hash.", "content": {_BINARY: {}}},
        404: {"description": "The tree has no such tile yet."},
    },
)
async def tile(
    request: Request, path: str, visitor: Visitor = Allowed(Right.INTEGRITY)
) -> Response:
    """Give a tile, such as `tile/0/x001/234` or, of a part, `tile/0/000.p/17`.

    A whole tile never changes and may be kept for ever; nor does the part that a path names.
    """
    del visitor
    paging.single(request.query_params, ())
    try:
        wanted = Tile.parse(f"tile/{path}")
    except FormatError as error:
        raise not_found(str(error)) from error
    prover = await run(_proving_of(request))
    width = width_at(wanted.level, wanted.number, prover.size)
    if wanted.width > width:
        raise not_found(f"The tree of {prover.size} leaves has no such tile yet.")
    hashes = await run(prover.tile, wanted.level, wanted.number)
    part = hashes[: wanted.width * HASH_SIZE]
    # Of what it holds: another log may be served at the same address one day.
    tag = f'"{sha256(part).hexdigest()}"'
    headers = {"Cache-Control": FOR_EVER_MINE, "ETag": tag}
    if has_it(request.headers.get("if-none-match"), tag):
        return Response(status_code=304, headers=headers)
    return Response(part, headers=headers, media_type=_BINARY)


@router.get("/inclusion", summary="The proof of one place in the log")
async def inclusion(
    request: Request,
    index: Size,
    size: Annotated[int | None, Query(ge=1, le=_MOST_SIZE)] = None,
    visitor: Visitor = Allowed(Right.INTEGRITY),
) -> Response:
    """Give the hashes that lead from a leaf to the root of a tree; of the newest by default."""
    del visitor
    paging.single(request.query_params, ("index", "size"))
    prover = await run(_proving_of(request))
    tree = _size(size, prover)
    if index >= tree:
        raise bad_request(f"A tree of {tree} leaves has the indexes 0 to {tree - 1}.")
    hashes = TileHashes(tree, _at(prover))
    found = await run(_proof, lambda: inclusion_proof(index, tree, hashes))
    return answer({"index": index, "size": tree, "hashes": found})


@router.get("/consistency", summary="The proof that the log only grew")
async def consistency(
    request: Request,
    old: Annotated[int, Query(ge=1, le=_MOST_SIZE, description="Leaves of the smaller tree.")],
    new: Annotated[int | None, Query(ge=1, le=_MOST_SIZE)] = None,
    visitor: Visitor = Allowed(Right.INTEGRITY),
) -> Response:
    """Give the hashes that show that one tree begins with another; to the newest by default."""
    del visitor
    paging.single(request.query_params, ("old", "new"))
    prover = await run(_proving_of(request))
    tree = _size(new, prover)
    if old > tree:
        raise bad_request(f"old must be {tree} at most: the log only grows.")
    hashes = TileHashes(tree, _at(prover))
    found = await run(_proof, lambda: consistency_proof(old, tree, hashes))
    return answer({"old": old, "new": tree, "hashes": found})


def _size(asked: int | None, prover: Prover) -> int:
    if asked is not None and asked > prover.size:
        raise bad_request(f"The newest checkpoint has {prover.size} leaves.")
    return asked or prover.size


def _at(prover: Prover) -> Callable[[Tile], bytes]:
    """Give tiles of a tree that may be smaller than the newest: a part of each."""
    return lambda tile: prover.tile(tile.level, tile.number)[: tile.width * HASH_SIZE]


def _proof(make: Callable[[], list[bytes]]) -> list[str]:
    try:
        return [b64encode(each).decode() for each in make()]
    except IntegrityError as error:
        msg = f"The log does not hold together there; run `affidavit verify`. {error}"
        raise SealError(msg) from error

"""From a seal back to its leaves, and to what it covers of each writer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from affidavit.errors import SealError
from affidavit.event import Document
from affidavit.integrity.errors import BadBatch
from affidavit.integrity.leaves import from_document, gap_leaf
from affidavit.integrity.merkle import HASH_SIZE
from affidavit.integrity.reader import is_seal
from affidavit.sealer.cover import Cover
from affidavit.store.sealing import SealStore

_FIRST_LOOK = 64


def sound(seal: Document) -> Document:
    """Give a seal back. Raises SealError, which names it, where it has not the form of one."""
    if is_seal(seal):
        return seal
    msg = (
        f"The document {ascii(seal.get('_id'))[:80]} among the seals is no seal: somebody put it "
        "there, or changed it. Nothing is sealed on top of it. `affidavit verify --checkpoint "
        "FILE` with a saved checkpoint says what else was done; then it may be removed."
    )
    raise SealError(msg)


def numbered(seals: Iterable[Document]) -> Iterator[Document]:
    """Give those of the documents that stand where seals stand; raises as :func:`sound`.

    What lies between two whole numbers is in no sealer's way; verification names it.
    """
    return (sound(seal) for seal in seals if isinstance(seal["_id"], int))


def place_of(item: Mapping[str, object]) -> tuple[str, int, int]:
    """Give the writer of an item, and its numbers from and up to."""
    if "gap" in item:
        start = int(item["s0"])  # type: ignore[call-overload]
        return str(item["gap"]), start, start + int(item["n"])  # type: ignore[call-overload]
    writer, _, number = str(item["b"]).rpartition(":")
    start = int(number) + int(item.get("from", 0))  # type: ignore[call-overload]
    return writer, start, start + int(item["n"])  # type: ignore[call-overload]


def note(cover: Cover, item: Mapping[str, object]) -> None:
    """Note in a writer's cover what an item seals of it."""
    _, start, end = place_of(item)
    if "gap" in item:
        cover.add_gap(start, end)
    else:
        cover.add_leaves(start, end)


def leaves_of(store: SealStore, seals: Iterable[Document]) -> list[bytes]:
    """Read the leaves of seals, in the order of the log. Raises SealError where one is missing."""
    found: list[bytes] = []
    for seal in seals:
        items: Sequence[Document] = seal["items"]
        ids = list(dict.fromkeys(item["b"] for item in items if "b" in item))
        hashes = {each["_id"]: _hashes(each) for each in store.batches(ids)}
        for item in items:
            if "gap" in item:
                found.append(gap_leaf(item["gap"], item["s0"], item["n"], item["t"]))
                continue
            start, n = item.get("from", 0), item["n"]
            part = hashes.get(item["b"], b"")[start * HASH_SIZE : (start + n) * HASH_SIZE]
            if len(part) != n * HASH_SIZE:
                msg = (
                    f"The leaf batch {ascii(item['b'])[:80]} is sealed, and is missing or shorter "
                    "now. Run `affidavit verify`."
                )
                raise SealError(msg)
            found += (part[at : at + HASH_SIZE] for at in range(0, len(part), HASH_SIZE))
    return found


def _hashes(document: Document) -> bytes:
    try:
        return from_document(document).h
    except BadBatch:
        return b""


def seals_back_to(store: SealStore, last: Document, start: int) -> list[Document]:
    """Read the seals from the one that holds leaf ``start`` to ``last``, in order."""
    look = _FIRST_LOOK
    while True:
        from_k = max(0, last["_id"] - look)
        seals = list(numbered(_until(store.seals(from_k), last["_id"])))
        if from_k == 0 or (seals and seals[0]["i0"] <= start):
            return [seal for seal in seals if seal["i0"] + seal["n"] > start]
        look *= 4


def leaves_between(store: SealStore, last: Document, start: int, end: int) -> list[bytes]:
    """Read the leaves from ``start`` up to ``end``, out of the seals up to ``last``."""
    if start >= end:
        return []
    seals = [seal for seal in seals_back_to(store, last, start) if seal["i0"] < end]
    if not seals or seals[0]["i0"] > start:
        msg = "A seal is missing in the store. Run `affidavit verify`."
        raise SealError(msg)
    leaves = leaves_of(store, seals)
    skip = start - seals[0]["i0"]
    return leaves[skip : skip + end - start]


def _until(seals: Iterator[Document], k: int) -> Iterator[Document]:
    for seal in seals:
        if seal["_id"] > k:
            return
        yield seal

"""Anchoring the newest checkpoint, and keeping receipts.

A receipt stands among the seals, inserted once and never changed::

    {_id: "anchor:<hash of the anchor's name>:<ms>", anchor, kind, at, origin, size, cp,
     time?, token?, place?, by}

``cp`` is the checkpoint as the anchor has it (with a witness's cosignature), ``token`` a timestamp
authority's whole answer. What failed is ``{_id: "anchor-failure:…", anchor, kind, at, size, text,
by}``. Receipts in the store help to make proofs and to notice trouble; whoever can rewrite the
store can remove them, so what convinces an outsider is what the anchors themselves hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from affidavit.anchors.base import Anchor, AnchorFailed, Newest, Receipt, name_hash
from affidavit.errors import SealError
from affidavit.event import Document
from affidavit.evidence.place import Prover
from affidavit.integrity.checkpoint import Checkpoint, open_checkpoint
from affidavit.integrity.errors import IntegrityError
from affidavit.integrity.merkle import consistency_proof
from affidavit.integrity.note import Note
from affidavit.integrity.tiles import TileHashes
from affidavit.sealer.sealing import this_process
from affidavit.store.sealing import SealStore

RECEIPT: Final = "anchor"
FAILURE: Final = "anchor-failure"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one try."""

    anchor: str
    kind: str
    at: datetime
    size: int
    failure: str | None
    """Why it failed, in words; None where there is a receipt."""
    receipt: Receipt | None


def anchor_newest(store: SealStore, anchors: Iterable[Anchor]) -> list[Outcome]:
    """Hand the newest checkpoint to each anchor, and keep what became of it.

    One that fails does not stop the others. Raises SealError where nothing is sealed yet or the
    newest checkpoint is not what the log's key signed, and StoreError.
    """
    chosen = list(anchors)
    if not chosen:
        return []
    newest = newest_checkpoint(store)
    return [_try(store, newest, each) for each in chosen]


def anchor_due(
    store: SealStore, anchors: Sequence[Anchor], every_s: float, now: datetime | None = None
) -> list[Outcome]:
    """Anchor with those whose last try, by whichever process, is ``every_s`` seconds old.

    Does nothing while nothing is sealed. Raises as :func:`anchor_newest`.
    """
    moment = datetime.now(UTC) if now is None else now
    due = [each for each in anchors if _is_due(store, each, timedelta(seconds=every_s), moment)]
    return anchor_newest(store, due) if due and store.last_seal() is not None else []


def newest_of(store: SealStore, anchor: Anchor, what: str = RECEIPT) -> Document | None:
    """Give an anchor's newest receipt, or its newest failure."""
    return store.newest_receipt(f"{what}:{name_hash(anchor.name)}:")


def _is_due(store: SealStore, anchor: Anchor, every: timedelta, now: datetime) -> bool:
    for what in (RECEIPT, FAILURE):
        found = newest_of(store, anchor, what)
        at = None if found is None else found.get("at")
        if isinstance(at, datetime) and abs(now - at) < every:
            return False
    return True


def newest_checkpoint(store: SealStore) -> Newest:
    """Give the newest checkpoint, as the log's key signed it. Raises SealError and StoreError."""
    prover = Prover(store)
    hashes = TileHashes(prover.size, lambda tile: prover.tile(tile.level, tile.number))
    try:
        checkpoint = open_checkpoint(prover.checkpoint, prover.key).checkpoint
        if checkpoint.size != prover.size:
            raise _broken()
    except IntegrityError as error:
        raise _broken() from error

    def prove(old: int) -> list[bytes]:
        try:
            return consistency_proof(old, checkpoint.size, hashes)
        except (IntegrityError, SealError) as error:
            msg = (
                f"The log cannot prove that it grew from {old} leaves: something in it is missing "
                "or was altered. Run `affidavit verify`."
            )
            raise AnchorFailed(msg) from error

    return Newest(checkpoint, prover.checkpoint, prove)


def _broken() -> SealError:
    msg = "The newest checkpoint is not what the log's key signed. Run `affidavit verify`."
    return SealError(msg)


def _try(store: SealStore, newest: Newest, anchor: Anchor) -> Outcome:
    receipt, failure = None, None
    try:
        known = _known(store, anchor)
        if known is not None:
            newest.check_grown_from(known, f"the receipt of the {anchor.name}")
        receipt = anchor.anchor(newest, known)
    except AnchorFailed as error:
        failure = str(error)
    at = datetime.now(UTC)
    size = newest.checkpoint.size
    document: Document = {
        "_id": f"{FAILURE if receipt is None else RECEIPT}:{name_hash(anchor.name)}:{_ms(at):015d}",
        "anchor": anchor.name,
        "kind": anchor.kind,
        "at": at,
        "size": size,
        "by": this_process("anchor"),
    }
    if receipt is None:
        document["text"] = failure
    else:
        document |= {"origin": newest.checkpoint.origin, "cp": receipt.note}
        more = {"time": receipt.time, "token": receipt.token, "place": receipt.place}
        document |= {name: value for name, value in more.items() if value is not None}
    store.add_receipt(document)
    return Outcome(anchor.name, anchor.kind, at, size, failure, receipt)


def _known(store: SealStore, anchor: Anchor) -> Checkpoint | None:
    """Read the checkpoint of the newest receipt."""
    found = newest_of(store, anchor)
    if found is None:
        return None
    try:
        return Checkpoint.parse(Note.parse(str(found.get("cp"))).text)
    except IntegrityError as error:
        msg = (
            f"The newest receipt of the {anchor.name} in the store was altered. Run `affidavit "
            "verify --checkpoint FILE` with a checkpoint from outside."
        )
        raise AnchorFailed(msg) from error


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)

"""Where a record stands in the log, and the proof that it stands there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from affidavit.errors import SealError
from affidavit.integrity.errors import IntegrityError
from affidavit.integrity.merkle import inclusion_proof, perfect_root, split
from affidavit.integrity.note import VerifierKey
from affidavit.integrity.proof import Proof, check_proof
from affidavit.integrity.reader import items_of
from affidavit.integrity.tiles import WIDTH, Tile, TileHashes
from affidavit.sealer.replay import leaves_between, place_of, sound
from affidavit.store.sealing import SealStore


def index_of(store: SealStore, writer: str, seq: int) -> int | None:
    """Find the leaf of a writer's number; None where it is not sealed."""
    for seal in store.seals_of(writer):
        if not isinstance(seal.get("i0"), int):
            continue  # no seal: verification names it
        index = int(seal["i0"])
        for item in items_of(seal):
            of, start, end = place_of(item)
            if "b" in item and of == writer and start <= seq < end:
                return index + seq - start
            index += 1 if "gap" in item else int(item["n"])
    return None


class Prover:
    """Makes proofs that lead to the newest checkpoint; tiles are read once."""

    def __init__(self, store: SealStore) -> None:
        """Raises SealError where nothing is sealed yet."""
        last = store.last_seal()
        if last is None:
            msg = "Nothing is sealed yet, so nothing can be proved. Run `affidavit seal --once`."
            raise SealError(msg)
        self._store, self._last = store, sound(last)
        self.size = int(last["size"])
        self.checkpoint = str(last["cp"])
        self.key = VerifierKey.parse(str(last["vkey"]))
        """The key that signed the newest checkpoint; what the store says of it."""
        by = last.get("by")
        self.sealed_by = str(by.get("where")) if isinstance(by, Mapping) else "unknown"
        """Where the sealer worked: ``service``, ``command`` or ``in-process``."""
        self._hashes = TileHashes(self.size, self._tile)

    def prove(self, index: int, leaf: bytes) -> Proof:
        """Prove that a leaf stands at its place, and check the proof before it is given away.

        Raises SealError where the log does not hold together there.
        """
        try:
            hashes = inclusion_proof(index, self.size, self._hashes)
            proof = Proof(index, tuple(hashes), self.checkpoint)
            check_proof(proof, leaf, self.key)
        except IntegrityError as error:
            msg = (
                f"The proof of leaf {index} does not hold: the record or the log was altered. "
                f"Run `affidavit verify`. {error}"
            )
            raise SealError(msg) from error
        return proof

    def tile(self, level: int, number: int) -> bytes:
        """Give the hashes of a tile, whole or not, of the tree at the newest checkpoint."""
        count = self.size >> (8 * level)
        first = number * WIDTH
        width = min(WIDTH, count - first)
        known = self._store.tile(level, number) if width == WIDTH else None
        if known is not None:
            return known
        if level == 0:
            return b"".join(leaves_between(self._store, self._last, first, first + width))
        below = [self.tile(level - 1, first + at) for at in range(width)]
        return b"".join(perfect_root(split(data)) for data in below)

    def _tile(self, tile: Tile) -> bytes:
        return self.tile(tile.level, tile.number)


def numbered(document: Mapping[str, Any]) -> tuple[str, int] | None:
    """Give writer and number of a stored record, or None where it has none."""
    writer, seq = document.get("writer"), document.get("seq")
    if isinstance(writer, str) and isinstance(seq, int):
        return writer, int(seq)
    return None

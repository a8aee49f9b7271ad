"""What proving the log costs: the writer for each record, the sealer for each leaf, and one proof.

Nothing here touches a database. *Writer*: drawing the seed, and making commitments, entry and leaf
of the two records of a call of 1.7 KB, as they are just before they are stored; processor time.
*Sealing*: adding leaves in batches of 1,000, with every whole tile hashed and one root for each
10,000 leaves. *Proof*: made from tiles, written as text, read, and checked down to the signature.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from typing import Any, Final

import bson

from affidavit import canonical
from affidavit.integrity import merkle
from affidavit.integrity.checkpoint import Checkpoint, sign_checkpoint
from affidavit.integrity.note import Signer
from affidavit.integrity.proof import Proof, check_proof
from affidavit.integrity.tiles import Growth, Tile, TileHashes
from affidavit.testing import capture_events
from bench.measure import Effort, median, progress
from bench.report import Figure
from bench.workload import Workload

RECORD_LIMIT_US: Final = 15.0
SEALING_LIMIT: Final = 100_000
PROOF_LIMIT_MS: Final = 1.0
PROMPT: Final = 1350
ANSWER: Final = 1150
"""Characters that make each of the two records 1.7 KB of BSON."""

_BATCH: Final = 1000
_SEAL: Final = 10_000
_CALLS: Final = 200


def run(effort: Effort) -> list[Figure]:
    """Measure the three."""
    repeats = effort.of(40, 15, 2)
    progress("integrity: entry and leaf of a record")
    figures = [_writer(repeats)]
    count = effort.of(1_000_000, 200_000, 3_000)
    progress(f"integrity: sealing {count:,} leaves")
    figure, tiles, root = _sealing(count)
    progress("integrity: one proof")
    return [*figures, figure, _proof(count, tiles, root, effort.of(500, 100, 5))]


def records() -> list[dict[str, Any]]:
    """Records as the writer has them just before it stores them; intents and outcomes in turn."""
    work = Workload(prompt=PROMPT, answer=ANSWER, pool=_CALLS)
    with capture_events() as captured:
        for _ in range(_CALLS):
            work.call(captured.audit)
        return captured.records


def _writer(repeats: int) -> Figure:
    made = records()
    sizes = [len(bson.encode(record)) for record in made]
    each_us = {}
    for kind in ("llm_request", "llm_response"):
        of_kind = [record for record in made if record["event_type"] == kind]
        each_us[kind] = min(_took_us(of_kind) for _ in range(repeats))
    mean_us = sum(each_us.values()) / len(each_us)
    return Figure(
        "integrity.writer",
        "writer's time for seed, commitments, entry and leaf of a record",
        mean_us,
        "µs",
        target=f"≤ {RECORD_LIMIT_US:g} µs",
        met=mean_us <= RECORD_LIMIT_US,
        note=f"mean of intent {each_us['llm_request']:.1f} and outcome "
        f"{each_us['llm_response']:.1f} µs, {sum(sizes) / len(sizes) / 1000:.1f} KB each; "
        f"best of {repeats}",
    )


def _took_us(made: list[dict[str, Any]]) -> float:
    started = time.process_time_ns()
    for record in made:
        record["salt"] = canonical.new_salt()
        canonical.leaf_of(record, "records")
    return (time.process_time_ns() - started) / len(made) / 1000


def _sealing(count: int) -> tuple[Figure, dict[Tile, bytes], bytes]:
    leaves = [sha256(number.to_bytes(8, "big")).digest() for number in range(count)]
    tiles: dict[Tile, bytes] = {}
    growth, root = Growth(), b""
    started_s = time.perf_counter()
    for at in range(0, count, _BATCH):
        tiles.update(growth.extend(leaves[at : at + _BATCH]))
        if growth.size % _SEAL == 0 or growth.size == count:
            root = growth.root()
    rate = count / (time.perf_counter() - started_s)
    for level, hashes in enumerate(growth.partial):
        if hashes:
            tiles[Tile(level, (count >> 8 * level) // 256, len(hashes))] = b"".join(hashes)
    figure = Figure(
        "integrity.sealing",
        "leaves sealed, the tree alone",
        rate,
        "leaves/s",
        target=f"≥ {SEALING_LIMIT:,} leaves/s",
        met=rate >= SEALING_LIMIT,
        note=f"{count:,} leaves, with all tiles, a root for each {_SEAL:,}",
    )
    return figure, tiles, root


def _proof(size: int, tiles: dict[Tile, bytes], root: bytes, repeats: int) -> Figure:
    signer = Signer("bench/log")
    signed = sign_checkpoint(Checkpoint("bench/log", size, root), signer)
    step = max(1, size // repeats)

    def make(index: int) -> str:
        hashes = merkle.inclusion_proof(index, size, TileHashes(size, tiles.__getitem__))
        return Proof(index, tuple(hashes), signed).text()

    def check(index: int, text: str) -> None:
        leaf = sha256(index.to_bytes(8, "big")).digest()
        check_proof(Proof.parse(text), leaf, signer.key)

    making, checking = [], []
    for index in range(0, step * repeats, step):
        text = make(index)
        making.append(_ms(partial(make, index)))
        checking.append(_ms(partial(check, index, text)))
    made_ms, checked_ms = median(making), median(checking)
    return Figure(
        "integrity.proof",
        "one proof made from tiles and verified",
        made_ms + checked_ms,
        "ms",
        target=f"< {PROOF_LIMIT_MS:g} ms",
        met=made_ms + checked_ms < PROOF_LIMIT_MS,
        note=f"making {made_ms:.2f}, verifying with its signature {checked_ms:.2f} ms; "
        f"{size:,} leaves, tiles in memory",
    )


def _ms(what: Callable[[], object]) -> float:
    started_s = time.perf_counter()
    what()
    return (time.perf_counter() - started_s) * 1000

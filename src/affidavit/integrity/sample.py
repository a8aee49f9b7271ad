"""Whether one seal fits, looked at by itself: its tree, its leaves, its records. A quick look only.

What does not fit here need not be wrong (a loss may be explained elsewhere in the log): it is a
reason to verify the whole.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

from affidavit.integrity.checkpoint import open_checkpoint
from affidavit.integrity.compare import compare
from affidavit.integrity.errors import IntegrityError
from affidavit.integrity.excuses import CLOCK_MS
from affidavit.integrity.leaves import check, from_document, gap_leaf
from affidavit.integrity.merkle import HASH_SIZE, Frontier
from affidavit.integrity.note import VerifierKey
from affidavit.integrity.places import Span
from affidavit.integrity.reader import Reader, is_seal, items_of
from affidavit.integrity.retention import horizon_ms
from affidavit.integrity.told import rule_in


def fits(reader: Reader, key: VerifierKey, k: int, now_ms: int) -> bool:
    """Whether the seal ``k`` follows from the one before, and its records from its leaves.

    A seal of before the key was changed passes unseen. Raises what the reader raises.
    """
    pair = list(islice(reader.seals(max(k - 1, 0)), 2 if k else 1))
    if not all(map(is_seal, pair)):
        return False
    if any(seal.get("vkey") != str(key) for seal in pair):
        return True
    try:
        return _follows(reader, key, pair, now_ms) if len(pair) == (2 if k else 1) else False
    except (IntegrityError, KeyError, TypeError, ValueError):
        return False


def _follows(reader: Reader, key: VerifierKey, pair: list[dict[str, Any]], now_ms: int) -> bool:
    seal, tree = pair[-1], Frontier()
    if len(pair) > 1:
        before = open_checkpoint(pair[0]["cp"], key).checkpoint
        tree = Frontier(before.size, [bytes(value) for value in pair[0]["frontier"]])
        if tree.root() != before.root:
            return False
    held = {
        each["_id"]: each for each in reader.batches([i["b"] for i in items_of(seal) if "b" in i])
    }
    spans = []
    for item in items_of(seal):
        if "gap" in item:
            tree.extend([gap_leaf(item["gap"], item["s0"], item["n"], item["t"])])
            continue
        batch = from_document(held[item["b"]])
        check(batch)
        start, n = item.get("from", 0), item["n"]
        h, index = batch.h[start * HASH_SIZE : (start + n) * HASH_SIZE], tree.size
        tree.extend([h[at : at + HASH_SIZE] for at in range(0, len(h), HASH_SIZE)])
        times_ms, classes = batch.times_ms[start : start + n], batch.k[start : start + n]
        spans.append(Span(batch.w, batch.s0 + start, n, h, times_ms, classes, index))
    said = open_checkpoint(seal["cp"], key).checkpoint
    if (said.size, said.root) != (tree.size, tree.root()):
        return False
    rules = [rule for each in reader.ledger("setup") if (rule := rule_in(each)) is not None]
    horizon = horizon_ms(rules, now_ms)
    seen = compare(reader, spans, None if horizon is None else horizon + CLOCK_MS)
    return not (seen.gone or seen.altered or seen.unsealed)

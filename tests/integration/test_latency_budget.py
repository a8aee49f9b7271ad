"""What auditing adds to a call, held against the document's own budget: 15 ms, 1.25 % of 1,200 ms.

The benchmark measures it exactly; this is the alarm that rings when a change makes it worse by an
order. Calls with and without auditing take turns, so that a busy machine slows both.
"""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

import pytest

from affidavit import AuditLogger
from tests.support.worker import MODES

if TYPE_CHECKING:
    from pathlib import Path

BUDGET_MS = 15.0
PAIRS = 30
MODEL_S = 0.03
"""Shorter than a real answer: what auditing adds does not depend on it."""

TEXT = "Analyze BTCUSDT and say what the indicators mean. " * 35


def took_ms(audit: AuditLogger | None) -> float:
    """One call, audited or not."""
    start = time.perf_counter()
    if audit is None:
        time.sleep(MODEL_S)
    else:
        with audit.call(provider="p", model="m", message=TEXT, user_id="u") as call:
            time.sleep(MODEL_S)
            call.complete(text=TEXT, input_tokens=750, output_tokens=500, cost_usd="0.045")
    return (time.perf_counter() - start) * 1000


@pytest.mark.serial
@pytest.mark.requirement("R22", "R8")
@pytest.mark.parametrize("mode", MODES)
def test_auditing_adds_less_to_a_call_than_the_documents_budget(
    mongodb_uri: str, tmp_path: Path, mode: str
) -> None:
    """The median of paired differences, in every mode; both records are stored at the end."""
    with AuditLogger(mongodb_uri, spool_dir=str(tmp_path), **MODES[mode]) as audit:
        for _ in range(5):  # connections, first batches
            took_ms(audit)
        added = [took_ms(audit) - took_ms(None) for _ in range(PAIRS)]
        assert audit.flush(20)
        assert audit.stats().stored == 2 * (5 + PAIRS)
    assert statistics.median(added) < BUDGET_MS, sorted(added)

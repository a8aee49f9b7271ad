"""However a process ends without being killed, its records are in the database."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pymongo.database import Database

PROGRAM = """
import signal, sys, time
from affidavit import AuditConfig, AuditLogger
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
# A disk may stall for seconds; that the rest then waits in the spool is told by other tests.
audit = AuditLogger(
    sys.argv[1], AuditConfig.high_volume(separate_database=False, write_timeout=30.0)
)
for _ in range(200):
    with audit.call(provider="p", message="hi") as call:
        call.complete(text="x")
print("recorded", flush=True)
{end}
"""

ENDS = {
    "falls off the end": "",
    "calls sys.exit": "sys.exit(3)",
    "raises": "raise RuntimeError('boom')",
    "is interrupted": "time.sleep(30)",
}


@pytest.mark.requirement("R6", "R12")
@pytest.mark.parametrize("end", ENDS)
def test_interpreter_exit_drains(end: str, mongodb_uri: str, database: Database[Any]) -> None:
    """No close(), no signal handler: 200 calls of the high-volume mode are all there."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(end=ENDS[end]), mongodb_uri],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"recorded\n"
    if end == "is interrupted":
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
    try:
        process.wait(30)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert database.llm_audit.count_documents({}) == 400
    kinds = [d["event_type"] for d in database.llm_audit_ledger.find().sort("seq")]
    assert kinds[-1] == "writer_stop"

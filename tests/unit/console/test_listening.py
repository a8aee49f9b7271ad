"""The port that the service listens on."""

from __future__ import annotations

import socket

import pytest

from affidavit.console.config import ServeConfig
from affidavit.console.listen import listening

pytestmark = pytest.mark.requirement("R28")


def test_small_answers_are_sent_at_once() -> None:
    """Only for a socket that names its protocol asyncio does so; else each would wait 40 ms."""
    with listening(ServeConfig(port=0)) as sock:
        assert sock.proto == socket.IPPROTO_TCP

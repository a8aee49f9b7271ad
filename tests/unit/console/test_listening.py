"""The port that the service listens on."""

from __future__ import annotations

import socket

import pytest

from affidavit.console.config import ServeConfig
from affidavit.console.listen import listening
from affidavit.errors import ConfigError

pytestmark = pytest.mark.requirement("R28")


def test_small_answers_are_sent_at_once() -> None:
    """Only for a socket that names its protocol asyncio does so; else each would wait 40 ms."""
    with listening(ServeConfig(port=0)) as sock:
        assert sock.proto == socket.IPPROTO_TCP


def test_whoever_connects_before_the_service_answers_waits_for_it() -> None:
    """The address is told then; a connection that was refused would look like no service."""
    with (
        listening(ServeConfig(port=0)) as sock,
        socket.create_connection(sock.getsockname()) as one,
    ):
        accepted, address = sock.accept()
        with accepted:
            assert address == one.getsockname()


def test_a_port_that_was_opened_is_taken() -> None:
    """Also while it does not answer yet: a second service says so, and does not come up half."""
    with (
        listening(ServeConfig(port=0)) as sock,
        pytest.raises(ConfigError, match="cannot be opened"),
        listening(ServeConfig(port=sock.getsockname()[1])),
    ):
        pass

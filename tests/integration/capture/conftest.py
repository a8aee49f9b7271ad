"""The canned provider and a logger for the tests of captured clients."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from affidavit.testing import Captured, capture_events
from tests.support.provider import Provider

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def provider() -> Iterator[Provider]:
    """A provider of one's own: its ids begin at one."""
    with Provider() as running:
        yield running


@pytest.fixture
def captured() -> Iterator[Captured]:
    """A logger that records into memory."""
    with capture_events() as running:
        yield running

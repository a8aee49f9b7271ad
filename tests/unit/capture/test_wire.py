"""From the bytes of a stream to its events, however the network cut them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affidavit._capture.wire import DONE, AwsEventStream, ServerSentEvents
from tests.support.provider_anthropic import _frame

pytestmark = pytest.mark.requirement("R1")

TEXTS = st.lists(st.text(max_size=20), min_size=1, max_size=6)
ENDINGS = st.sampled_from([b"\n", b"\r\n", b"\r"])


def cut(data: bytes, at: list[int]) -> list[bytes]:
    """The bytes in pieces, cut at these places."""
    places = sorted({place % (len(data) + 1) for place in at})
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


@given(TEXTS, ENDINGS, st.lists(st.integers(0, 10_000), max_size=12))
def test_events_come_whole_wherever_they_were_cut(
    texts: list[str], ending: bytes, at: list[int]
) -> None:
    """Every cut, also within a character or a line's end, gives the same events."""
    data = b"".join(
        b"event: e" + ending + b"data: " + json.dumps({"t": text}).encode() + ending + ending
        for text in texts
    )
    reader = ServerSentEvents()
    found = [event for piece in cut(data + b"data: [DONE]\n\n", at) for event in reader.feed(piece)]
    assert found == [*(("e", {"t": text}) for text in texts), (None, DONE)]


@given(TEXTS, st.lists(st.integers(0, 10_000), max_size=12))
def test_frames_come_whole_wherever_they_were_cut(texts: list[str], at: list[int]) -> None:
    """The same for AWS's binary frames."""
    data = b"".join(_frame({"t": text}) for text in texts)
    reader = AwsEventStream()
    found = [event for piece in cut(data, at) for event in reader.feed(piece)]
    assert found == [(None, {"t": text}) for text in texts]


@given(st.lists(st.binary(max_size=64), max_size=8))
def test_noise_gives_no_event_and_no_error(pieces: list[bytes]) -> None:
    """What is no stream of events is read as none."""
    for reader in (ServerSentEvents(), AwsEventStream()):
        for piece in pieces:
            for _, chunk in reader.feed(piece):
                assert chunk is DONE or not isinstance(chunk, bytes)


def test_data_of_several_lines_is_one_event() -> None:
    """Comments and unknown fields are skipped, lines of data are joined."""
    data = b': hello\nid: 7\nretry: 3\ndata: {"a":\ndata: 1}\n\ndata: broken {\n\n'
    assert list(ServerSentEvents().feed(data)) == [(None, {"a": 1})]

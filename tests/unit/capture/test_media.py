"""Binary content is described, and everything else stays as it is."""

from __future__ import annotations

import base64
import hashlib
import io
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affidavit._capture import generic, limits
from affidavit._capture.files import files_of
from affidavit._capture.media import strip

pytestmark = pytest.mark.requirement("R1")

DATA = b"\x89PNG" + bytes(range(200))
TEXT = base64.b64encode(DATA).decode()
URL = f"data:image/png;base64,{TEXT}"
HASH = hashlib.sha256(DATA).hexdigest()

PARTS: dict[str, tuple[Any, str, str | None]] = {
    "chat image": ({"type": "image_url", "image_url": {"url": URL}}, "image", "image/png"),
    "response image": ({"type": "input_image", "image_url": URL}, "image", "image/png"),
    "screenshot": ({"type": "computer_screenshot", "image_url": URL}, "image", "image/png"),
    "sound": (
        {"type": "input_audio", "input_audio": {"data": TEXT, "format": "wav"}},
        "audio",
        "audio/wav",
    ),
    "chat file": ({"type": "file", "file": {"file_data": URL}}, "file", "image/png"),
    "response file": ({"type": "input_file", "file_data": TEXT}, "file", None),
    "anthropic image": (
        {"type": "image", "source": {"type": "base64", "media_type": "image/gif", "data": TEXT}},
        "image",
        "image/gif",
    ),
    "anthropic document": (
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": TEXT},
        },
        "document",
        "application/pdf",
    ),
    "generated": ({"type": "image_generation_call", "result": TEXT}, "image", None),
    "spoken": ({"data": TEXT, "transcript": None}, "audio", None),
}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=20,
)


@pytest.mark.parametrize("name", PARTS)
def test_each_form_of_binary_content_is_described(name: str) -> None:
    """Kind, SHA-256, size and type where it is known."""
    part, kind, media_type = PARTS[name]
    said = strip({"content": [{"deeper": [part]}]})["content"][0]["deeper"][0]
    assert said["type"] == kind
    assert said["sha256"] == HASH
    assert said["bytes"] == len(DATA)
    assert said.get("media_type") == media_type
    assert TEXT not in str(said)


def test_links_are_kept() -> None:
    """A picture that is only pointed at has no bytes to leave out."""
    part = {"type": "image_url", "image_url": {"url": "https://example.com/chart.png"}}
    assert strip(part) == part


@given(JSON)
def test_json_without_binary_content_stays_as_it_is(value: Any) -> None:
    """Stripping is a copy, and gives the same again."""
    assert strip(strip(value)) == strip(value)
    if "data:" not in str(value):
        assert strip(value) == value


def test_what_is_no_base64_is_hashed_as_text() -> None:
    """Nothing raises, and the text itself is not kept."""
    said = strip({"b64_json": "no base64 at äll"})["b64_json"]
    assert said["encoding"] == "text"
    assert "äll" not in str(said)


def test_files_are_described_and_can_be_read_again() -> None:
    """Open files stay where they were; what can be read only once is not touched."""
    opened = io.BytesIO(b"head" + DATA)
    opened.seek(4)
    once = iter([b"a"])
    options = SimpleNamespace(
        files=[
            ("a", ("name.png", DATA, "image/png")),
            ("b", opened),
            ("c", once),
            ("d", (None, "text")),
        ],
        content=b"raw",
    )
    first, second, third, fourth, fifth = files_of(options)
    assert first == {
        "field": "a", "type": "file", "sha256": HASH, "bytes": len(DATA),
        "media_type": "image/png", "filename": "name.png",
    }  # fmt: skip
    assert (second["sha256"], second["bytes"]) == (HASH, len(DATA))
    assert opened.read() == DATA
    assert third == {"field": "c", "type": "file"}
    assert list(once) == [b"a"]
    assert fourth["bytes"] == 4
    assert (fifth["field"], fifth["bytes"]) == ("content", 3)


def test_the_limit_that_is_used_up_is_named() -> None:
    """Of several limits, the one with least left counts; figures are as they were told."""
    headers = {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "30",
        "x-ratelimit-limit-tokens": "1000",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": "6m0s",
        "retry-after": "12",
    }
    pattern = "x-ratelimit-{field}-{what}"
    assert limits.read(headers, pattern, ("requests", "tokens")) == {
        "limit_type": "tokens", "limit": 1000, "remaining": 0, "reset": "6m0s", "retry_after": 12,
    }  # fmt: skip
    assert limits.read({}, pattern, ("requests",)) == {"limit_type": "unknown"}
    assert limits.read({"retry-after": "soon"}, pattern, ()) == {
        "limit_type": "unknown", "retry_after": "soon",
    }  # fmt: skip


def test_a_batch_is_summed_up() -> None:
    """How many ended how, and what they used; a file of another kind is no batch."""
    body = (
        b'{"custom_id":"a","result":{"type":"succeeded","message":{"usage":{"input_tokens":3}}}}\n'
        b'{"custom_id":"b","result":{"type":"errored"}}\n'
        b'{"custom_id":"c","response":{"status_code":200,"body":{"usage":{"input_tokens":4}}}}\n'
    )
    assert generic.results(body) == {
        "batch_results": {"succeeded": 2, "errored": 1},
        "batch_usage": {"input_tokens": 7},
    }
    assert generic.results(b'{"a": 1}\n') == {}
    assert generic.results(b'{"a": 1') == {}


def test_a_large_answer_is_kept_by_its_names() -> None:
    """Beyond 64 KiB, lists and objects give way to their size."""
    answer = generic.read({"id": "x", "data": ["a" * 1000] * 100, "more": {"b": 1}})
    assert answer.response_id == "x"
    assert answer.extra["body"]["data"] == "[a list of 100]"
    assert answer.extra["body_bytes"] > 64 * 1024

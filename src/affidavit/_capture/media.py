"""Pictures, sound and files are recorded by hash, type and size, never by their bytes. Pure."""

from __future__ import annotations

import hashlib
import re
from binascii import Error, a2b_base64
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import unquote, unquote_to_bytes

MAX_DEPTH: Final = 40
"""Levels of a body that are looked at; what lies deeper is left to the snapshot."""

_HEAD: Final = re.compile(
    r"\s*data:([\w.+-]+/[\w.+*-]+)?((?:;\s*[\w.+-]+\s*(?:=(?:\"[^\"]*\"|[^;,\"]*))?)*),",
    re.IGNORECASE,
)
"""The head of a data URL: its type, and its parameters, of which ``base64`` is the last."""

_MAY_BEGIN: Final = frozenset("dD \t\r\n")
_BINARY: Final = re.compile(r"(?:image|audio|video|font|application)/", re.IGNORECASE)
_SETTING: Final = r"(?:;[\w.+-]{1,64}(?:=[^;,\s\"']{0,512})?){0,8}"
_INSIDE: Final = re.compile(
    rf"data:(?:[\w.+-]{{1,99}}\\?/[\w.+-]{{1,99}})?{_SETTING};base64,"
    r"[\w+/=%\\-]+(?:[ \t]*\r?\n[ \t]*[\w+/=]{20,})*"
    rf"|data:(?:image|audio|video|font)\\?/[\w.+-]{{1,99}}{_SETTING},"
    r"(?:\s{0,99}<svg(?:(?!data:).)*?</svg>|[^\s\"'<>)\]]+)",
    re.IGNORECASE | re.DOTALL,
)
"""A data URL inside a text: one in base64, or a picture that is written out. Every count has
an end, and none can be read in two ways: a text may be made to take long."""

_BY_KEY: Final = {
    "b64_json": "image",
    "partial_image_b64": "image",
    "file_data": "file",
    "input_audio": "audio",
}
"""Fields whose value is content in base64, wherever they stand."""

_NAMES: Final = {"image_url": "image", "input_image": "image", "input_file": "file"}
_KEPT: Final = ("filename", "title", "detail", "cache_control", "file_id", "id", "transcript")


def strip(value: Any, depth: int = 0) -> Any:
    """Copy JSON with every piece of binary content replaced by its description."""
    kind = type(value)
    if kind is str:
        return _data_url(value, None) or text(value)
    if depth > MAX_DEPTH:
        return value
    if kind is dict:
        return _object(value, depth)
    if kind is list or kind is tuple:
        return [strip(item, depth + 1) for item in value]
    if isinstance(value, bytes | bytearray | memoryview):
        return describe(bytes(value), "file", None)
    dump = getattr(value, "model_dump", None)  # what an SDK hands back may be sent again as it is
    return strip(dump(exclude_unset=True), depth + 1) if callable(dump) else value


def describe(data: bytes, kind: str, media_type: str | None) -> dict[str, Any]:
    """Say what binary content is: its kind, SHA-256, size in bytes and type where known."""
    said = {"type": kind, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    if media_type:
        said["media_type"] = media_type
    return said


def turns(messages: Any) -> list[Any] | None:
    """Copy a conversation; turns that are plain text are taken as they are."""
    if not isinstance(messages, list | tuple):
        return None
    copy = []
    for turn in messages:
        content = turn.get("content") if type(turn) is dict else None
        if type(content) is str and "audio" not in turn:
            if "data:" in content or "Data:" in content or "DATA:" in content:
                turn = {**turn, "content": strip(content)}  # noqa: PLW2901 - a copy of the turn
            copy.append(turn)
        else:
            copy.append(strip(turn))
    return copy


def _object(value: dict[str, Any], depth: int) -> Any:
    found = _part(value)
    if found is not None:
        return found
    copy = {}
    for name, item in value.items():
        kind = _BY_KEY.get(name)
        if kind is not None and type(item) is str:
            copy[name] = _data_url(item, kind) or _base64(item, kind, None)
        else:
            copy[name] = strip(item, depth + 1)
    return copy


def _part(value: dict[str, Any]) -> dict[str, Any] | None:
    """Describe a part of a turn that is binary content; None for any other object."""
    kind = value.get("type")  # in a schema it may be a list
    reader = _PARTS.get(kind) if type(kind) is str else None
    said = reader(value) if reader is not None else None
    if said is None:
        said = _typed(value)
    if said is None and type(value.get("data")) is str and "transcript" in value:
        said = _base64(value["data"], "audio", None)  # what a model spoke
    if said is None:
        return None
    for name in _KEPT:
        if name in value and value[name] is not None:
            said[name] = value[name]
    return said


def _typed(value: dict[str, Any]) -> dict[str, Any] | None:
    """Content beside its type, as in the Model Context Protocol; text stays text."""
    data = value.get("data", value.get("blob"))
    if type(data) is not str or value.get("type") == "text":
        return None
    media_type = value.get("mimeType", value.get("mime_type", value.get("media_type")))
    if type(media_type) is not str:
        return None
    family = media_type.partition("/")[0].lower()
    if family == "text":
        return None
    return _base64(data, family if family in {"image", "audio", "video"} else "file", media_type)


def _source(value: dict[str, Any]) -> dict[str, Any] | None:
    """Anthropic's image and document."""
    source = value.get("source")
    if type(source) is not dict or source.get("type") != "base64":
        return None
    return _base64(source.get("data"), value["type"], source.get("media_type"))


def _image_url(value: dict[str, Any]) -> dict[str, Any] | None:
    url = value.get("image_url")
    if type(url) is dict:
        said = _data_url(url.get("url"), "image")
        if said is not None and url.get("detail"):
            said["detail"] = url["detail"]
        return said
    return _data_url(url, "image")


def _input_audio(value: dict[str, Any]) -> dict[str, Any] | None:
    audio = value.get("input_audio")
    if type(audio) is not dict:
        return None
    form = audio.get("format")
    return _base64(audio.get("data"), "audio", f"audio/{form}" if form else None)


def _file(value: dict[str, Any]) -> dict[str, Any] | None:
    held = value.get("file") if type(value.get("file")) is dict else value
    data = held.get("file_data") if type(held) is dict else None
    if type(data) is not str or type(held) is not dict:
        return None
    said = _data_url(data, "file") or _base64(data, "file", None)
    if said is not None and held.get("filename"):
        said["filename"] = held["filename"]
    return said


def _generated(value: dict[str, Any]) -> dict[str, Any] | None:
    form = value.get("output_format")
    return _base64(value.get("result"), "image", f"image/{form}" if form else None)


_PARTS: Final[dict[str, Callable[[dict[str, Any]], dict[str, Any] | None]]] = {
    "image": _source,
    "document": _source,
    "image_url": _image_url,
    "input_image": _image_url,
    "computer_screenshot": _image_url,
    "input_audio": _input_audio,
    "file": _file,
    "input_file": _file,
    "image_generation_call": _generated,
}


def _data_url(url: Any, kind: str | None) -> dict[str, Any] | None:
    if type(url) is not str or url[:1] not in _MAY_BEGIN:
        return None
    head = _HEAD.match(url)
    if head is None:
        return None
    media_type, parameters = head.group(1) or "", (head.group(2) or "").lower()
    is_base64 = parameters.rstrip().endswith("base64")
    if kind is None:
        if not is_base64 and not _BINARY.match(media_type):
            return None  # perhaps somebody's words
        family = media_type.partition("/")[0]
        kind = family if family in {"image", "audio", "video"} else "file"
    if not is_base64:
        return describe(unquote_to_bytes(url[head.end() :]), kind, media_type)
    return _base64(unquote(url[head.end() :]), kind, media_type)


def text(value: str) -> str:
    """Replace data URLs inside a text, as Markdown and the results of tools have them."""
    if not ("data:" in value or "Data:" in value or "DATA:" in value):
        return value  # one look at each, without a loop: every text comes by here
    return _INSIDE.sub(_said_inside, value)


def _said_inside(match: re.Match[str]) -> str:
    url = match.group().replace("\\/", "/").replace("\\n", "").rstrip("\\")
    said = _data_url(url, None)
    if said is None:
        return match.group()
    tail = match.group()[len(match.group().rstrip("\\")) :]
    return (
        f"[{said.get('media_type', 'file')}, {said['bytes']} bytes, sha256 {said['sha256']}]{tail}"
    )


def _base64(data: Any, kind: str, media_type: Any) -> dict[str, Any] | None:
    if type(data) is not str:
        return None
    try:
        return describe(a2b_base64(data), kind, media_type)
    except (Error, ValueError):  # no base64 after all: the text's own bytes stand for it
        return {**describe(data.encode("utf-8", "replace"), kind, media_type), "encoding": "text"}

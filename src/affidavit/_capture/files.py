"""Files that are uploaded: recorded by name, size and hash. Reads only what can be read again."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, Final

from affidavit._capture.media import describe

MAX_HASHED: Final = 32 * 1024**2
"""Bytes of an open file up to which it is hashed; of a larger one, name and size are recorded."""


def files_of(options: Any) -> list[dict[str, Any]]:
    """Describe the files of a request, and content that is sent as it is."""
    found = []
    sent = getattr(options, "files", None)
    if sent:
        pairs: Iterable[Any] = sent.items() if isinstance(sent, Mapping) else sent
        for name, file in pairs:
            found.append({"field": str(name), **_described(file)})
    content = getattr(options, "content", None)
    if content is not None:
        found.append({"field": "content", **_described(content)})
    return found


def _described(file: Any) -> dict[str, Any]:
    """Describe a file as the SDKs pass it on: its content, or a tuple that begins with its name."""
    name = media_type = None
    if isinstance(file, tuple):
        name, file, *rest = file
        media_type = rest[0] if rest and isinstance(rest[0], str) else None
    if name is None and isinstance(getattr(file, "name", None), str):
        name = os.path.basename(file.name)  # noqa: PTH119 - a text, of a file that need not exist
    said = _content(file, media_type)
    if isinstance(name, str):
        said["filename"] = name
    return said


def _content(file: Any, media_type: str | None) -> dict[str, Any]:
    if isinstance(file, str):
        file = file.encode("utf-8", "replace")
    if isinstance(file, bytes | bytearray | memoryview):
        return describe(bytes(file), "file", media_type)
    said: dict[str, Any] = {"type": "file"}
    if media_type:
        said["media_type"] = media_type
    try:
        here = file.tell()
        size = file.seek(0, os.SEEK_END) - here
        file.seek(here)
        if size <= MAX_HASHED:
            data = file.read()
            file.seek(here)
            if isinstance(data, bytes):
                return describe(data, "file", media_type)
        said["bytes"] = size
    except Exception:
        return said  # a pipe, a generator: it can be read once, and that is the SDK's to do
    return said

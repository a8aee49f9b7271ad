"""Embeddings, images, audio, moderations, and runs of assistants. Pure."""

from __future__ import annotations

from typing import Any

from affidavit._capture import generic
from affidavit._capture.asked import Answer, items, mapping, text_of
from affidavit._capture.media import strip
from affidavit.capture.openai.common import count, head


def read_embeddings(body: dict[str, Any]) -> Answer:
    """Read embeddings: how many of how many numbers, and not the numbers."""
    answer = head(body)
    count(answer, body.get("usage"))
    vectors = items(body.get("data"))
    answer.extra["embeddings"] = len(vectors)
    first = mapping(vectors[0]).get("embedding") if vectors else None
    if isinstance(first, list):
        answer.extra["dimensions"] = len(first)
    elif isinstance(first, str):  # base64 of numbers of four bytes
        answer.extra["dimensions"] = len(first) * 3 // 16
    return answer


def read_images(body: dict[str, Any]) -> Answer:
    """Read generated images, described without their bytes."""
    answer = head(body)
    count(answer, body.get("usage"))
    answer.extra["images"] = strip(items(body.get("data")))
    for name in ("size", "quality", "background", "output_format"):
        if body.get(name) is not None:
            answer.extra[name] = body[name]
    return answer


def read_audio(body: dict[str, Any]) -> Answer:
    """Read a transcription or translation."""
    answer = head(body)
    count(answer, body.get("usage"))
    answer.text = text_of(body.get("text"))
    for name in ("language", "duration"):
        if body.get(name) is not None:
            answer.extra[name] = body[name]
    return answer


def read_moderations(body: dict[str, Any]) -> Answer:
    """Read verdicts of moderation."""
    answer = head(body)
    results = [mapping(result) for result in items(body.get("results"))]
    answer.extra["flagged"] = any(result.get("flagged") is True for result in results)
    answer.extra["results"] = results
    return answer


def read_run(body: dict[str, Any]) -> Answer:
    """Read the run of an assistant."""
    answer = generic.read(body)
    count(answer, body.get("usage"))
    return answer


class RunEvents(generic.Events):
    """The events of an assistant's run: its text, and the usage that the last ones carry."""

    def accumulate(self, event: str | None, chunk: Any) -> bool:
        """Take one event; ``thread.message.delta`` brings text."""
        body = mapping(chunk)
        if event == "thread.message.delta":
            parts = items(mapping(body.get("delta")).get("content"))
            found = [mapping(mapping(part).get("text")).get("value") for part in parts]
            self.pieces += [piece for piece in found if isinstance(piece, str)]
            return True
        return super().accumulate(event, chunk)

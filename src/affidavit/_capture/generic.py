"""Endpoints that no parser knows: their requests and answers as they are, without binary parts."""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec

from affidavit._capture.asked import Answer, Asked, joined, mapping, text_of, whole
from affidavit._capture.media import strip
from affidavit._capture.wire import DONE, decode

MAX_BODY: Final = 64 * 1024
"""Bytes of an answer's JSON that are kept; of a larger one its names and its size."""

OK: Final = 200
_ENDS: Final = (".done", ".completed", ".failed", ".incomplete", ".cancelled", ".expired", ".stop")


def asked(path: str, body: Any) -> Asked:
    """Read a request; its operation is the first word of its path."""
    words = [word for word in path.split("?", 1)[0].split("/") if word]
    words = words[1:] if words and words[0] == "v1" else words
    found = Asked("generic", words[0] if words else "request")
    if isinstance(body, dict):
        found.model = text_of(body.get("model"))
        parameters = {name: strip(value) for name, value in body.items() if name != "model"}
        found.parameters = parameters or None
    elif body is not None:
        found.fields["input"] = strip(body)
    return found


def read(body: Any) -> Answer:
    """Read an answer: its id, model and usage by their usual names, and all of it if small."""
    answer = Answer()
    kept = strip(body)
    size = _size(kept)
    if isinstance(body, dict):
        answer.response_id, answer.model = text_of(body.get("id")), text_of(body.get("model"))
        count(answer, body.get("usage"))
        if size > MAX_BODY:
            kept = {
                name: f"[a list of {len(value)}]" if isinstance(value, list) else "[left out]"
                for name, value in body.items()
                if isinstance(value, dict | list)
            } | {name: value for name, value in kept.items() if _is_short(value)}
    elif size > MAX_BODY:
        kept = "[left out]"
    if kept is not None:
        answer.extra["body"] = kept
    if size > MAX_BODY:
        answer.extra["body_bytes"] = size
    return answer


def _size(kept: Any) -> int:
    try:
        return len(msgspec.json.encode(kept, enc_hook=str))
    except UnicodeError:  # lone surrogates: the pipeline marks them
        return len(json.dumps(kept, default=str))


def _is_short(value: Any) -> bool:
    return not isinstance(value, dict | list) and len(str(value)) <= 1024  # noqa: PLR2004 - a line or two


def count(answer: Answer, usage: Any) -> None:
    """Note token counts that are told by their usual names."""
    if isinstance(usage, dict):
        answer.usage = usage
        answer.input_tokens = whole(usage.get("input_tokens", usage.get("prompt_tokens")))
        answer.output_tokens = whole(usage.get("output_tokens", usage.get("completion_tokens")))


def results(body: bytes) -> dict[str, Any]:
    """Sum up the results of a batch: how many ended how, and what they used. Else nothing.

    The tokens stand apart from those of the call: the file may be fetched more than once.
    """
    ended: dict[str, int] = {}
    used: dict[str, int] = {}
    try:
        for line in body.split(b"\n"):
            if line:
                _add_result(decode(line), ended, used)
    except (ValueError, RecursionError, KeyError, TypeError):
        return {}
    return {"batch_results": ended, "batch_usage": used} if ended else {}


def _add_result(line: Any, ended: dict[str, int], used: dict[str, int]) -> None:
    """Add one result of Anthropic's or OpenAI's form; KeyError for anything else."""
    line["custom_id"]  # what makes it a batch's
    if "result" in line:
        result = mapping(line["result"])
        how, answer = str(result.get("type")), mapping(result.get("message"))
    else:
        response = mapping(line["response"])
        how = "succeeded" if response.get("status_code") == OK else "errored"
        answer = mapping(response.get("body"))
    ended[how] = ended.get(how, 0) + 1
    for name, count in mapping(answer.get("usage")).items():
        if type(count) is int:
            used[name] = used.get(name, 0) + count


class Events:
    """A stream that no parser knows: texts of its deltas, usage, and its last event."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self._answer = Answer(is_complete=False)
        self._last: Any = None
        self._count = 0

    def accumulate(self, event: str | None, chunk: Any) -> bool:
        """Take one event."""
        if chunk is DONE:
            self._answer.is_complete = True
            return False
        self._count += 1
        body = mapping(chunk)
        name = str(body.get("type") or event or "")
        error = body.get("error")
        if isinstance(error, dict):
            self._answer.error = (str(error.get("type") or "error"), str(error.get("message")))
        count(self._answer, body.get("usage"))
        self._answer.response_id = self._answer.response_id or text_of(body.get("id"))
        self._answer.model = self._answer.model or text_of(body.get("model"))
        if name.endswith(_ENDS):
            self._answer.is_complete = True
        delta = body.get("delta")
        if isinstance(delta, str) and "audio" not in name:
            self.pieces.append(delta)
            return True
        self._last = chunk
        return self._count == 1

    def answer(self) -> Answer:
        """Give what has arrived so far."""
        answer = self._answer
        answer.text = joined(self.pieces)
        answer.extra["events"] = self._count
        if isinstance(self._last, dict) and answer.text is None:
            answer.extra["last_event"] = strip(self._last)
        return answer

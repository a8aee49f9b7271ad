"""What a call used, as prices count it, read from an outcome or from a provider's own usage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

STANDARD: Final = "standard"
"""The tier of a call that nothing else is said of."""

_PLAIN_TIERS: Final = frozenset({"", "auto", "default", "scale", STANDARD})


class Usage(NamedTuple):
    """Numbers of tokens, and of what else is billed by the piece.

    A number includes those that are more exact: ``input`` has the cached and written ones and
    those of every medium in it, ``output`` has the reasoning. So all of them are subsets, as the
    records have them. ``input`` and ``output`` are None where nobody told.
    """

    input: int | None = None
    output: int | None = None
    cache_read: int = 0
    cache_write: int = 0
    """Of the input, written to the provider's cache, however long it is kept."""
    cache_write_1h: int = 0
    """Of ``cache_write``, kept for an hour."""
    reasoning: int = 0
    input_audio: int = 0
    cache_audio_read: int = 0
    output_audio: int = 0
    input_image: int = 0
    cache_image_read: int = 0
    output_image: int = 0
    input_video: int = 0
    output_video: int = 0
    web_searches: int = 0
    requests: int = 1
    tier: str = STANDARD
    """``standard``, ``batch``, ``flex``, ``priority``, ``fast``; others cost what standard does."""
    is_estimated: bool = False
    """The provider did not tell; the numbers are a guess."""

    @property
    def is_known(self) -> bool:
        """Whether any tokens were told."""
        return self.input is not None or self.output is not None


def usage_of(outcome: Mapping[str, Any]) -> Usage:
    """Read the usage of an outcome: its own fields, and what only the provider's usage tells.

    Never raises: what is no whole number from 0 on counts as not told.
    """
    told = outcome.get
    answer = told("response_data")
    if not isinstance(answer, dict):  # asked of Mapping, it would take four times as long
        answer = {}
    raw = answer.get("usage_raw")
    written = answer.get("cache_write_tokens")
    tier = answer.get("service_tier")
    more = _details(raw) if isinstance(raw, dict) else _NOTHING
    return Usage(
        _count(told("input_tokens")),
        _count(told("output_tokens")),
        _count(told("cached_tokens")) or 0,
        _count(written) or more.get("cache_write", 0),
        reasoning=_count(told("reasoning_tokens")) or 0,
        tier=tier_of(tier) if tier is not None else more.get("tier", STANDARD),
        is_estimated=answer.get("usage_estimated") is True,
        **more.get("rest", _NOTHING),
    )


def tier_of(name: Any) -> str:
    """Give a provider's word for how a request was served as the tier of its price."""
    if not isinstance(name, str):
        return STANDARD
    plain = name.lower()
    return STANDARD if plain in _PLAIN_TIERS else plain[:32]


_NOTHING: Final[Mapping[str, Any]] = {}


def _details(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """Read of a provider's own usage what the records have no field for."""
    found: dict[str, Any] = {}
    rest: dict[str, int] = {}
    for name, reading in _PARTS.items():
        part = raw.get(name)
        if part is not None and isinstance(part, dict):
            for said, kind in reading:
                count = _count(part.get(said))
                if count:
                    rest[kind] = count
    searches = _count(raw.get("num_search_queries"))
    if searches:
        rest["web_searches"] = searches
    if raw.get("speed") == "fast":
        found["tier"] = "fast"
    elif raw.get("service_tier") is not None:
        found["tier"] = tier_of(raw["service_tier"])
    written = rest.pop("cache_write", 0)
    if written:
        found["cache_write"] = written
    if rest:
        found["rest"] = rest
    return found


_INPUT_PARTS: Final = (
    ("cache_write_tokens", "cache_write"),
    ("audio_tokens", "input_audio"),
    ("image_tokens", "input_image"),
    ("video_tokens", "input_video"),
)
_OUTPUT_PARTS: Final = (
    ("audio_tokens", "output_audio"),
    ("image_tokens", "output_image"),
    ("video_tokens", "output_video"),
)
_PARTS: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "prompt_tokens_details": _INPUT_PARTS,
    "input_tokens_details": _INPUT_PARTS,
    "completion_tokens_details": _OUTPUT_PARTS,
    "output_tokens_details": _OUTPUT_PARTS,
    "cache_creation": (("ephemeral_1h_input_tokens", "cache_write_1h"),),
    "server_tool_use": (("web_search_requests", "web_searches"),),
}


def _count(value: Any) -> int | None:
    """Take a whole number from 0 on; None for anything else."""
    if type(value) is int:
        return value if value >= 0 else None
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return int(value) if value >= 0 else None

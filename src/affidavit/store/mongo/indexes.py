"""Which indexes there are, and why each is worth its bytes.

Bytes per call are a target, so each index beyond the document's four is partial, and all have
compressed blocks: WiredTiger leaves index blocks uncompressed by default, and zstd was measured to
bring the six indexes of a record from 240 bytes to 70 (200,000 records; `bench/views.py` prints
both). Names of the four are MongoDB's own defaults, so that an older logger that makes sure of
"its" indexes finds them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

ZSTD: Final[dict[str, Any]] = {"wiredTiger": {"configString": "block_compressor=zstd"}}
"""Storage option for collections and indexes; a server that refuses it gets none."""

SECONDS_A_DAY: Final = 86_400

JOINED: Final = ("llm_response", "annotation")
"""Records that are looked up by ``call_id``; the intent is found by its ``_id``."""

CORRECTION: Final = "correction"
"""These are looked up by ``call_id`` too, but by an index of their own: see :func:`of_records`."""


@dataclass(frozen=True, slots=True)
class Index:
    """One wanted index."""

    keys: tuple[tuple[str, int], ...]
    why: str
    unique: bool = False
    partial: Mapping[str, Any] | None = None
    expire_s: int | None = None
    optional: bool = False
    """Left out with ``index_optimization=False``."""
    given_name: str = ""

    @property
    def name(self) -> str:
        """The name, by default the one MongoDB would give."""
        return self.given_name or "_".join(f"{field}_{way}" for field, way in self.keys)

    @property
    def key(self) -> dict[str, int]:
        """The key pattern as MongoDB has it."""
        return dict(self.keys)

    def command(self, collection: str) -> dict[str, Any]:
        """Write the command that makes the index."""
        spec: dict[str, Any] = {"key": self.key, "name": self.name}
        if self.unique:
            spec["unique"] = True
        if self.expire_s is not None:
            spec["expireAfterSeconds"] = self.expire_s
        if self.partial is not None:
            spec["partialFilterExpression"] = dict(self.partial)
            # Only where nobody else makes the same index: an older logger that makes sure of one of
            # the document's four would get code 85 for an option it does not name. Those four take
            # their compression from the collection's defaults.
            spec["storageEngine"] = ZSTD
        return {"createIndexes": collection, "indexes": [spec]}

    def matches(self, found: Mapping[str, Any]) -> bool:
        """Whether an index that exists serves in its place (TTL aside)."""
        return (
            list(found["key"].items()) == list(self.keys)
            and bool(found.get("unique")) == self.unique
            and found.get("partialFilterExpression") == self.partial
            and not found.get("sparse")
            and found.get("collation") is None
        )


def of_records(ttl_days: int) -> tuple[Index, ...]:
    """List the indexes of the records collection: the document's four first."""
    return (
        Index((("user_id", 1), ("timestamp", -1)), "one user's records, newest first"),
        Index((("timestamp", -1),), "all records, newest first"),
        Index((("event_type", 1), ("timestamp", -1)), "one kind of record, newest first"),
        Index(
            (("timestamp", 1),),
            f"MongoDB removes records {ttl_days} days old",
            expire_s=ttl_days * SECONDS_A_DAY,
        ),
        _sequence(),
        Index(
            (("call_id", 1),),
            "joins a call with its outcome and annotations",
            partial={"event_type": {"$in": list(JOINED)}},
        ),
        # Corrections are rare. Adding them to the index above would mean building that one again.
        Index(
            (("call_id", 1), ("effective_at", 1)),
            "joins a call with its corrections",
            partial={"event_type": CORRECTION},
        ),
        Index(
            (("effective_at", 1),),
            "corrections of the calls of a span",
            partial={"event_type": CORRECTION},
        ),
        # Whoever sees a department alone asks for it with every page, however few its calls are.
        *(
            Index(
                ((name, 1), ("timestamp", -1)),
                f"records of one {name}, newest first; holds nothing where records name none",
                partial={name: {"$exists": True}},
                optional=True,
            )
            for name in ("department", "tenant")
        ),
        Index(
            (("said.h", 1),),
            "which request had a text in it; holds nothing without the setting said_key",
            partial={"said.h": {"$exists": True}},
            optional=True,
        ),
        Index(
            (
                ("timestamp", -1),
                ("event_type", 1),
                ("success", 1),
                ("user_id", 1),
                ("department", 1),
                ("response_data.provider_used", 1),
                ("response_data.cost_usd", 1),
            ),
            "sums costs over outcomes without reading a document",
            partial={"success": {"$exists": True}},
            optional=True,
            given_name="outcome_costs",
        ),
    )


def of_ledger() -> tuple[Index, ...]:
    """List the indexes of the ledger; there is no TTL, on purpose."""
    return (
        _sequence(),
        Index((("event_type", 1), ("timestamp", -1)), "one kind of ledger record, newest first"),
    )


HEARTBEAT_TTL_S: Final = 24 * 3600


def of_writers() -> tuple[Index, ...]:
    """List the indexes of the heartbeats."""
    return (
        Index((("at", 1),), "heartbeats are kept for 24 hours", expire_s=HEARTBEAT_TTL_S),
        Index((("writer", 1), ("at", -1)), "the newest heartbeat of each writer"),
    )


def of_service() -> tuple[Index, ...]:
    """List the indexes of what the HTTP service keeps."""
    return (
        Index((("kind", 1), ("made_at", -1)), "what is kept of one kind, newest first"),
        Index((("until", 1),), "what has ended is removed", expire_s=0),
    )


def of_seals() -> tuple[Index, ...]:
    """List the indexes of the seals; they never expire."""
    return (
        Index((("items.b", 1),), "which seal a leaf batch is in"),
        Index((("items.gap", 1),), "the gaps of one writer"),
    )


def of_leaf_batches() -> tuple[Index, ...]:
    """List the indexes of the leaf batches; they never expire."""
    return (
        Index((("sent_at", 1), ("_id", 1)), "the sealer finds what is new, from the index alone"),
        Index((("w", 1), ("s0", 1)), "the batches of one writer, in order"),
    )


def _sequence() -> Index:
    return Index(
        (("writer", 1), ("seq", 1)),
        "no sequence number of a writer is used twice",
        unique=True,
        partial={"seq": {"$exists": True}},
    )

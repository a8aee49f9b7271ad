"""What a sealer's host remembers of the log, and a store that was rolled back knows no more.

One small file beside the keys, for each dataset. It proves nothing to others; it keeps an honest
sealer from signing a second history on top of an older backup.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
from pathlib import Path

from affidavit.errors import SealError
from affidavit.event import Document
from affidavit.spool.owner import default_directory


class Seen:
    """The newest seal that this host made or saw."""

    def __init__(self, dataset: str, folder: Path | None = None) -> None:
        name = hashlib.sha256(dataset.encode()).hexdigest()[:16]
        self.path = (folder or default_directory() / "keys") / f"{name}.seen"

    def check(self, origin: str, last: Document | None) -> None:
        """Raise SealError where the store holds less than was seen, or something else."""
        try:
            known = json.loads(self.path.read_text(encoding="ascii"))
            known_origin, k, root = str(known["origin"]), int(known["k"]), str(known["root"])
        except (OSError, ValueError, KeyError, TypeError):
            return  # nothing is known here
        have = -1 if last is None else int(last["_id"])
        other = last is not None and have == k and bytes(last["root"]).hex() != root
        if known_origin == origin and have >= k and not other:
            return
        msg = (
            f"The store does not hold what this host has seen sealed (seal {k} of {known_origin}): "
            "it was emptied, rolled back, restored from an older backup or replaced. Nothing is "
            "sealed on top. Compare it with a saved checkpoint (`affidavit verify --checkpoint "
            f"FILE`). If this is meant, remove {self.path}, and keep a note of why."
        )
        raise SealError(msg)

    def remember(self, origin: str, seal: Document) -> None:
        """Note a seal. Where the disk does not take it, the earlier note stays."""
        text = json.dumps({"origin": origin, "k": seal["_id"], "root": bytes(seal["root"]).hex()})
        scratch = self.path.with_name(f"{self.path.name}.{secrets.token_hex(4)}.tmp")
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            scratch.write_text(text, encoding="ascii")
            scratch.replace(self.path)

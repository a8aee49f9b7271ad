"""A timestamp authority (RFC 3161): it signs that it saw a checkpoint's hash, and when.

It remembers nothing. What it saw is proved by its answer together with the checkpoint, so whoever
wants to notice a rollback keeps both, outside the database.
"""

from __future__ import annotations

import secrets
from hashlib import sha256
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from affidavit.anchors.base import AnchorFailed, Newest, Receipt
from affidavit.anchors.web import Address, post
from affidavit.integrity.errors import IntegrityError
from affidavit.integrity.timestamps import QUERY_TYPE, REPLY_TYPE, check_answer, request

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from affidavit.integrity.checkpoint import Checkpoint

_NONCE_BITS: Final = 64


class Authority:
    """One authority, known by the certificates that are trusted for it."""

    kind = "timestamp"

    def __init__(self, address: Address, roots: list[Certificate]) -> None:
        """``roots`` are the certificates to which the authority's own must lead."""
        self._address = address
        self.roots = roots
        self.name = f"timestamp {address}"

    def anchor(self, newest: Newest, known: Checkpoint | None) -> Receipt:  # noqa: ARG002 - it remembers nothing
        """Get a timestamp over the SHA-256 of the signed checkpoint. Raises AnchorFailed."""
        digest, nonce = sha256(newest.note.encode()).digest(), secrets.randbits(_NONCE_BITS)
        reply = post(self._address, "", request(digest, nonce), QUERY_TYPE)
        if reply.status != HTTPStatus.OK or reply.kind != REPLY_TYPE:
            msg = (
                f"{self._address} answers with status {reply.status} and no timestamp. Check the "
                "address in anchor_tsa."
            )
            raise AnchorFailed(msg)
        try:
            stamp = check_answer(reply.body, digest, nonce, self.roots)
        except IntegrityError as error:
            msg = f"The answer of {self._address} is not taken. {error}"
            raise AnchorFailed(msg) from error
        return Receipt(newest.note, stamp.time, token=reply.body)

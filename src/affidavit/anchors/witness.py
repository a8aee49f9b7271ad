"""A witness: somebody's server that cosigns a checkpoint which grew from the one before.

It speaks c2sp.org/tlog-witness. It remembers the newest checkpoint of the log, so that a log that
was rolled back cannot get another signature; and two logs of the same name cannot both get one.
"""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final

from affidavit.anchors.base import AnchorFailed, Newest, Receipt, rolled_back
from affidavit.anchors.web import Address, Reply, post
from affidavit.integrity.checkpoint import Checkpoint
from affidavit.integrity.errors import IntegrityError
from affidavit.integrity.note import VerifierKey
from affidavit.integrity.witnessing import SIZE_TYPE, cosigned, known_size, request

_TYPE: Final = "text/plain; charset=utf-8"
_SAID: Final[dict[int, str]] = {
    HTTPStatus.BAD_REQUEST: "takes the request for malformed",
    HTTPStatus.FORBIDDEN: "knows the log by another key; give it the one of `affidavit keys show`",
    HTTPStatus.NOT_FOUND: "does not know this log; give it the key of `affidavit keys show`",
    HTTPStatus.UNPROCESSABLE_ENTITY: (
        "refuses the proof that the log only grew: the log was altered, or it is another one. Run "
        "`affidavit verify --checkpoint FILE` with a saved checkpoint"
    ),
}


class Witness:
    """One witness, known by its key."""

    kind = "witness"

    def __init__(self, address: Address, key: VerifierKey) -> None:
        """``key`` is of kind 4: it checks cosignatures."""
        self._address = address
        self.key = key
        self.name = f"witness {key.name}+{key.id.hex()}"

    def anchor(self, newest: Newest, known: Checkpoint | None) -> Receipt:
        """Get a cosignature. Raises AnchorFailed."""
        start = 0 if known is None else known.size
        reply = self._ask(newest, start, self._proof(newest, start))
        size = self._conflict(reply, newest, start)
        if size is not None:
            # It saw more than there are receipts of, or lost its memory: begin where it is.
            reply = self._ask(newest, size, self._proof(newest, size))
            self._conflict(reply, newest, size)
        if reply.status != HTTPStatus.OK:
            what = _SAID.get(reply.status, f"answers with status {reply.status}")
            msg = f"The {self.name} {what}."
            raise AnchorFailed(msg)
        try:
            done = cosigned(newest.note, reply.body, self.key)
        except IntegrityError as error:
            msg = f"The {self.name} answers with no signature that holds. {error}"
            raise AnchorFailed(msg) from error
        try:
            at = datetime.fromtimestamp(done.time_s, UTC)
        except (ValueError, OverflowError, OSError) as error:
            msg = f"The {self.name} signed with a time that is none."
            raise AnchorFailed(msg) from error
        return Receipt(done.note, at)

    def _ask(self, newest: Newest, start: int, proof: list[bytes]) -> Reply:
        return post(self._address, "/add-checkpoint", request(start, proof, newest.note), _TYPE)

    def _proof(self, newest: Newest, start: int) -> list[bytes]:
        size = newest.checkpoint.size
        return [] if start in {0, size} else newest.prove(start)

    def _conflict(self, reply: Reply, newest: Newest, start: int) -> int | None:
        """Read the size that the witness knows; None where it had none to object to.

        Raises AnchorFailed where that shows a rollback, or a second log of the same name.
        """
        if reply.status != HTTPStatus.CONFLICT:
            return None
        size = known_size(reply.body) if reply.kind == SIZE_TYPE else None
        if size is not None and size > newest.checkpoint.size:
            raise rolled_back(newest.checkpoint.size, size, f"the {self.name}")
        if size is None or size == start:
            msg = (
                f"The {self.name} has seen another checkpoint of this size: the log was altered, "
                "or there are two of its name. Run `affidavit verify --checkpoint FILE`."
            )
            raise AnchorFailed(msg)
        return size

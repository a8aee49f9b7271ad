"""Which key is the log's, who says so, and whether a signed checkpoint is by it.

The key comes from outside the log, as ``--vkey`` or configuration, or it is proved by a checkpoint
that was saved outside. A key that only the log's own store names is believed for want of a better
one, and then the result is *self-attested*: whoever can rewrite the store can name another key.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from affidavit.integrity.checkpoint import Checkpoint, open_checkpoint
from affidavit.integrity.errors import FormatError, IntegrityError, SignatureError
from affidavit.integrity.findings import Kind, Report
from affidavit.integrity.note import Note, Signature, VerifierKey, check_note

NOTHING: Final = "nothing"
"""``pinned_by`` of a key that the log's own store names."""


class BadCheckpointError(IntegrityError):
    """The checkpoint that was saved outside is none, or not of the log that was asked for."""


class Trust:
    """The log's key, from the first to the one in force, and the checkpoint saved outside."""

    def __init__(
        self,
        vkey: str | None = None,
        pinned_by: str = "vkey",
        saved: str | bytes | None = None,
        witnesses: Collection[VerifierKey] = (),
    ) -> None:
        """``vkey`` is the key known beforehand, ``saved`` a checkpoint's signed note.

        Raises FormatError for a vkey that is none, BadCheckpointError for a note that is none.
        """
        self.key = None if vkey is None else VerifierKey.parse(vkey)
        self.pinned_by = NOTHING if vkey is None else pinned_by
        self.saved: Checkpoint | None = None
        self.witnesses = tuple(witnesses)
        self.witnessed_by: tuple[str, ...] = ()
        """Names of the witnesses, known beforehand, that have cosigned the saved checkpoint."""
        self.keys: list[VerifierKey] = []
        """Every key that was the log's, in order."""
        self.usable = True
        """Whether there is a key by which anything can be verified."""
        self._note: Note | None = None
        self._proved = False
        self._other: VerifierKey | None = None
        self._opened = False
        self._signed_by = -1
        if saved is not None:
            try:
                self._note = Note.parse(saved)
                self.saved = Checkpoint.parse(self._note.text)
            except FormatError as error:
                msg = f"The saved checkpoint cannot be read. {error}"
                raise BadCheckpointError(msg) from error

    def settle(self, identity: Mapping[str, Any] | None, report: Report) -> None:
        """Decide on the key with what the store says of itself.

        Raises BadCheckpointError where the saved checkpoint is not of the pinned key's log.
        """
        stored = _stored_key(identity, report)
        if self.key is None:
            self.key = stored
        elif stored is not None and stored != self.key:
            self._other = stored
        if self.key is None:
            self.usable = False
            return
        self.keys = [self.key]
        if self.saved is not None and self.saved.origin != self.key.name:
            self._refuse(None, report)
        if identity is None:
            text = (
                f"The store knows nothing of the log {self.key.name}: it was emptied or exchanged."
            )
            report.add(Kind.ROLLED_BACK, text, part="identity")
        if self.saved is not None:
            self._open_saved(report)
        report.origin, report.vkey, report.pinned_by = self.key.name, str(self.key), self.pinned_by

    def _open_saved(self, report: Report) -> None:
        assert self._note is not None  # noqa: S101 - asked for by the only caller
        assert self.key is not None  # noqa: S101 - the same
        try:
            open_checkpoint(str(self._note), self.key)
            self._proved = True
        except SignatureError as error:
            if any(line.key_id != self.key.id for line in self._note.signatures):
                return  # it may be of a key that the log takes later; see `finish`
            self._refuse(error, report)
        if self._proved and self.pinned_by == NOTHING:
            self.pinned_by = "checkpoint"
        if self._proved:
            self._count_witnesses(self.key)

    def _count_witnesses(self, key: VerifierKey) -> None:
        """See who has cosigned the saved checkpoint, which this key of the log has signed."""

        def cosigned(witness: VerifierKey) -> bool:
            try:
                return bool(open_checkpoint(str(self._note), key, [witness]).witnesses)
            except IntegrityError:
                return False

        self.witnessed_by = tuple(each.name for each in self.witnesses if cosigned(each))

    def _refuse(self, error: Exception | None, report: Report) -> None:
        if self.pinned_by != NOTHING:
            msg = (
                "The saved checkpoint is not signed by the log's key; it is another log's, "
                "or it was changed. Use the file that was saved."
            )
            raise BadCheckpointError(msg) from error
        assert self.key is not None  # noqa: S101 - settled before
        report.add(
            Kind.FOREIGN_KEY,
            f"The saved checkpoint is not signed by {_id(self.key)}, the key that the store "
            "names as the log's. The key in the store was exchanged, or the file is another log's.",
            part="identity",
        )
        self.saved = None

    def rotate(self, change: object, seal: int, report: Report) -> None:
        """Take the next key, where the one before and the next have signed the change."""
        current = self.keys[-1]
        try:
            if not isinstance(change, Mapping):
                msg = "The change of the key is no document."
                raise FormatError(msg)
            following = VerifierKey.parse(str(change.get("vkey")))
            note = Note.parse(str(change.get("note")))
            signed = {found.key for found in check_note(note, [current, following])}
            if signed != {current, following} or str(following) not in note.text.split("\n"):
                msg = "The change is not signed by the key before and by the new one."
                raise SignatureError(msg)
        except IntegrityError as error:
            text = f"Seal {seal} changes the log's key without a right to. {error}"
            report.add(Kind.FOREIGN_KEY, text, seal=seal)
            return
        self.keys.append(following)

    def open(self, note: object, seal: int, report: Report) -> Checkpoint | None:
        """Read a seal's checkpoint; a finding and None where it is not by the key in force."""
        key = self._key_of_first(note) if not self._opened else self.keys[-1]
        self._opened = True
        try:
            opened = open_checkpoint(str(note), key)
        except SignatureError as error:
            kind = Kind.FORGED_CHECKPOINT
            what = f"The checkpoint of seal {seal} is forged. {error}"
            if all(line.key_id != key.id for line in _signatures(note)):
                kind = Kind.FOREIGN_KEY
                what = f"The checkpoint of seal {seal} is signed by another key than {_id(key)}."
            report.add(kind, what, seal=seal)
            return None
        except FormatError as error:
            text = f"The checkpoint of seal {seal} cannot be read. {error}"
            report.add(Kind.FORGED_CHECKPOINT, text, seal=seal)
            return None
        report.checkpoint = str(note)
        self._signed_by = len(self.keys) - 1
        return opened.checkpoint

    def _key_of_first(self, note: object) -> VerifierKey:
        """Start with the store's key where it is not the pinned one, which may have come later."""
        if self._other is not None:
            ids = {line.key_id for line in _signatures(note)}
            if self._other.id in ids and self.keys[-1].id not in ids:
                self.keys = [self._other]
        return self.keys[-1]

    def finish(self, report: Report) -> None:
        """Settle whether the pinned key is the log's, and a checkpoint by one that came later."""
        if self._other is not None and not (self.keys[0] == self._other and self.key in self.keys):
            assert self.key is not None  # noqa: S101 - settled before
            report.add(
                Kind.FOREIGN_KEY,
                f"The store names the key {_id(self._other)} as the log's, and the log that was "
                f"asked for has the key {_id(self.key)}.",
                part="identity",
            )
        elif self._other is not None and self.saved is None:
            self._see_signed(report)
        if self._note is None or self.saved is None or self._proved or not self.usable:
            return
        for key in self.keys:
            try:
                open_checkpoint(str(self._note), key)
            except IntegrityError:
                continue
            if self.pinned_by == NOTHING:  # it has signed for the change from the one before
                self.pinned_by = report.pinned_by = "checkpoint"
            self._count_witnesses(key)
            return
        self._refuse(None, report)

    def _see_signed(self, report: Report) -> None:
        """Look whether the pinned key, which came later, has signed a state of this log.

        The hand-over alone names no state: whoever holds the first key can put it at the end of
        another history.
        """
        assert self.key is not None  # noqa: S101 - settled before
        if self._signed_by < self.keys.index(self.key):
            report.limits.append(
                f"whether this is the log of {_id(self.key)}: it has signed no checkpoint yet, and "
                "the keys before it could have made all of this"
            )
            self.pinned_by = report.pinned_by = NOTHING


def is_log_key(public: bytes, keys: Sequence[VerifierKey]) -> bool:
    """Whether a public key is one of the log's."""
    return any(key.public == public for key in keys)


def _signatures(note: object) -> Sequence[Signature]:
    try:
        return Note.parse(str(note)).signatures
    except FormatError:
        return ()


def _stored_key(identity: Mapping[str, Any] | None, report: Report) -> VerifierKey | None:
    if identity is None:
        return None
    try:
        key = VerifierKey.parse(str(identity.get("vkey")))
        if identity.get("origin") != key.name:
            text = "The log's identity in the store was changed: its origin is not its key's name."
            report.add(Kind.ALTERED, text, part="identity")
        return key
    except FormatError:
        text = "The key that the store names as the log's cannot be read."
        report.add(Kind.FOREIGN_KEY, text, part="identity")
        return None


def _id(key: VerifierKey) -> str:
    return f"{key.name}+{key.id.hex()}"

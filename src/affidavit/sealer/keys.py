"""The log's key and identity: made once, by whoever seals first, and never a second time.

The private key is a line of text in a file of mode 0600, or in the setting ``seal_key``; or it
stays in a vault, and a :class:`~affidavit.integrity.note.Signs` asks for signatures. Its name is
the log's *origin*. A new key lies under a provisional name until the store has taken the identity
that it signs for: so a key that lost the race, or whose maker died, never lies where a valid one
would.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

from affidavit.config import AuditConfig
from affidavit.errors import SealError, StoreRefused
from affidavit.event import Document
from affidavit.integrity.errors import IntegrityError
from affidavit.integrity.note import Note, Signer, Signs, VerifierKey, check_note, sign_note
from affidavit.sealer.replay import sound
from affidavit.sealer.seen import Seen
from affidavit.spool.owner import default_directory
from affidavit.store.sealing import SealStore

ROTATION: Final = "affidavit key rotation v1"
"""First line of the note by which a key names the one after it."""

PRIVATE_MODE: Final = 0o600
_OPEN_TO_OTHERS: Final = 0o077
_NEW: Final = ".new"
_NEXT: Final = ".next"
_ROTATION_LINES: Final = 4


class KeyMissing(SealError):  # noqa: N818 - a state, named as operators say it
    """The log has a key, and it is not on this host."""


class LogKey:
    """The key that signs this log's checkpoints, and where it lies."""

    def __init__(self, signer: Signs, path: Path | None = None) -> None:
        self.signer = signer
        self.path = path
        """The key's file; None where it comes from a setting or a vault."""
        self.key = VerifierKey.parse(signer.vkey)

    @property
    def origin(self) -> str:
        """The log's name."""
        return self.key.name

    @property
    def vkey(self) -> str:
        """The public half."""
        return self.signer.vkey


def open_key(
    store: SealStore, config: AuditConfig, *, signer: Signs | None = None, create: bool = True
) -> LogKey:
    """Find the log's key; where the log has none yet, make one and claim the log.

    ``signer`` stands for a key that is kept elsewhere. With ``create=False`` nothing is made and a
    log without an identity raises KeyMissing, as one whose key is not here does. Raises SealError
    where the key that is here is not the log's, and StoreError.
    """
    identity = store.identity()
    given = LogKey(signer) if signer is not None else _from_setting(config)
    if given is None and config.seal_key_file is not None:
        given = _from_file(Path(config.seal_key_file).expanduser())
    if identity is None:
        Seen(store.dataset).check("", None)
        if given is None:
            return _first(store, config, create=create)
        identity = store.claim(given.origin, given.vkey)
    current = current_vkey(store, identity)
    if given is None or given.path is not None:
        _settle_rotation(key_file(config, identity["origin"]), current)
        given = _of_identity(store, config, identity)
    if given is None:
        raise _missing(config, identity)
    if given.vkey != current:
        raise _foreign(given, identity, current)
    return given


def current_vkey(store: SealStore, identity: Document) -> str:
    """Tell which key signs now, after whatever rotations there were."""
    last = store.last_seal()
    if last is None:
        return str(identity["vkey"])
    sound(last)
    rotated = last.get("key")
    return str(rotated["vkey"] if rotated else last.get("vkey", identity["vkey"]))


def key_file(config: AuditConfig, origin: str) -> Path:
    """Say where the key of a log lies on this host."""
    if config.seal_key_file is not None:
        return Path(config.seal_key_file).expanduser()
    return _folder() / f"{origin.replace('/', '-')}.key"


def next_file(path: Path) -> Path:
    """Say where the key lies that follows the one in ``path``, until the log goes on with it."""
    return path.with_name(path.name + _NEXT)


def read_key(path: Path) -> Signer:
    """Read a key's file. Raises SealError where it is open to others, or holds no key."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        msg = f"The log's key in {path} cannot be read ({why}). Put it back from its backup."
        raise SealError(msg) from error
    if mode & _OPEN_TO_OTHERS:
        msg = (
            f"The log's key in {path} is open to other users (mode {mode:04o}), so it may be known "
            f"to them. Run `chmod 600 {path}`; if others use this machine, then "
            "`affidavit keys rotate`."
        )
        raise SealError(msg)
    return _parsed(text, str(path))


def write_key(path: Path, signer: Signer) -> bool:
    """Write a key's file in one piece; False if there is one already. Raises SealError."""
    scratch = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_MODE)
        try:
            os.write(handle, f"{signer.secret_text()}\n".encode())
            os.fsync(handle)
        finally:
            os.close(handle)
        try:
            os.link(scratch, path)  # unlike a rename, it never replaces
        except FileExistsError:
            return False
        finally:
            scratch.unlink()
    except OSError as error:
        msg = (
            f"The log's key cannot be written to {path} ({error.strerror}). Set seal_key_file to a "
            "place that this user may write."
        )
        raise SealError(msg) from error
    return True


def following(path: Path, old: LogKey) -> Signer:
    """Make the key that is to follow ``old``, and keep it in ``path`` before anything names it.

    One that an attempt left there, and that has signed nothing, is used. Raises SealError.
    """
    write_key(path, Signer(old.origin))
    found = read_key(path)
    if found.name != old.origin or found.vkey == old.vkey:
        msg = f"{path} holds another key, and is not overwritten. Move it away, or choose a file."
        raise SealError(msg)
    return found


def rotation_note(old: Signs, new: Signs, at_ms: int) -> str:
    """Let the old key name the new one, and both sign it."""
    return str(sign_note(f"{ROTATION}\n{old.vkey}\n{new.vkey}\n{at_ms}\n", old, new))


def check_rotation(note: str, old_vkey: str) -> str:
    """Check such a note, and give the new key. Raises SealError."""
    try:
        parsed = Note.parse(note)
        lines = parsed.text.split("\n")
        if len(lines) == _ROTATION_LINES + 1 and lines[0] == ROTATION and lines[1] == old_vkey:
            old, new = VerifierKey.parse(old_vkey), VerifierKey.parse(lines[2])
            if old.name == new.name and len(check_note(parsed, [old, new])) == len({old, new}):
                return lines[2]
    except IntegrityError:
        pass
    msg = "A seal names a new key that the old one did not sign for. Run `affidavit verify`."
    raise SealError(msg)


# -- finding it --------------------------------------------------------------------------------


def _first(store: SealStore, config: AuditConfig, *, create: bool) -> LogKey:
    """Make key and identity of a log that has none; or join whoever is just doing so."""
    if not create:
        msg = "Nobody has sealed this log yet. `affidavit seal --once` makes its key."
        raise KeyMissing(msg)
    new = _provisional(store, config)
    if not new.exists():
        write_key(new, Signer(f"affidavit/{secrets.token_hex(8)}"))
    try:
        signer = read_key(new)
    except SealError:
        if new.exists():
            raise
        # Another sealer of this host has just finished with it, one way or the other.
        return open_key(store, config, create=create)
    try:
        identity = store.claim(signer.name, signer.vkey)
    except StoreRefused:
        new.unlink(missing_ok=True)
        raise
    found = _of_identity(store, config, identity)
    if found is None and identity["vkey"] == signer.vkey:
        # Another process of this host, whose user may not seal, has taken the file away.
        write_key(key_file(config, identity["origin"]), signer)
        found = _of_identity(store, config, identity)
    if found is None:
        raise _missing(config, identity)
    return found


def _of_identity(store: SealStore, config: AuditConfig, identity: Document) -> LogKey | None:
    """Find the key of the log's identity, settling what became of a provisional one."""
    path, new = key_file(config, identity["origin"]), _provisional(store, config)
    if new.exists():
        with contextlib.suppress(FileNotFoundError, SealError):  # another sealer settled it
            if read_key(new).vkey == identity["vkey"]:
                _keep(new, path)
            else:
                new.unlink()
    return _from_file(path)


def _settle_rotation(path: Path, current: str) -> None:
    """Put the new key in the place of the old one, once the log goes on with it."""
    following = next_file(path)
    with contextlib.suppress(FileNotFoundError):  # another process of this host was faster
        if following.exists() and read_key(following).vkey == current:
            following.replace(path)


def _keep(new: Path, path: Path) -> None:
    """Give a key that has been claimed its name; a file that is there is not replaced."""
    with contextlib.suppress(FileExistsError):
        os.link(new, path)
    new.unlink()


def _from_setting(config: AuditConfig) -> LogKey | None:
    if config.seal_key is None:
        return None
    return LogKey(_parsed(config.seal_key.strip(), "the setting seal_key"))


def _from_file(path: Path) -> LogKey | None:
    return LogKey(read_key(path), path) if path.exists() else None


def _parsed(text: str, where: str) -> Signer:
    try:
        return Signer.parse(text)
    except IntegrityError as error:
        msg = f"What stands in {where} is no private key of a log. Put back the right one."
        raise SealError(msg) from error


def _folder() -> Path:
    return default_directory() / "keys"


def _provisional(store: SealStore, config: AuditConfig) -> Path:
    if config.seal_key_file is not None:
        path = Path(config.seal_key_file).expanduser()
        return path.with_name(path.name + _NEW)
    name = hashlib.sha256(store.dataset.encode()).hexdigest()[:16]
    return _folder() / f"{name}.key{_NEW}"


def _missing(config: AuditConfig, identity: Document) -> KeyMissing:
    origin = identity["origin"]
    return KeyMissing(
        f"The key of the log {origin} is not on this host, and no second one is ever made. Copy "
        f"the key's file from the host that sealed first, or from its backup, to "
        f"{key_file(config, origin)} (mode 0600), or set seal_key_file. Without it this log can "
        "still be verified and cannot grow: set `collection` to begin another."
    )


def _foreign(given: LogKey, identity: Document, current: str) -> SealError:
    where = f"The key in {given.path}" if given.path is not None else "The key that was given"
    wanted, held = VerifierKey.parse(current), given.key
    return SealError(
        f"{where} ({held.name}+{held.id.hex()}) is not the key of this log "
        f"({wanted.name}+{wanted.id.hex()}, since {identity['created_at']:%Y-%m-%d}), so nothing "
        "is sealed. If the log's key was rotated, use the new one; if the store was replaced or "
        "restored, compare it with a saved checkpoint (`affidavit verify --checkpoint FILE`); else "
        "correct seal_key_file or AFFIDAVIT_SEAL_KEY."
    )


Reopen = Callable[[], LogKey]
"""Finds the key again, after a rotation by somebody else."""

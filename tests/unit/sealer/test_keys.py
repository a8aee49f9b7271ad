"""The log's key: made once, settled after a crash, never replaced by another."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from affidavit.config import AuditConfig
from affidavit.errors import SealError, StoreRefused, StoreUnavailable
from affidavit.integrity.note import Signer
from affidavit.sealer import keys
from affidavit.spool.owner import default_directory
from affidavit.store import seals_beside
from affidavit.store.memory import MemoryStore
from tests.support.sealing import Writer, check_log, sealer_of

if TYPE_CHECKING:
    from pathlib import Path

    from affidavit.event import Document
    from affidavit.store.sealing import SealStore

pytestmark = pytest.mark.requirement("R20", "R21")


@pytest.fixture
def seals() -> SealStore:
    """An empty log."""
    found = seals_beside(MemoryStore("memory:keys"))
    assert found is not None
    return found


def files() -> list[Path]:
    """What lies where keys lie."""
    folder = default_directory() / "keys"
    return sorted(folder.iterdir()) if folder.exists() else []


def test_the_key_is_made_once(seals: SealStore) -> None:
    """The second time it is found; its name is the log's origin."""
    first = keys.open_key(seals, AuditConfig())
    again = keys.open_key(seals, AuditConfig())
    assert first.vkey == again.vkey
    assert first.path == again.path == files()[0]
    assert len(files()) == 1
    identity = seals.identity()
    assert identity is not None
    assert identity["origin"] == first.origin == first.key.name


def test_nothing_is_made_where_that_was_not_asked_for(seals: SealStore) -> None:
    """Looking at a log makes neither key nor identity."""
    with pytest.raises(keys.KeyMissing, match="seal --once"):
        keys.open_key(seals, AuditConfig(), create=False)
    assert files() == []
    assert seals.identity() is None


def test_a_crash_before_the_claim_wastes_no_key(
    seals: SealStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A provisional key is used by the next attempt."""
    with monkeypatch.context() as broken:
        broken.setattr(seals, "claim", _no_answer)
        with pytest.raises(StoreUnavailable):
            keys.open_key(seals, AuditConfig())
    [new] = files()
    assert new.name.endswith(".key.new")
    waiting = keys.read_key(new)
    assert keys.open_key(seals, AuditConfig()).vkey == waiting.vkey
    assert [path.name for path in files()] == [f"{waiting.name.replace('/', '-')}.key"]


def test_a_crash_after_the_claim_loses_no_key(
    seals: SealStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log was claimed, and the answer did not come: the next one finds the key."""
    claim = seals.claim

    def unheard(origin: str, vkey: str) -> Document:
        claim(origin, vkey)
        return _no_answer()

    with monkeypatch.context() as broken:
        broken.setattr(seals, "claim", unheard)
        with pytest.raises(StoreUnavailable):
            keys.open_key(seals, AuditConfig())
    identity = seals.identity()
    assert identity is not None
    assert keys.open_key(seals, AuditConfig()).vkey == identity["vkey"]
    assert len(files()) == 1


def test_a_lost_race_leaves_no_key(seals: SealStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another host was faster: the key made meanwhile is removed, not left as if it were valid."""
    claim = seals.claim

    def too_late(origin: str, vkey: str) -> Document:
        claim("affidavit/other", Signer("affidavit/other").vkey)
        return claim(origin, vkey)

    monkeypatch.setattr(seals, "claim", too_late)
    with pytest.raises(keys.KeyMissing, match="no second one"):
        keys.open_key(seals, AuditConfig())
    assert files() == []


def test_who_may_not_seal_leaves_no_key(seals: SealStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database user without the right to insert seals makes nothing that stays."""

    def refused(*_: str) -> Document:
        raise StoreRefused("The database user has no right to insert.")

    monkeypatch.setattr(seals, "claim", refused)
    with pytest.raises(StoreRefused):
        keys.open_key(seals, AuditConfig())
    assert files() == []


def test_a_key_in_a_vault_signs_without_a_file(seals: SealStore) -> None:
    """Whatever has a public key and signs will do; nothing is written to disk."""

    class Vault:
        def __init__(self) -> None:
            self._inside = Signer("affidavit/vault")
            self.vkey = self._inside.vkey
            self.asked = 0

        def sign(self, data: bytes) -> bytes:
            self.asked += 1
            return self._inside.sign(data)

    vault = Vault()
    key = keys.open_key(seals, AuditConfig(), signer=vault)
    assert key.signer is vault
    assert seals.claim("x", "y")["origin"] == "affidavit/vault"
    assert files() == []
    with pytest.raises(SealError, match="not the key of this log"):
        keys.open_key(seals, AuditConfig(), signer=Vault())


def test_a_key_file_of_ones_own_is_made_and_kept(seals: SealStore, tmp_path: Path) -> None:
    """Where `seal_key_file` says, with its folder; one that is there is taken as it is."""
    path = tmp_path / "etc" / "log.key"
    config = AuditConfig(seal_key_file=str(path))
    made = keys.open_key(seals, config)
    assert made.path == path
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert not keys.write_key(path, Signer("affidavit/second"))
    assert keys.read_key(path).vkey == made.vkey
    other = seals_beside(MemoryStore("memory:other"))
    assert other is not None
    assert keys.open_key(other, config).vkey == made.vkey


def test_a_place_that_cannot_be_written_is_named(seals: SealStore, tmp_path: Path) -> None:
    """With the setting that helps."""
    (tmp_path / "file").write_text("")
    config = AuditConfig(seal_key_file=str(tmp_path / "file" / "log.key"))
    with pytest.raises(SealError, match="seal_key_file"):
        keys.open_key(seals, config)
    assert seals.identity() is None


def test_a_sealer_follows_a_rotation(seals: SealStore) -> None:
    """Of its own host it takes the new key at once; with the old key alone it stops."""
    store = seals._store  # type: ignore[attr-defined]
    writer, rotating, following = Writer(store, "a"), sealer_of(seals), sealer_of(seals)
    writer.send(writer.record(3))
    assert rotating.step() is not None
    assert following.step() is None
    old = rotating.key
    assert old.path is not None
    secret = old.path.read_text()
    new = keys.following(keys.next_file(old.path), old)
    assert keys.following(keys.next_file(old.path), old).vkey == new.vkey
    assert rotating.rotate(new) is not None
    writer.send(writer.record(3))
    done = following.step()
    assert done is not None
    assert following.key.vkey == new.vkey
    assert files() == sorted([old.path, *(path for path in files() if path.suffix == ".seen")])
    assert check_log(seals) == 6
    old.path.write_text(secret)
    with pytest.raises(SealError, match="rotated"):
        sealer_of(seals).step()


def test_a_rotation_that_the_old_key_did_not_sign_is_none(seals: SealStore) -> None:
    """The note must be by both, and name both."""
    old, new, other = (Signer("affidavit/x") for _ in range(3))
    note = keys.rotation_note(old, new, 1)
    assert keys.check_rotation(note, old.vkey) == new.vkey
    for wrong, start in (
        (keys.rotation_note(other, new, 1), old.vkey),
        (note, other.vkey),
        (note.replace(new.vkey, other.vkey), old.vkey),
        (note[: note.rindex("\u2014")], old.vkey),
        ("nonsense", old.vkey),
    ):
        with pytest.raises(SealError, match="affidavit verify"):
            keys.check_rotation(wrong, start)


def _no_answer(*_: str) -> Document:
    msg = "The store does not answer."
    raise StoreUnavailable(msg)

"""The spool on disk: durable, bounded, owned, and counted."""

from __future__ import annotations

import os
import sqlite3
import stat
from typing import TYPE_CHECKING

import pytest
from bson.objectid import ObjectId
from hypothesis import given
from hypothesis import strategies as st

from affidavit.errors import SpoolError, SpoolFull
from affidavit.event import Dest
from affidavit.spool import owner
from affidavit.spool.counters import Counters, Slot
from affidavit.spool.dead import DeadLetters
from affidavit.spool.sqlite import SqliteSpool
from affidavit.store.base import Encoded

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.requirement("R6")


def records(count: int, size: int = 100, start: int = 0) -> list[Encoded]:
    """Some records."""
    return [
        Encoded(Dest.RECORDS, ObjectId().binary, seq, bytes([seq % 251]) * size)
        for seq in range(start, start + count)
    ]


def spool_at(path: Path, max_bytes: int = 10**9) -> SqliteSpool:
    """A spool in a file."""
    return SqliteSpool(path, writer="w1", dataset="d", max_bytes=max_bytes)


def test_what_is_appended_is_read_back_in_order_after_reopening(tmp_path: Path) -> None:
    """Another process sees the same bytes."""
    spool, batch = spool_at(tmp_path / "a.db"), records(25)
    spool.append(batch)
    spool.close()
    again = spool_at(tmp_path / "a.db")
    assert again.read(100, 10**9) == batch
    assert (again.count, again.oldest_ms is not None) == (25, True)
    again.close()


def test_removed_records_do_not_come_back(tmp_path: Path) -> None:
    """Counts and bytes follow, and the log file shrinks when all is gone."""
    spool, batch = spool_at(tmp_path / "a.db"), records(50, size=20_000)
    spool.append(batch)
    spool.remove(batch[:20])
    assert [r.seq for r in spool.read(100, 10**9)] == list(range(20, 50))
    spool.remove(batch[20:])
    spool.tidy()
    assert (spool.count, spool.size_bytes, spool.oldest_ms) == (0, 0, None)
    assert (tmp_path / "a.db-wal").stat().st_size == 0
    spool.close()


def test_a_read_is_bounded_in_bytes_but_never_empty(tmp_path: Path) -> None:
    """A record larger than the bound is still read."""
    spool = spool_at(tmp_path / "a.db")
    spool.append(records(10, size=1000))
    assert len(spool.read(100, 3000)) == 3
    assert len(spool.read(100, 1)) == 1
    spool.close()


def test_a_full_spool_takes_nothing_of_a_batch(tmp_path: Path) -> None:
    """All or none, and the text names the setting."""
    spool = spool_at(tmp_path / "a.db", max_bytes=5000)
    spool.append(records(10))
    with pytest.raises(SpoolFull, match="max_spool_bytes"):
        spool.append(records(100, start=10))
    assert spool.count == 10
    spool.close()


def test_a_damaged_file_is_an_error_that_says_so(tmp_path: Path) -> None:
    """SQLite's own exception does not escape."""
    (tmp_path / "a.db").write_bytes(b"not a database" * 500)
    with pytest.raises(SpoolError, match=r"a\.db cannot be opened"):
        spool_at(tmp_path / "a.db")


def test_a_spool_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    """An older program does not guess."""
    spool_at(tmp_path / "a.db").close()
    with sqlite3.connect(tmp_path / "a.db") as connection:
        connection.execute("UPDATE meta SET value='2' WHERE key='version'")
    connection.close()
    with pytest.raises(SpoolError, match="version 2"):
        spool_at(tmp_path / "a.db")


def test_files_are_private(tmp_path: Path) -> None:
    """Folders 0700, files 0600: they hold prompts."""
    owned = owner.create(tmp_path / "spool", "host/db.c", "w1", 10**9)
    owned.spool.append(records(1))
    DeadLetters(owned.folder).bury("w1", [(records(1)[0], "validation")])
    for path in [owned.folder, *owned.folder.iterdir()]:
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path.name
    owned.release(delete=True)


def test_files_are_private_also_in_a_directory_that_is_not(tmp_path: Path) -> None:
    """Whatever the directory's mode and the umask are; the open one is named with its mode."""
    loose = tmp_path / "spool"
    loose.mkdir()
    loose.chmod(0o777)
    before = os.umask(0)
    try:
        owned = owner.create(loose, "host/db.c", "w1", 10**9)
        owned.spool.append(records(1))
        DeadLetters(owned.folder).bury("w1", [(records(1)[0], "validation")])
    finally:
        os.umask(before)
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in owned.folder.iterdir()}
    assert set(modes.values()) == {0o600}, modes
    [(folder, problem)] = owner.open_to_others(loose, owned.folder)
    assert (folder, "0777" in problem) == (loose, True)
    owned.release(delete=True)


def test_a_spool_in_use_is_not_taken_over(tmp_path: Path) -> None:
    """The lock decides, not the process id."""
    owned = owner.create(tmp_path, "d", "w1", 10**9)
    assert owner.orphans(owned.folder, "d", 10**9) == ([], [])
    owned.release(delete=False)
    assert owner.orphan_count(owned.folder) == 1
    taken, _damaged = owner.orphans(owned.folder, "d", 10**9)
    assert [orphan.writer for orphan in taken] == ["w1"]
    assert owner.orphans(owned.folder, "d", 10**9) == ([], [])
    taken[0].release(delete=True)
    assert list(owned.folder.glob("w1*")) == []


def test_datasets_do_not_share_a_folder(tmp_path: Path) -> None:
    """No application replays another's records into its own database."""
    folders = {owner.dataset_folder(tmp_path, d) for d in ("h/a.c", "h/b.c", "h/a-c")}
    assert len(folders) == 3


def test_a_lock_file_without_a_spool_is_cleared(tmp_path: Path) -> None:
    """Its owner died before it wrote anything."""
    owned = owner.create(tmp_path, "d", "w1", 10**9)
    owned.release(delete=False)
    (owned.folder / "w1.db").unlink()
    assert owner.orphans(owned.folder, "d", 10**9) == ([], [])
    assert not (owned.folder / "w1.lock").exists()


def test_a_damaged_spool_does_not_hold_up_the_others(tmp_path: Path) -> None:
    """It is named and left in place; the next one is taken over."""
    for writer in ("w1", "w2"):
        owner.create(tmp_path, "d", writer, 10**9).release(delete=False)
    folder = owner.dataset_folder(tmp_path, "d")
    (folder / "w1.db").write_bytes(b"garbage" * 1000)
    taken, damaged = owner.orphans(folder, "d", 10**9)
    assert [orphan.writer for orphan in taken] == ["w2"]
    assert "w1.db" in damaged[0]
    assert (folder / "w1.db").exists()
    taken[0].release(delete=True)


def test_records_outlive_lost_counters(tmp_path: Path) -> None:
    """After a power cut the counters may be gone; what was fsynced is still taken over."""
    owned = owner.create(tmp_path, "d", "w1", 10**9)
    owned.spool.append(records(7))
    owned.release(delete=False)
    (owned.folder / "w1.counters").write_bytes(b"")
    (taken,), _damaged = owner.orphans(owned.folder, "d", 10**9)
    assert taken.spool.count == taken.counters.get(Slot.RECORDED) == taken.counters.spooled() == 7
    taken.release(delete=True)


def test_an_unwritable_directory_names_the_setting(tmp_path: Path) -> None:
    """The remedy is in the text."""
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolError, match="AFFIDAVIT_SPOOL_DIR"):
        owner.create(tmp_path / "file" / "below", "d", "w1", 10**9)


def test_network_file_systems_are_known_by_their_mounts() -> None:
    """The file system of a path is that of the longest mount above it."""
    assert owner.file_system(owner.Path("/proc")) == "proc"
    assert not owner.is_network(owner.Path("/"))


def test_counters_survive_the_process(tmp_path: Path) -> None:
    """Another reader of the file sees what a child process counted before it was killed."""
    path = tmp_path / "w.counters"
    pid = os.fork()
    if pid == 0:
        counters = Counters.create(path)
        counters.add(Slot.RECORDED, Dest.RECORDS, 7)
        counters.add(Slot.STORED, Dest.LEDGER, 2)
        counters.next_seq = 9
        os.kill(os.getpid(), 9)
    os.waitpid(pid, 0)
    counters = Counters.open(path)
    assert counters.get(Slot.RECORDED) == 7
    assert counters.get(Slot.STORED, Dest.LEDGER) == 2
    assert counters.next_seq == 9
    counters.close()


def test_a_foreign_counters_file_is_refused(tmp_path: Path) -> None:
    """It is not read as numbers."""
    (tmp_path / "w.counters").write_bytes(b"x" * 500)
    with pytest.raises(SpoolError, match="not one of this version"):
        Counters.open(tmp_path / "w.counters")


@given(
    st.lists(st.tuples(st.sampled_from(list(Slot)), st.sampled_from(list(Dest)), st.integers(0, 9)))
)
def test_the_tallies_always_add_up(steps: list[tuple[Slot, Dest, int]]) -> None:
    """Recorded = queued + stored + spooled + dead-lettered + lost, whatever was counted."""
    counters = Counters.in_memory()
    for slot, dest, count in steps:
        counters.add(slot, dest, count)
    for dest in Dest:
        t = counters.as_dict(dest)
        parts = t["queued"] + t["stored"] + t["spooled"] + t["dead_lettered"] + t["lost"]
        assert t["recorded"] == parts


def test_dead_letters_are_kept_once_and_forgotten_on_demand(tmp_path: Path) -> None:
    """With the same bytes and the reason, for a retry."""
    dead, (one, two) = DeadLetters(tmp_path), records(2)
    dead.bury("w1", [(one, "validation"), (two, "too_large")])
    dead.bury("w1", [(one, "validation")])
    letters = dead.all()
    assert [(x.record, x.reason) for x in letters] == [(one, "validation"), (two, "too_large")]
    dead.forget(letters[:1])
    assert [x.record for x in dead.all("w1")] == [two]
    assert DeadLetters(tmp_path / "elsewhere").all() == []

"""Anchors over real HTTP and in real folders: growth is taken, and nothing else."""

from __future__ import annotations

import copy
import socket
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from affidavit.anchors import web
from affidavit.anchors.configured import anchors_of
from affidavit.anchors.health import look
from affidavit.anchors.run import anchor_due, anchor_newest, newest_of
from affidavit.anchors.schedule import Schedule
from affidavit.config import AuditConfig
from affidavit.errors import ConfigError, SealError, StoreUnavailable
from affidavit.integrity.checkpoint import open_checkpoint
from affidavit.integrity.note import Signer, VerifierKey
from affidavit.store import connect, seals_beside
from tests.support.sealing import Writer, sealer_of
from tests.support.timestamps import Authority
from tests.support.witness import Witness

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from affidavit.anchors.run import Outcome

pytestmark = pytest.mark.requirement("R20", "R21")


class Log:
    """A log in memory that grows, is rolled back, and is sealed by one key."""

    def __init__(self, name: str) -> None:
        self.store = connect(f"memory:{name}", AuditConfig())
        self.store.prepare(30)
        found = seals_beside(self.store)
        assert found is not None
        self.seals: Any = found
        self._sealer = sealer_of(found)
        self._writer = Writer(self.store, "w")

    @property
    def vkey(self) -> str:
        """The log's key."""
        return str(self.seals.identity()["vkey"])

    def grow(self, count: int = 300) -> None:
        """Record and seal."""
        self._writer.send(self._writer.record(count))
        assert self._sealer.step(full=True) is not None

    def kept(self) -> Any:
        """What an administrator's backup holds: seals, tiles and batches."""
        return copy.deepcopy(
            (self.seals._seals, self.seals._tiles, self.store.leaf_batches)  # type: ignore[attr-defined]
        )

    def restore(self, backup: Any, *, receipts: bool = False) -> None:
        """Put a backup back; with ``receipts`` those that came since are gone too."""
        self.seals._seals[:], tiles, batches = backup
        for held, then in ((self.seals._tiles, tiles), (self.store.leaf_batches, batches)):  # type: ignore[attr-defined]
            held.clear()
            held.update(then)
        if receipts:
            self.seals._receipts.clear()
        self._sealer = sealer_of(self.seals)

    def run(self, config: AuditConfig) -> list[Outcome]:
        """Anchor with everything that is configured."""
        return anchor_newest(self.seals, anchors_of(config))


@pytest.fixture
def log(request: pytest.FixtureRequest) -> Log:
    """A log of 300 leaves."""
    made = Log(request.node.nodeid)
    made.grow()
    return made


@pytest.fixture
def witness(log: Log) -> Iterator[Witness]:
    """A witness that knows the log."""
    with Witness(log.vkey) as running:
        yield running


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authority]:
    """A timestamp authority."""
    with Authority(tmp_path_factory.mktemp("tsa") / "ca") as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for checkpoints."""
    made = tmp_path / "anchors"
    made.mkdir()
    return made


Configure = dict[str, AuditConfig]


@pytest.fixture
def kinds(witness: Witness, authority: Authority, folder: Path) -> Configure:
    """The settings for each kind of anchor."""
    return {
        "directory": AuditConfig(anchor_directory=str(folder)),
        "witness": AuditConfig(anchor_witnesses=f"{witness.url} {witness.vkey}"),
        "timestamp": AuditConfig(anchor_tsa=authority.url, anchor_tsa_ca=str(authority.ca_file)),
    }


KINDS = ["directory", "witness", "timestamp"]


@pytest.mark.parametrize("kind", KINDS)
def test_growth_is_taken_and_a_receipt_kept(log: Log, kinds: Configure, kind: str) -> None:
    """Again without growth too, over tiles that are whole and not."""
    for more in (0, 1, 500, 0):
        if more:
            log.grow(more)
        (done,) = log.run(kinds[kind])
        assert (done.kind, done.failure, done.size) == (kind, None, log.seals.last_seal()["size"])
        (anchor,) = anchors_of(kinds[kind])
        receipt = newest_of(log.seals, anchor)
        assert receipt is not None
        opened = open_checkpoint(receipt["cp"], VerifierKey.parse(log.vkey)).checkpoint
        assert opened.size == done.size == receipt["size"]
    (state,) = look(log.seals, anchors_of(kinds[kind]), 60, datetime.now(UTC))
    assert (state.size, state.failure, state.wrong) == (801, None, False)


@pytest.mark.parametrize("kind", KINDS)
def test_a_rollback_is_refused_and_said(log: Log, kinds: Configure, kind: str) -> None:
    """Against the receipt in the store, before anybody is asked."""
    backup = log.kept()
    log.grow()
    log.run(kinds[kind])
    log.restore(backup)
    (done,) = log.run(kinds[kind])
    assert "rolled back or cut off: it has 300 leaves" in str(done.failure)
    (state,) = look(log.seals, anchors_of(kinds[kind]), 60, datetime.now(UTC))
    assert state.wrong
    assert state.shrunk
    assert state.failure == done.failure


@pytest.mark.parametrize("kind", ["directory", "witness"])
def test_a_rollback_is_refused_without_receipts(log: Log, kinds: Configure, kind: str) -> None:
    """Whoever has the database removes those too; folder and witness know by themselves."""
    backup = log.kept()
    log.grow()
    log.run(kinds[kind])
    log.restore(backup, receipts=True)
    (done,) = log.run(kinds[kind])
    assert "rolled back or cut off: it has 300 leaves" in str(done.failure)


@pytest.mark.parametrize("kind", ["directory", "witness"])
@pytest.mark.parametrize("receipts", [True, False])
@pytest.mark.parametrize("more", [300, 301])
def test_another_history_is_refused(
    log: Log, kinds: Configure, kind: str, receipts: bool, more: int
) -> None:
    """Cut off and grown again, to the same size or beyond, by whoever has the log's key."""
    backup = log.kept()
    log.grow(300)
    log.run(kinds[kind])
    log.restore(backup, receipts=receipts)
    log.store.leaf_batches.clear()  # type: ignore[attr-defined]
    other = Writer(log.store, "other")
    for first, last in ((0, 150), (150, more)):
        other.send(other.record(last - first))
        assert first < last
    log.store.leaf_batches.update(backup[2])  # type: ignore[attr-defined]
    while log._sealer.step(full=True) is not None:
        pass
    assert log.seals.last_seal()["size"] == 300 + more
    (done,) = log.run(kinds[kind])
    says = ("altered", "another checkpoint")
    assert done.failure is not None
    assert any(each in done.failure for each in says)


def test_a_cosigned_receipt_is_checked_with_the_witness_key(
    log: Log, kinds: Configure, witness: Witness
) -> None:
    """It holds the log's signature and the witness's, with its time."""
    (done,) = log.run(kinds["witness"])
    assert done.receipt is not None
    key = VerifierKey.parse(witness.vkey)
    opened = open_checkpoint(done.receipt.note, VerifierKey.parse(log.vkey), [key])
    assert [found.key for found in opened.witnesses] == [key]
    assert done.receipt.time is not None
    assert abs(done.receipt.time - datetime.now(UTC)) < timedelta(minutes=1)


def test_a_witness_that_knows_more_or_less_is_asked_again(
    log: Log, kinds: Configure, witness: Witness
) -> None:
    """Receipts are lost, or the witness lost its memory: its own size is where the proof starts."""
    log.run(kinds["witness"])
    log.seals._receipts.clear()
    log.grow(7)
    assert log.run(kinds["witness"])[0].failure is None
    witness.seen.clear()
    log.grow(7)
    assert log.run(kinds["witness"])[0].failure is None
    assert witness.asked == ["old 0", "old 0", "old 300", "old 307", "old 0"]


@pytest.mark.parametrize(
    ("status", "kind", "body", "says"),
    [
        (404, "text/plain", b"", "does not know this log"),
        (403, "text/plain", b"", "another key"),
        (422, "text/plain", b"", "refuses the proof"),
        (400, "text/plain", b"", "malformed"),
        (500, "text/plain", b"SECRET", "status 500"),
        (302, "text/plain", b"", "status 302"),
        (409, "text/plain", b"5\n", "another checkpoint"),
        (409, "text/x.tlog.size", b"05\n", "another checkpoint"),
        (409, "text/x.tlog.size", b"301\n", "rolled back"),
        (409, "text/x.tlog.size", b"7\n", "another checkpoint"),
        (200, "text/plain", b"", "no list of signatures"),
        (200, "text/plain", b"x\n\n\xe2\x80\x94 a b\n", "no list of signatures"),
        (200, "text/plain", b"\xe2\x80\x94 w AAAAAAAA\n", "no signature by"),
        (200, "text/plain", b"x" * 300_000, "longer than"),
    ],
)
def test_what_a_witness_answers_is_said(
    log: Log, kinds: Configure, witness: Witness, status: int, kind: str, body: bytes, says: str
) -> None:
    """Each refusal in words of ours; nothing that it sent is repeated, and no redirect followed."""
    witness.instead = lambda _: (status, kind, body)
    (done,) = log.run(kinds["witness"])
    assert says in str(done.failure)
    assert "SECRET" not in str(done.failure)


def test_a_signature_by_another_witness_is_refused(
    log: Log, kinds: Configure, witness: Witness
) -> None:
    """Of the same name and another key; and one over another checkpoint."""
    witness.signer = Signer("witness.test/w1")
    (done,) = log.run(kinds["witness"])
    assert "no signature by" in str(done.failure)


@pytest.mark.parametrize("answer", [b"", b"0\x03\x02\x01\x02", b"0\x050\x03\x02\x01\x02"])
def test_an_answer_that_is_no_timestamp_is_refused(
    log: Log, kinds: Configure, authority: Authority, answer: bytes
) -> None:
    """Nothing, something else, and a refusal."""
    authority.change = lambda _: answer
    try:
        (done,) = log.run(kinds["timestamp"])
    finally:
        authority.change = lambda given: given
    assert "is not taken" in str(done.failure)


def test_an_authority_that_repeats_itself_is_refused(
    log: Log, kinds: Configure, authority: Authority
) -> None:
    """An answer from before has another nonce."""
    kept: list[bytes] = []

    def first(given: bytes) -> bytes:
        kept.append(given)
        return kept[0]

    authority.change = first
    try:
        assert log.run(kinds["timestamp"])[0].failure is None
        assert "nonce" in str(log.run(kinds["timestamp"])[0].failure)
    finally:
        authority.change = lambda given: given


def test_a_server_that_hangs_is_left(
    log: Log, monkeypatch: pytest.MonkeyPatch, witness: Witness
) -> None:
    """One that says nothing, and one that says a byte now and then: the limit is on the whole."""
    monkeypatch.setattr(web, "TIMEOUT_S", 0.5)
    stop = threading.Event()

    def drip(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            while not stop.wait(0.1):
                try:
                    connection.sendall(b"x")
                except OSError:
                    return

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=drip, args=[server], daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        began = datetime.now(UTC)
        (done,) = log.run(AuditConfig(anchor_witnesses=f"{url} {witness.vkey}"))
        assert datetime.now(UTC) - began < timedelta(seconds=5)
        stop.set()
        thread.join()
    assert "cut off" in str(done.failure)
    (gone,) = log.run(AuditConfig(anchor_witnesses=f"{url} {witness.vkey}"))
    assert "does not answer (ConnectionRefusedError)" in str(gone.failure)


def test_a_folder_is_only_added_to(log: Log, kinds: Configure, folder: Path) -> None:
    """Files are read-only, and the one that is there stays the same."""
    log.run(kinds["directory"])
    path = folder / "300.checkpoint"
    before = (path.read_bytes(), path.stat().st_mtime_ns)
    assert path.stat().st_mode & 0o777 == 0o444
    log.run(kinds["directory"])
    log.grow(1)
    log.run(kinds["directory"])
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert sorted(each.name for each in folder.iterdir()) == ["300.checkpoint", "301.checkpoint"]


def test_a_file_that_was_cut_off_does_not_stop_the_folder(
    log: Log, kinds: Configure, folder: Path
) -> None:
    """A crash leaves it; it is said while the log has that size, and then passed over."""
    (folder / "300.checkpoint").write_bytes(b"affidavit/")
    assert "not whole" in str(log.run(kinds["directory"])[0].failure)
    log.grow(1)
    assert log.run(kinds["directory"])[0].failure is None
    assert (folder / "300.checkpoint").read_bytes() == b"affidavit/"


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("400.checkpoint", lambda _: b"hello\n", "is no checkpoint"),
        ("400.checkpoint", lambda note: note, "holds a checkpoint of 300"),
        ("300.checkpoint", lambda note: note.replace(b"affidavit/", b"other/"), "another log"),
    ],
)
def test_a_folder_of_something_else_is_refused(
    log: Log, kinds: Configure, folder: Path, name: str, change: Callable[[bytes], bytes], says: str
) -> None:
    """Files that are no checkpoints of this log are never written beside."""
    (folder / name).write_bytes(change(log.seals.last_seal()["cp"].encode()))
    assert says in str(log.run(kinds["directory"])[0].failure)


def test_a_folder_that_is_not_there_is_not_made(log: Log, folder: Path) -> None:
    """It may be one that was not mounted."""
    config = AuditConfig(anchor_directory=str(folder / "away"))
    assert "cannot be used" in str(log.run(config)[0].failure)
    assert not (folder / "away").exists()


def test_one_that_fails_does_not_stop_the_others(log: Log, witness: Witness, folder: Path) -> None:
    """Each has its own outcome, and its failure is kept until it works again."""
    config = AuditConfig(
        anchor_directory=str(folder / "away"),
        anchor_witnesses=f"{witness.url} {witness.vkey}",
    )
    assert [done.failure is None for done in log.run(config)] == [False, True]
    (folder / "away").mkdir()
    states = look(log.seals, anchors_of(config), 60, datetime.now(UTC))
    assert [state.wrong for state in states] == [True, False]
    log.run(config)
    states = look(log.seals, anchors_of(config), 60, datetime.now(UTC))
    assert [state.wrong for state in states] == [False, False]
    late = look(log.seals, anchors_of(config), 60, datetime.now(UTC) + timedelta(minutes=4))
    assert all(state.late for state in late)


def test_tries_are_made_when_they_are_due(log: Log, kinds: Configure, folder: Path) -> None:
    """Whichever process made the last one, and whether it worked or not."""
    anchors = anchors_of(kinds["directory"])
    now = datetime.now(UTC)
    assert len(anchor_due(log.seals, anchors, 60)) == 1
    assert anchor_due(log.seals, anchors, 60) == []
    assert len(anchor_due(log.seals, anchors, 60, now + timedelta(seconds=61))) == 1
    missing = anchors_of(AuditConfig(anchor_directory=str(folder / "away")))
    assert len(anchor_due(log.seals, missing, 60)) == 1
    assert anchor_due(log.seals, missing, 60) == []


def test_the_schedule_anchors_and_survives_an_outage(log: Log, kinds: Configure) -> None:
    """A store that does not answer is complained of once, and asked again."""
    said: list[str] = []
    done, complained = threading.Event(), threading.Event()
    log.store.unavailable = True  # type: ignore[attr-defined]

    def complain(text: str) -> None:
        said.append(text)
        complained.set()

    with Schedule(log.seals, anchors_of(kinds["directory"]), 0.1, lambda _: done.set(), complain):
        assert complained.wait(10)
        log.store.unavailable = False  # type: ignore[attr-defined]
        assert done.wait(10)
    assert len(said) == 1


def test_a_store_closed_under_a_try_after_the_stop_is_no_trouble(
    kinds: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A logger closes its client without waiting for a try under way, and nobody is told of it."""
    log = Log("closed under a try")
    log.grow()
    said: list[str] = []
    asked, closed = threading.Event(), threading.Event()

    def newest_receipt(_: str) -> None:
        asked.set()
        closed.wait(10)
        raise StoreUnavailable("MongoDB does not answer (InvalidOperation).")

    monkeypatch.setattr(log.seals, "newest_receipt", newest_receipt)
    schedule = Schedule(log.seals, anchors_of(kinds["directory"]), 0.1, complain=said.append)
    with schedule:
        assert asked.wait(10)
        schedule.stop()
        closed.set()
    assert said == []


def test_nothing_is_anchored_before_anything_is_sealed(kinds: Configure) -> None:
    """Said by the command; the schedule waits."""
    empty = connect("memory:empty anchors", AuditConfig())
    seals = seals_beside(empty)
    assert seals is not None
    anchors = anchors_of(kinds["directory"])
    with pytest.raises(SealError, match="Nothing is sealed"):
        anchor_newest(seals, anchors)
    assert anchor_due(seals, anchors, 60) == []


KEY = str(Signer("w.example", bytes(32)).key)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"anchor_witnesses": f"http://w.example {KEY}"}, "not https"),
        ({"anchor_witnesses": f"https://w.example {KEY}"}, "a log's key"),
        ({"anchor_witnesses": "https://w.example"}, "address and a vkey"),
        ({"anchor_witnesses": "https://w.example nothing"}, "no vkey"),
        ({"anchor_witnesses": f"ftp://w.example {KEY}"}, "https://host/path"),
        ({"anchor_witnesses": f"https://u:hunter2@w.example {KEY}"}, "no login"),
        ({"anchor_witnesses": f"https://w.example:x {KEY}"}, "https://host/path"),
        ({"anchor_tsa": "https://t.example"}, "go together"),
        ({"anchor_tsa_ca": "ca.pem"}, "go together"),
        ({"anchor_tsa": "https://t.example", "anchor_tsa_ca": "missing.pem"}, "cannot be used"),
    ],
)
def test_settings_that_cannot_be_used_are_named(settings: Any, says: str) -> None:
    """With the setting's name and the next step, and without a password."""
    with pytest.raises(ConfigError, match=says) as raised:
        anchors_of(AuditConfig(**settings))
    assert "anchor_" in str(raised.value)
    assert "hunter2" not in str(raised.value)


def test_plain_http_is_for_loopback_unless_it_is_allowed(authority: Authority) -> None:
    """Many authorities offer nothing else, and their answers are signed."""
    for url, plain, good in (
        ("http://t.example", False, False),
        ("http://t.example", True, True),
        ("http://127.0.0.1:9/x", False, True),
        ("http://[::1]:9", False, True),
        ("http://127.0.0.1.example", False, False),
    ):
        config = AuditConfig(
            anchor_tsa=url, anchor_tsa_ca=str(authority.ca_file), anchor_plain_http=plain
        )
        if good:
            assert len(anchors_of(config)) == 1
        else:
            with pytest.raises(ConfigError, match="not https"):
                anchors_of(config)

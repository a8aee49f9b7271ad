"""A witness on loopback that speaks c2sp.org/tlog-witness over real HTTP, and remembers."""

from __future__ import annotations

import threading
import time
from base64 import b64decode
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self, TypeAlias

from affidavit.integrity.checkpoint import Checkpoint, open_checkpoint
from affidavit.integrity.errors import IntegrityError, ProofError
from affidavit.integrity.merkle import check_consistency
from affidavit.integrity.note import Signer, VerifierKey, cosignature_line, cosigner_key

Answer: TypeAlias = tuple[int, str, bytes]


class Witness:
    """Cosigns what grows, and nothing else.

    Attributes:
        seen: the newest checkpoint of each origin.
        instead: answers in the place of the witness, where it is set.
    """

    def __init__(self, *vkeys: str, name: str = "witness.test/w1") -> None:
        """``vkeys`` are the keys of the logs that it knows."""
        self.signer = Signer(name)
        self.vkey = str(cosigner_key(self.signer.key))
        self.keys = {key.name: key for key in map(VerifierKey.parse, vkeys)}
        self.seen: dict[str, Checkpoint] = {}
        self.asked: list[str] = []
        self.instead: Callable[[bytes], Answer] | None = None
        self._lock = threading.Lock()

    def add_checkpoint(self, body: bytes) -> Answer:  # noqa: PLR0911 - each answer of the protocol
        """Answer a request: status, type and body."""
        head, _, note = body.partition(b"\n\n")
        old_line, *hashes = head.decode().split("\n")
        self.asked.append(old_line)
        old = int(old_line.removeprefix("old "))
        origin = note.split(b"\n", 1)[0].decode()
        key = self.keys.get(origin)
        if key is None:
            return 404, "text/plain", b"unknown log\n"
        try:
            new = open_checkpoint(note, key).checkpoint
        except IntegrityError:
            return 403, "text/plain", b"not signed by the log\n"
        if old > new.size:
            return 400, "text/plain", b"the old size is the larger one\n"
        with self._lock:
            known = self.seen.get(origin)
            if old != (0 if known is None else known.size):
                size = 0 if known is None else known.size
                return 409, "text/x.tlog.size", f"{size}\n".encode()
            if known is not None and known.size == new.size and known.root != new.root:
                return 409, "text/x.tlog.size", f"{known.size}\n".encode()
            try:
                if known is not None:
                    proof = [b64decode(each) for each in hashes]
                    check_consistency(known.size, known.root, new.size, new.root, proof)
                elif hashes:
                    return 422, "text/plain", b"a proof from nothing\n"
            except ProofError:
                return 422, "text/plain", b"the proof does not hold\n"
            self.seen[origin] = new
        line = cosignature_line(new.text(), self.signer, int(time.time()))
        return 200, "text/plain", str(line).encode()

    def __enter__(self) -> Self:
        witness = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.path != "/log/add-checkpoint":
                    status, kind, said = 404, "text/plain", b"no such page\n"
                else:
                    status, kind, said = (witness.instead or witness.add_checkpoint)(body)
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Location", "/log/add-checkpoint?again")
                self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/log"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

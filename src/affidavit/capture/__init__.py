"""Where records come from without the application writing them by hand.

Lives here: one module per framework or SDK, each with pure parsing and a thin wrapper. They do not
know each other; what they share is in :mod:`affidavit._capture`.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from affidavit._capture.asked import Dialect
    from affidavit._recorder import Recorder

SDKS: Final = ("openai", "anthropic")
"""SDKs whose clients are captured, by the name they are imported by."""


def dialect_of(package: str) -> Dialect:
    """Load what is known of an SDK; the SDK itself is not imported."""
    dialect: Dialect = import_module(f"affidavit.capture.{package}").DIALECT
    return dialect


def wrap(client: Any, recorder: Recorder) -> None:
    """Have a client's calls recorded; again for another logger, it is that one's from then on.

    Raises TypeError for what is no client of a captured SDK.
    """
    from affidavit._capture import hook

    for base in type(client).__mro__:
        package = base.__module__.partition(".")[0]
        if package in SDKS and base.__name__ in {"SyncAPIClient", "AsyncAPIClient"}:
            hook.watch(client, recorder, dialect_of(package))
            return
    if isinstance(client, ModuleType) and client.__name__ in SDKS:
        msg = (
            f"wrap() takes one client, such as {client.__name__}.Client(), not the module. For "
            "every client of the process, call `affidavit.instrument(audit)`."
        )
        raise TypeError(msg)
    msg = (
        f"wrap() takes a client of the openai or anthropic SDK, not {type(client).__name__}. "
        "Write `with audit.call(...)` around other calls, or decorate their function with "
        "`@audit.observe`."
    )
    raise TypeError(msg)

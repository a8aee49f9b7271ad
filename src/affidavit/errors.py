"""Every error Affidavit raises.

::

    AffidavitError
    ├── ConfigError            a setting is unknown, malformed or contradictory
    ├── AuditUnavailable       ``on_failure="refuse"``: the intent is not durable, do not call
    ├── StoreError             something about the database (vendor exceptions stop there)
    │   ├── StoreUnavailable   no answer in time: the record goes to the spool and is sent again
    │   ├── StoreRefused       the database answered "no": missing rights, wrong password
    │   └── SetupClash         set-up found something it must not force; ``remedy`` is the command
    ├── SpoolError             the local queue on disk cannot be used
    │   └── SpoolFull          it has reached ``max_spool_bytes``
    ├── SealError              the log cannot grow: a key is missing or another, or it was altered
    ├── UnauditedEgress        ``guard="refuse"`` stopped a connection; it is an OSError too
    └── MissingExtra           an optional dependency is needed; the text names the command

The text of each error names the cause and the next step. It never holds content of a record.
"""

from __future__ import annotations

import errno


class AffidavitError(Exception):
    """The root of the hierarchy: catch this to catch all of ours."""


class ConfigError(AffidavitError, ValueError):
    """A setting is wrong. The text names the setting, the value's kind and the remedy."""


class AuditUnavailable(AffidavitError):  # noqa: N818 - the public name says what is missing
    """The call may not be made: its intent could not be made durable (``on_failure="refuse"``)."""


class StoreError(AffidavitError):
    """The database could not do what was asked."""


class StoreUnavailable(StoreError):  # noqa: N818 - a state, named as operators say it
    """No usable answer in time. Whether the write happened is unknown; repeating it is safe."""


class StoreRefused(StoreError):  # noqa: N818 - a state, named as operators say it
    """The database answered and refused: rights, credentials, or a command it does not know."""


class SetupClash(StoreError):  # noqa: N818 - a state, named as operators say it
    """Set-up found something of another shape and does not force it.

    ``remedy`` holds the exact command an administrator would run.
    """

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy


class SpoolError(AffidavitError):
    """The local spool cannot be used: unwritable directory, damaged file, disk full."""


class SpoolFull(SpoolError):  # noqa: N818 - a state, named as operators say it
    """The spool holds ``max_spool_bytes`` already."""


class SealError(AffidavitError):
    """Nothing can be sealed: the key is not the log's, or the log is not what was sealed."""


class UnauditedEgress(AffidavitError, OSError):  # noqa: N818 - what happened, as its event says it
    """The guard stopped a connection to a model provider that no audited call would have recorded.

    ``host`` and ``port`` name where it would have gone.
    """

    def __init__(self, host: str, port: int) -> None:
        text = (
            f"the guard stopped a connection to {host}:{port} outside an audited call "
            "(guard='refuse'). Wrap the client with audit.wrap(client), or put the call into "
            "`with audit.call(...)` or @audit.observe; guard='record' lets it pass and records it"
        )
        super().__init__(errno.EACCES, text)
        self.host, self.port = host, port

    def __reduce__(self) -> tuple[type[UnauditedEgress], tuple[str, int]]:
        return type(self), (self.host, self.port)


class MissingExtra(AffidavitError, ImportError):  # noqa: N818 - a state, named as operators say it
    """An optional package is not installed; the text names the ``pip install`` that helps."""

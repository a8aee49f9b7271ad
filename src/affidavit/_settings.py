"""The table of settings: type, default, bounds and, in words, what each does here.

Longer than most files here: it is one list, and grows by an entry for each setting.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from affidavit.errors import ConfigError

FOREIGN_VARIABLES: Final = ("AFFIDAVIT_TEST_", "AFFIDAVIT_SERVE_")
"""Prefixes of environment variables that are no settings of the log: the project's own test suite,
and secrets of the HTTP service."""

REDACTION_PRESETS: Final = ("default", "strict", "trading", "off")
"""Names that ``redaction`` takes; :mod:`affidavit.pipeline.redact.policy` says what they mean."""

_TYPED: Final = 1e6
"""From here on ``%g`` would write an exponent, which nobody types."""

_UNITS: Final = {"": 1, "b": 1, "kb": 1024, "mb": 1024**2, "gb": 1024**3, "tb": 1024**4}


def parse_bytes(value: int | str, where: str) -> int:
    """Read a size in bytes: ``1048576``, ``"500MB"``, ``"1GB"`` (powers of 1024)."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?b)?\s*", str(value), re.IGNORECASE)
    if match is None:
        msg = f"{where}{value!r} is not a size. Write bytes as a number, or '500MB', '1GB'."
        raise ConfigError(msg)
    return int(float(match[1]) * _UNITS[(match[2] or "").lower()])


def _in_units(size: int) -> str:
    """Write a whole number of KiB, MiB or GiB in brackets; nothing for other sizes."""
    for unit, name in ((1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB")):
        if size >= unit and size % unit == 0:
            return f" ({size // unit} {name})"
    return ""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: how it is read, checked and explained."""

    name: str
    kind: str
    """``bool``, ``int``, ``float``, ``str``, ``size``, ``choice``, ``rules``, ``table``
    or ``list``."""
    default: Any
    effect: str
    """What it does here, in a sentence or two."""
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    remedy: str = ""
    hidden: Literal["", "all", "login", "paths", "users"] = ""
    """What is never shown: everything, the secrets of an address, all but hosts, names of users."""

    def check(self, value: object, where: str) -> Any:
        """Return the value in its own type, or raise ConfigError naming setting and remedy."""
        if value is None and self.default is None:
            return None
        return _CHECKS[self.kind](self, value, where)

    def wrong(self, where: str, value: object, wanted: str) -> ConfigError:
        """Build the error for a value that does not fit."""
        tail = f" {self.remedy}" if self.remedy else f" The default is {self.default!r}."
        return ConfigError(f"{where}{value!r}: {self.name} must be {wanted}.{tail}")

    def bounded(self, number: float, where: str, value: object) -> None:
        """Raise ConfigError unless the number lies within the bounds."""
        if (self.low is not None and number < self.low) or (
            self.high is not None and number > self.high
        ):
            low = "" if self.low is None else f"at least {self._said(self.low)}"
            top = "" if self.high is None else f"at most {self._said(self.high)}"
            raise self.wrong(where, value, " and ".join(filter(None, (low, top))))

    def _said(self, bound: float) -> str:
        """Write a bound so that it can be typed back; a size also in its unit."""
        if not self.is_size or bound != int(bound):
            return f"{bound:g}" if bound < _TYPED else f"{bound:.0f}"
        return f"{int(bound)} bytes{_in_units(int(bound))}"

    @property
    def is_size(self) -> bool:
        """Whether the number counts bytes."""
        return self.kind == "size" or self.name.endswith("_bytes") or self.name == "max_field_size"


def _bool(setting: Setting, value: object, where: str) -> bool:
    if not isinstance(value, bool):
        raise setting.wrong(where, value, "True or False")
    return value


def _int(setting: Setting, value: object, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise setting.wrong(where, value, "a whole number")
    setting.bounded(value, where, value)
    return value


def _float(setting: Setting, value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        raise setting.wrong(where, value, "a number")
    setting.bounded(value, where, value)
    return value


def _size(setting: Setting, value: object, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise setting.wrong(where, value, "a size in bytes, or a text such as '500MB'")
    number = parse_bytes(value, where)
    setting.bounded(number, where, value)
    return number


def _str(setting: Setting, value: object, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise setting.wrong(where, value, "a non-empty text")
    return value


def _choice(setting: Setting, value: object, where: str) -> str:
    if value not in setting.choices:
        raise setting.wrong(where, value, "one of " + ", ".join(map(repr, setting.choices)))
    return str(value)


def _rules(setting: Setting, value: object, where: str) -> str | dict[str, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    if value not in setting.choices:
        wanted = "one of " + ", ".join(map(repr, setting.choices))
        raise setting.wrong(where, value, f"{wanted}, or a table of rules")
    return str(value)


def _table_of(setting: Setting, value: object, where: str) -> dict[str, Any]:
    if isinstance(value, str):
        value = _pasted(setting, value, where)
    if not isinstance(value, Mapping):
        raise setting.wrong(where, value, "a table")
    return dict(value)


def _list_of(setting: Setting, value: object, where: str) -> tuple[str, ...]:
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or not all(isinstance(each, str) for each in parts):
        raise setting.wrong(where, value, "a list of texts, or a text with commas between them")
    return tuple(name for each in parts if (name := each.strip()))


def _pasted(setting: Setting, text: str, where: str) -> object:
    """Read a table that stands in a text: JSON, or a dictionary as it stands in a Python file.

    With its comments, its single quotes, and the name it is given there. Nothing is run.
    """
    with contextlib.suppress(ValueError):
        return json.loads(text)
    import ast  # seldom needed, and it takes a moment to load

    try:
        *_, last = ast.parse(text.strip()).body
        if isinstance(last, ast.Assign | ast.Expr):
            return ast.literal_eval(last.value)
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
        pass
    raise setting.wrong(where, text[:20], "a table: of TOML, or in a text JSON or a dictionary")


_CHECKS: Final[dict[str, Callable[[Setting, object, str], Any]]] = {
    "bool": _bool,
    "int": _int,
    "float": _float,
    "size": _size,
    "str": _str,
    "choice": _choice,
    "rules": _rules,
    "table": _table_of,
    "list": _list_of,
}

_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"0", "false", "no", "off"})


def from_text(setting: Setting, text: str, variable: str) -> Any:
    """Read the text of an environment variable in the setting's own type."""
    where = f"{variable}="
    if setting.kind == "bool":
        lowered = text.strip().lower()
        if lowered not in _TRUE | _FALSE:
            raise setting.wrong(where, text, "true or false")
        return lowered in _TRUE
    if setting.kind in {"int", "float"}:
        try:
            return int(text) if setting.kind == "int" else float(text)
        except ValueError:
            raise setting.wrong(where, text, "a number") from None
    if setting.kind == "rules" and text.lstrip().startswith("{"):
        try:
            return setting.check(json.loads(text), where)
        except ValueError as error:
            raise setting.wrong(where, text[:20], "a preset's name, or JSON") from error
    return setting.check(text, where)


def _table(*settings: Setting) -> dict[str, Setting]:
    return {setting.name: setting for setting in settings}


SETTINGS: Final[dict[str, Setting]] = _table(
    Setting("enabled", "bool", True, "False records nothing at all; calls still get an id."),
    Setting(
        "ttl_days",
        "int",
        90,
        "Days after which MongoDB removes a record (TTL index). Set-up applies it; on a live "
        "collection `affidavit setup --change-ttl` does. The ledger never expires.",
        low=1,
        high=36500,
        remedy="Use 1 or more; there is no 'keep nothing', and 36500 keeps a century.",
    ),
    Setting(
        "batch_writes",
        "bool",
        False,
        "True collects records and sends them in batches: the caller waits for the local spool's "
        "fsync instead of the database. False sends each record at once.",
    ),
    Setting(
        "batch_size",
        "int",
        10,
        "With batch_writes: so many waiting records trigger a batch. A backlog goes in batches of "
        "up to 1,000 whatever this says.",
        low=1,
        high=1000,
    ),
    Setting(
        "flush_interval",
        "float",
        30.0,
        "With batch_writes: seconds after which a smaller batch goes out too.",
        low=0.05,
        high=3600,
    ),
    Setting(
        "compress_large_fields",
        "bool",
        True,
        "Compresses single text fields of 4 KiB or more, only in a collection whose blocks are "
        "not compressed with zstd: inside zstd blocks it was measured to save nothing. Set-up "
        "creates collections with zstd, so it acts on adopted ones.",
    ),
    Setting(
        "compression_level",
        "int",
        6,
        "zlib level, 1 to 9, for compress_large_fields. No effect on zstd blocks, whose level is "
        "the server's.",
        low=1,
        high=9,
    ),
    Setting(
        "max_field_size",
        "int",
        10240,
        "A text longer than this many bytes is cut: its head and tail stay, with its original "
        "length. No record is ever skipped.",
        low=256,
        high=8 * 1024**2,
    ),
    Setting(
        "index_optimization",
        "bool",
        True,
        "True lets set-up add the indexes that reading needs beside the four of the document. It "
        "never drops one.",
    ),
    Setting(
        "slow_query_threshold",
        "float",
        50.0,
        "Milliseconds from which an audit operation counts as slow: counted in stats() and "
        "logged once a minute.",
        low=1,
    ),
    Setting(
        "separate_database",
        "bool",
        False,
        "True writes to `<database>_audit.llm_logs` with a connection pool of its own; on "
        "audit_uri if that is given, else on the same server.",
    ),
    Setting(
        "async_writes",
        "bool",
        False,
        "True never lets the caller wait: encode and enqueue. A SIGKILL can lose what is neither "
        "stored nor spooled yet: with batch_writes 100 ms or 1,000 records while the writer keeps "
        "up; without, what the database has not confirmed, one write_timeout at most.",
    ),
    Setting(
        "on_failure",
        "choice",
        "spool",
        "'spool' keeps records on local disk while the database is away. 'refuse' raises "
        "AuditUnavailable before the model is called unless the intent is durable.",
        choices=("spool", "refuse"),
    ),
    Setting(
        "durable",
        "choice",
        "store",
        "With on_failure='refuse': what counts as durable, the database ('store') or also the "
        "local spool ('spool').",
        choices=("store", "spool"),
    ),
    Setting(
        "write_timeout",
        "float",
        1.0,
        "Seconds one call may wait for the database in all; then its record is in the spool.",
        low=0.05,
        high=60,
    ),
    Setting(
        "queue_wait",
        "float",
        0.05,
        "Seconds a caller waits when the memory queue is full, before its record is counted lost.",
        low=0,
        high=5,
    ),
    Setting(
        "max_queue_bytes",
        "int",
        64 * 1024**2,
        "Bytes the memory queue may hold.",
        low=1024**2,
        high=4 * 1024**3,
    ),
    Setting(
        "spool_dir",
        "str",
        None,
        "Directory of the local spool; default is the user's state directory "
        "(XDG_STATE_HOME or ~/.local/state)/affidavit.",
    ),
    Setting(
        "max_spool_bytes",
        "size",
        1024**3,
        "Bytes one process may spool. A full spool is reported; records are then counted lost.",
        low=1024**2,
    ),
    Setting(
        "audit_uri",
        "str",
        None,
        "With separate_database: the server that gets the log.",
        hidden="login",
    ),
    Setting(
        "collection",
        "str",
        None,
        "Name of the records collection; default llm_audit, or llm_logs with separate_database.",
    ),
    Setting(
        "auto_setup",
        "bool",
        True,
        "True creates collections and indexes at first use where the database user may.",
    ),
    Setting(
        "legacy_timezone",
        "str",
        None,
        "Time zone of the naive local times an older logger wrote, for reading them.",
    ),
    Setting(
        "reporting_timezone",
        "str",
        "UTC",
        "Time zone of days, weeks and months in sums and reports. Set-up fixes it: a log that was "
        "set up with another one keeps that, and says so.",
        remedy="Write one as 'Europe/Madrid'; the default is 'UTC'.",
    ),
    Setting(
        "redaction",
        "rules",
        "default",
        "What is done with secrets and personal data in texts, before they leave the process: a "
        "preset, or a table of rules. `affidavit redact --explain` shows each preset.",
        choices=REDACTION_PRESETS,
        remedy="`affidavit redact --explain` shows the presets; docs/how-to/redaction.md, rules.",
    ),
    Setting(
        "identity",
        "choice",
        "plain",
        "'keyed' stores user_id, session_id, conversation_id and the client's address as keyed "
        "tokens: the same person stays linkable, and cannot be read without redaction_key.",
        choices=("plain", "keyed"),
    ),
    Setting(
        "redaction_key",
        "str",
        None,
        "Key for pseudonyms and keyed identity: the path of a file with at least 32 bytes "
        "(`affidavit redact key` makes one), or hex: and 64 digits. Never shown or stored.",
    ),
    Setting(
        "said_key",
        "str",
        None,
        "Key for `affidavit said`: each request also stores keyed hashes of the words that were "
        "sent, before redaction; without it none. A file, or hex:, as redaction_key. Never shown "
        "or stored.",
        remedy="docs/how-to/incident.md says what the hashes tell, and to whom.",
    ),
    Setting(
        "seal_public_key",
        "str",
        None,
        "Public key for the action 'seal': 64 hexadecimal digits, or the path of a file with "
        "them. `affidavit redact keypair` makes a pair; the private half stays elsewhere.",
    ),
    Setting(
        "seal",
        "choice",
        "auto",
        "'auto' lets this process seal the log, on a thread of its own, while no other sealer was "
        "seen for a minute, its key is on this host, and the database user may insert seals. 'off' "
        "leaves that to `affidavit seal`.",
        choices=("auto", "off"),
        remedy="docs/how-to/sealing.md says who should seal in production.",
    ),
    Setting(
        "seal_key_file",
        "str",
        None,
        "Path of the log's private key, a file of mode 0600; default is a file under the user's "
        "state directory (XDG_STATE_HOME or ~/.local/state)/affidavit/keys.",
    ),
    Setting(
        "seal_vkey",
        "str",
        None,
        "The log's public key as one line (`affidavit keys show`), for whoever verifies: "
        "`affidavit verify` then takes no other key for the log's.",
    ),
    Setting(
        "seal_key",
        "str",
        None,
        "The log's private key itself, as `affidavit keys export --private` writes it, for hosts "
        "that get secrets in their environment. Never shown or stored.",
        hidden="all",
    ),
    Setting(
        "rolling_percent",
        "int",
        1,
        "Share of one processor, in percent, at which whoever seals verifies the whole log again "
        "and again. 0: not at all. At 1 some 300 records are read a second.",
        low=0,
        high=50,
    ),
    Setting(
        "anchor_directory",
        "str",
        None,
        "Folder, outside the database's reach, into which each anchored checkpoint is written as "
        "`<size>.checkpoint`. It must exist; nothing in it is overwritten or removed.",
    ),
    Setting(
        "anchor_witnesses",
        "str",
        None,
        "Witnesses that cosign checkpoints (c2sp.org/tlog-witness): address and vkey of each, "
        "separated by a space; several by commas.",
        remedy="docs/how-to/anchors.md shows one.",
    ),
    Setting(
        "anchor_tsa",
        "str",
        None,
        "Address of a timestamp authority (RFC 3161). Needs anchor_tsa_ca.",
    ),
    Setting(
        "anchor_tsa_ca",
        "str",
        None,
        "PEM file with the certificates to which the timestamp authority's own must lead.",
    ),
    Setting(
        "anchor_every_s",
        "int",
        3600,
        "Seconds between two tries of `affidavit seal` to anchor the newest checkpoint. What was "
        "sealed since the last one is what an administrator could cut off unnoticed.",
        low=10,
        high=7 * 86_400,
    ),
    Setting(
        "anchor_plain_http",
        "bool",
        False,
        "True allows addresses of witnesses and authorities with http:// beyond this host. Their "
        "answers are signed; without it only https and loopback are allowed.",
    ),
    Setting(
        "guard",
        "choice",
        "off",
        "What a connection to a model provider's address outside an audited call does: 'record' "
        "leaves a security_event of kind unaudited_egress, 'refuse' also stops the connection. "
        "`instrument()` takes 'record' where nothing else is said.",
        choices=("off", "record", "refuse"),
        remedy="docs/how-to/guard.md says what it sees and what escapes it.",
    ),
    Setting(
        "guard_hosts",
        "str",
        None,
        "With guard: hosts of models of your own, beside the known providers. Names or addresses, "
        "separated by commas, with * and a port where wanted: 'llm.internal, 127.0.0.1:11434'.",
    ),
    Setting(
        "pricing",
        "choice",
        "auto",
        "'auto' gives a call without a cost the one that its tokens have in the price list of this "
        "installation, if the model is in it. 'off' stores only costs that the application says.",
        choices=("auto", "off"),
        remedy="docs/how-to/prices.md says how a cost comes about.",
    ),
    Setting(
        "price_overrides",
        "str",
        None,
        "TOML file with prices of your own, over those of the list: a contract's, a discount, a "
        "model that the list has not. Read when a process starts; docs/how-to/prices.md.",
    ),
    Setting("department", "str", None, "Department of every record that names none."),
    Setting("tenant", "str", None, "Tenant of every record that names none."),
    Setting("environment", "str", None, "Environment of every record, such as 'production'."),
    Setting("service", "str", None, "Name of the application that records."),
)

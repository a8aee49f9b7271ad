"""The state of the sealing in words, for ``status`` and ``doctor``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from affidavit.sealer.health import ago

if TYPE_CHECKING:
    from collections.abc import Iterator

    from affidavit.config import AuditConfig
    from affidavit.sealer.health import Health
    from affidavit.store.findings import Finding
    from affidavit.store.mongo.log import MongoLog


def words(health: Health) -> str:
    """Say who seals, how far it is behind, and what the newest checkpoint holds."""
    if health.odd is not None:
        return f"the document {health.odd} among the seals is no seal, and nothing can be sealed"
    if health.checkpoint_age_s is None:
        waits = f"; {health.waiting} leaf batches wait" if health.waiting else ""
        return f"nobody has sealed this log yet{waits}"
    by = health.sealer or {}
    who = f"{by.get('program')} on {by.get('host')} ({by.get('where')})"
    parts = [
        f"{health.size} leaves in the checkpoint of {ago(health.checkpoint_age_s)}",
        f"sealer {who} seen {ago(health.sealer_age_s or 0.0)}",
        f"lag {health.lag_s:.1f} s" if health.waiting else "nothing waits",
        f"level {health.level}",
    ]
    if health.verified_age_s is not None and health.damage is None:
        parts.append(f"the whole verified {ago(health.verified_age_s)}")
    if health.excuses is not None:
        parts.append(f"NEW REASONS for what is gone: {health.excuses}")
    return ", ".join(parts)


def alarm(health: Health) -> str | None:
    """Say what the verification beside the sealer found, if anything."""
    if health.damage is None:
        return None
    return f"THE LOG DOES NOT HOLD ({ago(health.verified_age_s or 0.0)}): {health.damage}"


def findings(config: AuditConfig, log: MongoLog) -> Iterator[Finding]:
    """Check that somebody seals, that nothing waits long, and the key that is here."""
    from affidavit.errors import StoreError, StoreUnavailable
    from affidavit.sealer.health import LATE, look
    from affidavit.store.findings import Finding, Level

    try:
        health = look(log.seals, datetime.now(UTC), config.seal_vkey)
    except StoreUnavailable:
        return  # the connection is a finding of its own
    except StoreError as error:
        yield Finding("sealing", Level.NOTE, f"not looked at: {error}")
        return
    remedy = "Run `affidavit seal` as a service; docs/how-to/sealing.md."
    if health.odd is not None:
        verify = "`affidavit verify --checkpoint FILE`; docs/how-to/verify.md."
        yield Finding("sealing", Level.WRONG, words(health), verify)
    elif health.lag_s > LATE.total_seconds():
        yield Finding("sealing", Level.WRONG, words(health), remedy)
    elif health.checkpoint_age_s is None:
        yield Finding("sealing", Level.NOTE, words(health), remedy)
    else:
        yield Finding("sealing", Level.OK, words(health))
    if health.refused:
        yield Finding(
            "sealing",
            Level.WRONG,
            f"the newest seal names {health.refused} leaf batches as wrong",
            "`affidavit verify` says what was done to them.",
        )
    found = alarm(health)
    if found is not None:
        yield Finding(
            "sealed log",
            Level.WRONG,
            found,
            "`affidavit verify --checkpoint FILE`; docs/how-to/verify.md.",
        )
    if health.beside:
        yield Finding(
            "log key",
            Level.NOTE,
            "the log is self-attested: its key lies on a host that writes records",
            "In production seal on a host of its own; docs/how-to/sealing.md.",
        )
    elif health.level == "self-attested":
        yield Finding(
            "log key",
            Level.NOTE,
            "the log is self-attested: nothing outside the database says which key is its own",
            "Set seal_vkey to its public key, known from elsewhere; docs/how-to/verify.md.",
        )
    yield from _key(config, log)


def _key(config: AuditConfig, log: MongoLog) -> Iterator[Finding]:
    from affidavit.errors import SealError, StoreError
    from affidavit.sealer import keys
    from affidavit.store.findings import Finding, Level

    try:
        key = keys.open_key(log.seals, config, create=False)
    except keys.KeyMissing:
        return  # another host seals, or nobody yet
    except StoreError as error:
        yield Finding("log key", Level.NOTE, f"not looked at: {error}")
    except SealError as error:
        yield Finding("log key", Level.WRONG, str(error), "`affidavit keys show` says more.")
    else:
        where = "in the setting seal_key" if key.path is None else f"in {key.path}"
        yield Finding("log key", Level.OK, f"the key of {key.origin} is {where}")

"""The second half of the demonstration: an administrator at work, and a log that notices.

The log is sealed, its checkpoint goes to a file outside the database, and the log verifies. Then
the cost of one stored outcome is edited and another outcome is deleted, with PyMongo and past
everything of this package. The verification against the file must name both, and nothing else.

In a database of the user's, only two records that this very run wrote are touched. Their bytes are
kept on disk first, and both are put back, bit for bit.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from affidavit.demo.check import RECORDS, cost_of, plain_cost
from affidavit.errors import AffidavitError, SealError, StoreError
from affidavit.evidence.place import index_of
from affidavit.integrity.trust import Trust
from affidavit.integrity.verify import Scope
from affidavit.integrity.verify import verify as check
from affidavit.sealer import keys
from affidavit.sealer.sealing import Sealer
from affidavit.sealer.seen import Seen

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pymongo.database import Database

    from affidavit.demo.settings import Price
    from affidavit.integrity.findings import Finding
    from affidavit.integrity.findings import Report as Verified
    from affidavit.store.mongo.log import MongoLog

COST: Final = "response_data.cost_usd"
SEAL_TIMEOUT_S: Final = 20.0
"""Seconds that the run's records may take until they are sealed."""

_PAUSE_S: Final = 0.3
_TRIES: Final = 5
_SHARE: Final = Decimal(100)
"""The edited cost is this part of the true one."""


class Act(msgspec.Struct):
    """What the administrator did to one record, and what the verification said of it.

    Attributes:
        what: ``edited`` or ``deleted``.
        cost_usd: the call's cost, as it was.
        cost_now_usd: as it was edited.
        found_as: the kind of the finding; empty if it was not found.
        finding: its text.
    """

    what: str
    call_id: str
    user_id: str
    model: str
    cost_usd: str | None
    cost_now_usd: str | None = None
    found_as: str = ""
    finding: str = ""


class Tampering(msgspec.Struct):
    """The second half: what was sealed, what was done to it, what was found.

    Attributes:
        left_out: why nothing was done; empty where it was.
        problems: whatever did not come out as it must.
        leaves: of the log, at the checkpoint that was saved.
        checkpoint: the signed note itself; ``checkpoint_file`` is where it was saved.
        clean_before: the log verified before it was touched.
        acts: the edit and the deletion.
        put_back: both records are again what they were, and the log verifies.
        key_file: where the log's private key lies, if it is on this host.
        command: what repeats the verification by hand.
    """

    left_out: str = ""
    problems: list[str] = []
    leaves: int = 0
    checkpoint: str = ""
    checkpoint_file: str = ""
    clean_before: bool = False
    acts: list[Act] = []
    put_back: bool = False
    key_file: str = ""
    command: str = ""


class Run(NamedTuple):
    """What the second half must know of the first.

    Attributes:
        environment: of the records that this run wrote; no others are touched.
        prices: by model, for calls whose record names no cost.
        since_ms: when the run began; records before it are not read. None: the whole log.
        checkpoint_file: where the checkpoint goes.
        seen: the folder where a sealer notes what it has seen; None is the user's own.
        put_back: leave everything as it was.
    """

    environment: str
    prices: Mapping[str, Price]
    since_ms: int | None
    checkpoint_file: Path
    seen: Path | None
    put_back: bool


class _LeftOutError(Exception):
    """The second half cannot be shown here; the text says why."""


def commit(
    log: MongoLog, database: Database[dict[str, Any]], run: Run, say: Callable[[str], None]
) -> Tampering:
    """Seal, save the checkpoint, verify, edit and delete, verify; put back where that is wanted.

    ``log`` is the log as its tools see it, ``database`` the same as an administrator does. What
    goes wrong is in the result, and nothing is raised but what stops the process.
    """
    from pymongo.errors import PyMongoError

    result = Tampering(
        checkpoint_file=str(run.checkpoint_file),
        command=f"affidavit verify --checkpoint {run.checkpoint_file}",
        problems=[],
        acts=[],
    )
    try:
        _shown(log, database, run, result, say)
    except _LeftOutError as reason:
        result.left_out = str(reason)
    except (AffidavitError, OSError) as error:
        result.problems.append(f"the second half stopped: {error}")
    except PyMongoError as error:  # its text may hold what was sent
        result.problems.append(f"the second half stopped: {type(error).__name__}")
    return result


def _shown(
    log: MongoLog,
    database: Database[dict[str, Any]],
    run: Run,
    result: Tampering,
    say: Callable[[str], None],
) -> None:
    edited, deleted = _victims(database, run)
    say("Sealing the log, and saving its checkpoint outside the database")
    _seal(log, run, _numbers(database, run), result)
    before = _verified(log, run, result)
    result.leaves = before.size
    result.clean_before = before.clean and before.saved_size is not None
    if not result.clean_before:
        found = "; ".join(finding.text for finding in before.findings[:3])
        result.problems.append(f"the log did not verify before it was touched: {found or 'empty'}")
        return
    say(f"It verifies: {before.size} leaves, nothing is wrong")
    acts = [_act("edited", edited, run), _act("deleted", deleted, run)]
    price = Decimal(acts[0].cost_usd or 0) / _SHARE
    acts[0].cost_now_usd = plain_cost(price)
    say("The second crime: an administrator edits a cost and deletes a record, in MongoDB itself")
    with _crime(database, run, edited, deleted, price, result):
        after = _verified(log, run, result)
        result.acts = acts
        match(after.findings, [(edited, acts[0]), (deleted, acts[1])], result)
    if run.put_back:
        again = _verified(log, run, result)
        result.put_back = again.clean
        if again.clean:
            say("Both records are put back as they were, and the log verifies again")
        else:
            result.problems.append("the records were put back, and the log does not verify")


# -- the records ----------------------------------------------------------------------------------


def _victims(database: Database[dict[str, Any]], run: Run) -> tuple[dict[str, Any], dict[str, Any]]:
    """Choose the dearest outcome with a stored cost, and the dearest of another user."""
    query = {
        "environment": run.environment,
        "event_type": "llm_response",
        "status": "completed",
    }
    found = list(database[RECORDS].find(query))
    found.sort(key=lambda record: cost_of(record, run.prices) or Decimal(0), reverse=True)
    edited = next((r for r in found if (r.get("response_data") or {}).get("cost_usd")), None)
    if edited is None:
        msg = "no record of this run holds a cost"
        raise _LeftOutError(msg)
    deleted = next((r for r in found if r.get("user_id") != edited.get("user_id")), None)
    if deleted is None:
        msg = "only one user's calls were completed"
        raise _LeftOutError(msg)
    return edited, deleted


def _numbers(database: Database[dict[str, Any]], run: Run) -> list[tuple[str, int]]:
    """Name each writer of the run, with its newest record's number."""
    groups = database[RECORDS].aggregate(
        [
            {"$match": {"environment": run.environment}},
            {"$group": {"_id": "$writer", "newest": {"$max": "$seq"}}},
        ]
    )
    return [(str(group["_id"]), int(group["newest"])) for group in groups]


def _act(what: str, record: Mapping[str, Any], run: Run) -> Act:
    return Act(
        what=what,
        call_id=str(record.get("call_id", "")),
        user_id=str(record.get("user_id", "")),
        model=str(record.get("model", "")),
        cost_usd=plain_cost(cost_of(record, run.prices)),
    )


# -- sealing and verifying ------------------------------------------------------------------------


def _seal(log: MongoLog, run: Run, wanted: list[tuple[str, int]], result: Tampering) -> None:
    """Seal until all that the run wrote is in the log, and save the newest checkpoint."""
    seals, why = log.seals, ""
    sealer = Sealer(
        seals,
        lambda: keys.open_key(seals, log.config),
        where="in-process",
        seen=Seen(seals.dataset, run.seen),
    )
    deadline_s = time.monotonic() + SEAL_TIMEOUT_S
    while True:
        if not why:
            try:
                sealer.step()
                result.key_file = str(sealer.key.path or "")
            except (SealError, StoreError) as error:
                why = str(error)  # then another process may seal it
        wanted = [number for number in wanted if index_of(seals, *number) is None]
        if not wanted:
            break
        if time.monotonic() > deadline_s:
            msg = f"the run's records were not sealed within {SEAL_TIMEOUT_S:.0f} s"
            if why and run.put_back:
                raise _LeftOutError(f"{msg}. {why}")
            raise SealError(f"{msg}. {why}".rstrip(" ."))
        time.sleep(_PAUSE_S)
    last = seals.last_seal()
    if last is None:
        msg = "the log has no checkpoint"
        raise SealError(msg)
    result.checkpoint = str(last["cp"])
    run.checkpoint_file.write_text(result.checkpoint, encoding="utf-8")


def _verified(log: MongoLog, run: Run, result: Tampering) -> Verified:
    """Verify against the saved file, as ``affidavit verify --checkpoint`` does."""
    log.note_access("verify", {"since_ms": run.since_ms, "sample": None}, None)
    saved = Path(result.checkpoint_file).read_text(encoding="utf-8")
    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    return check(log.seals, Trust(saved=saved), now_ms=now_ms, scope=Scope(run.since_ms))


def match(
    findings: Sequence[Finding], done: list[tuple[dict[str, Any], Act]], result: Tampering
) -> None:
    """Hold what was found against what was done, both ways."""
    left = list(findings)
    for record, act in done:
        place = (record["writer"], record["seq"])
        for finding in left:
            if (finding.where.get("writer"), finding.where.get("seq")) == place:
                act.found_as, act.finding = finding.kind.value, finding.text
                left.remove(finding)
                break
        else:
            result.problems.append(f"nobody found that call {act.call_id} was {act.what}")
    result.problems += [f"found, and nobody did it: {finding.text}" for finding in left[:3]]


# -- the crime ------------------------------------------------------------------------------------


@contextlib.contextmanager
def _crime(
    database: Database[dict[str, Any]],
    run: Run,
    edited: Mapping[str, Any],
    deleted: Mapping[str, Any],
    price: Decimal,
    result: Tampering,
) -> Iterator[None]:
    """Edit one record and delete the other; put both back at the end where that is wanted."""
    from bson import CodecOptions, Decimal128
    from bson.raw_bson import RawBSONDocument
    from pymongo.errors import OperationFailure

    records = database[RECORDS]
    options = CodecOptions(document_class=RawBSONDocument)
    # The environment is this run's alone: no other record can be meant.
    mine = [{"_id": one["_id"], "environment": run.environment} for one in (edited, deleted)]
    whole = [records.with_options(codec_options=options).find_one(one) for one in mine]
    kept = run.checkpoint_file.with_suffix(".bson")
    if run.put_back:
        kept.write_bytes(b"".join(document.raw for document in whole if document is not None))
    try:
        try:
            records.update_one(mine[0], {"$set": {COST: Decimal128(price)}})
            records.delete_one(mine[1])
        except OperationFailure as error:
            msg = f"this database user may not edit and delete records (code {error.code})"
            raise _LeftOutError(msg) from None
        yield
    finally:
        if run.put_back:
            _put_back(records, list(zip(mine, whole, strict=True)), kept, result)


def _put_back(
    records: Any, documents: list[tuple[dict[str, Any], Any]], kept: Path, result: Tampering
) -> None:
    """Write both records as they were, byte for byte."""
    from pymongo.errors import PyMongoError

    for attempt in range(1, _TRIES + 1):
        try:
            for query, document in documents:
                now = records.find_one(query, {"_id": 1})
                if now is None:
                    records.insert_one(document)
                elif not _same(records, query, document):
                    records.replace_one(query, document)
        except PyMongoError as error:
            if attempt == _TRIES:
                result.problems.append(
                    f"the two records could not be put back ({type(error).__name__}). They are in "
                    f"{kept}: write them to {records.full_name} with mongorestore"
                )
            else:
                time.sleep(_PAUSE_S * attempt)
        else:
            kept.unlink(missing_ok=True)
            return


def _same(records: Any, query: Mapping[str, Any], document: Any) -> bool:
    options = records.codec_options.with_options(document_class=type(document))
    held = records.with_options(codec_options=options).find_one(query)
    return held is not None and bytes(held.raw) == bytes(document.raw)

"""Retrying dead letters: the same bytes again, after their cause was mended."""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

from affidavit.config import AuditConfig
from affidavit.spool import owner
from affidavit.spool.dead import DeadLetter, DeadLetters
from affidavit.store.base import Outcome, Store

__all__ = ["DeadLetter", "Retried", "dead_letters", "retry"]

_BATCH: Final = 500
_TIMEOUT_S: Final = 30.0


class Retried(NamedTuple):
    """What a retry came to."""

    stored: list[DeadLetter]
    refused: list[tuple[DeadLetter, str]]
    """Still refused, with the reason given now."""


def dead_letters(config: AuditConfig, dataset: str) -> DeadLetters:
    """Find the dead letters of a dataset on this host."""
    directory = Path(config.spool_dir) if config.spool_dir else owner.default_directory()
    return DeadLetters(owner.dataset_folder(directory, dataset))


def retry(store: Store, letters: DeadLetters, chosen: list[DeadLetter]) -> Retried:
    """Send dead letters again, unchanged; those that are stored now are forgotten.

    Raises StoreUnavailable if the store does not answer; nothing is forgotten then.
    """
    done = Retried([], [])
    for start in range(0, len(chosen), _BATCH):
        part = chosen[start : start + _BATCH]
        verdicts = store.append([letter.record for letter in part], _TIMEOUT_S)
        stored = []
        for letter, verdict in zip(part, verdicts, strict=True):
            if verdict.outcome is Outcome.STORED:
                stored.append(letter)
            else:
                done.refused.append((letter, verdict.reason))
        letters.forget(stored)
        done.stored.extend(stored)
    return done

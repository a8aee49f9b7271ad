"""Folders and files for evidence: new ones, and readable by their owner only."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from affidavit.errors import ConfigError

_FOLDER_MODE: Final = 0o700


def new_folder(out: Path) -> Path:
    """Make the folder. Raises ConfigError where it is there already or cannot be made."""
    try:
        out.mkdir(parents=True, mode=_FOLDER_MODE)
    except OSError as error:
        msg = f"{out} cannot be made ({error.strerror}). Name a folder that does not exist yet."
        raise ConfigError(msg) from error
    return out


def new_file(path: Path) -> Path:
    """Make an empty file, and the folders on the way to it."""
    missing = [folder for folder in path.parents if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(mode=_FOLDER_MODE)
    path.touch(mode=0o600)
    return path

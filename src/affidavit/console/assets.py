"""The console's own files: styles, scripts, and what is vendored. Read once, served from memory.

The address of a file holds a part of its hash, so a browser keeps it for ever and asks again when
it changes. Nothing is fetched from anywhere else.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable
from types import MappingProxyType
from typing import Final

TYPES: Final[Mapping[str, str]] = MappingProxyType(
    {
        ".css": "text/css; charset=utf-8",
        ".js": "text/javascript; charset=utf-8",
        ".svg": "image/svg+xml",
        ".png": "image/png",
    }
)
"""What is served, by the end of its name; other files of the folder are not."""

_SHOWN: Final = 12


@dataclass(frozen=True, slots=True)
class Asset:
    """One file."""

    name: str
    media_type: str
    digest: str
    """SHA-256 in hexadecimal digits."""
    data: bytes
    zipped: bytes

    @property
    def url(self) -> str:
        """The address, with a part of the hash."""
        return f"/static/{self.digest[:_SHOWN]}/{self.name}"


@lru_cache(maxsize=1)
def assets() -> Mapping[str, Asset]:
    """Read every file once; by its name below ``static/``."""
    folder = files("affidavit.console") / "static"
    return MappingProxyType({asset.name: asset for asset in _below(folder, "")})


def _below(folder: Traversable, place: str) -> list[Asset]:
    found: list[Asset] = []
    for item in sorted(folder.iterdir(), key=lambda item: item.name):
        name = f"{place}{item.name}"
        media_type = TYPES.get(f".{item.name.rpartition('.')[2]}")
        if item.is_dir():
            found += _below(item, f"{name}/")
        elif media_type is not None:
            data = item.read_bytes()
            digest = sha256(data).hexdigest()
            found.append(Asset(name, media_type, digest, data, gzip.compress(data, 9, mtime=0)))
    return found


def url(name: str) -> str:
    """Give the address of a file. Raises KeyError for one that is not there."""
    return assets()[name].url


def find(path: str) -> Asset | None:
    """Find a file by its address below ``/static/``; None for one that is not, or was, there."""
    digest, _mark, name = path.partition("/")
    asset = assets().get(name)
    return asset if asset is not None and asset.digest[:_SHOWN] == digest else None

"""Reads the keys that settings name: a file, or the key itself in hexadecimal digits."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from affidavit.errors import ConfigError

INLINE: Final = "hex:"
_KEY_BYTES: Final = 32
_HEX_KEY: Final = re.compile(r"[0-9a-fA-F]{64}")


def key_bytes(setting: str, name: str = "redaction_key") -> bytes:
    """Read ``redaction_key``: a file with at least 32 bytes, or ``hex:`` and at least 64 digits.

    ``name`` is that of another setting of the same kind. The key is what the file holds, byte for
    byte but for white space around it: the digits in a file that `affidavit redact key` made are
    not read as hexadecimal.
    """
    if setting.startswith(INLINE):
        try:
            key = bytes.fromhex(setting[len(INLINE) :])
        except ValueError as error:
            msg = (
                f"{name}: after {INLINE} come hexadecimal digits, two for each byte, and "
                "something else stands there. `affidavit redact key` makes a file with a key."
            )
            raise ConfigError(msg) from error
    else:
        try:
            key = Path(setting).expanduser().read_bytes().strip()
        except OSError as error:
            msg = (
                f"{name}: {setting} cannot be read ({error.strerror}). "
                "`affidavit redact key` makes such a file."
            )
            raise ConfigError(msg) from error
    if len(key) < _KEY_BYTES:
        msg = (
            f"{name}: {_KEY_BYTES} bytes or more are needed, and these are {len(key)}. "
            "`affidavit redact key` makes a file with a good one."
        )
        raise ConfigError(msg)
    return key


def public_key_bytes(setting: str) -> bytes:
    """Read ``seal_public_key``: 64 hexadecimal digits, or a file with them."""
    text = setting
    if not _HEX_KEY.fullmatch(text):
        try:
            text = Path(setting).expanduser().read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            text = ""
    if not _HEX_KEY.fullmatch(text):
        msg = (
            f"seal_public_key: {setting} is neither 64 hexadecimal digits nor a file with them. "
            "`affidavit redact keypair` makes a pair."
        )
        raise ConfigError(msg)
    return bytes.fromhex(text)

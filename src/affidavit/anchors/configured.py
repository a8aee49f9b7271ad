"""The anchors that the settings name."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from affidavit.anchors.authority import Authority
from affidavit.anchors.base import Anchor
from affidavit.anchors.directory import Directory
from affidavit.anchors.web import parse_address
from affidavit.anchors.witness import Witness
from affidavit.config import AuditConfig
from affidavit.errors import ConfigError
from affidavit.integrity.errors import IntegrityError
from affidavit.integrity.note import COSIGNATURE, VerifierKey
from affidavit.integrity.timestamps import load_roots

_PARTS: Final = 2


def anchors_of(config: AuditConfig) -> list[Anchor]:
    """Give every anchor that is configured; perhaps none. No network traffic happens here.

    Raises ConfigError for an address, key or file that cannot be used.
    """
    found: list[Anchor] = []
    if config.anchor_directory is not None:
        found.append(Directory(Path(config.anchor_directory).expanduser()))
    found += witnesses_of(config)
    if (config.anchor_tsa is None) != (config.anchor_tsa_ca is None):
        msg = (
            "anchor_tsa and anchor_tsa_ca go together: the address of the authority, and a PEM "
            "file with the certificate that is trusted for it."
        )
        raise ConfigError(msg)
    if config.anchor_tsa is not None and config.anchor_tsa_ca is not None:
        found.append(_authority(config.anchor_tsa, config.anchor_tsa_ca, config.anchor_plain_http))
    return found


def witnesses_of(config: AuditConfig) -> list[Witness]:
    """Give the witnesses that are configured. Raises ConfigError."""
    found: list[Witness] = []
    for entry in (config.anchor_witnesses or "").split(","):
        parts = entry.split()
        if not parts:
            continue
        if len(parts) != _PARTS:
            msg = "anchor_witnesses: each witness is an address and a vkey, with a space between."
            raise ConfigError(msg)
        address = parse_address(parts[0], "anchor_witnesses", plain_http=config.anchor_plain_http)
        try:
            key = VerifierKey.parse(parts[1])
        except IntegrityError as error:
            msg = f"anchor_witnesses: {error}"
            raise ConfigError(msg) from error
        if key.algorithm != COSIGNATURE:
            msg = (
                f"anchor_witnesses: {key.name} is a log's key, not a witness's, whose kind is 4 "
                "(cosignature/v1). Ask whoever runs the witness for it."
            )
            raise ConfigError(msg)
        if any(each.key == key for each in found):
            msg = f"anchor_witnesses: {key.name} is named twice."
            raise ConfigError(msg)
        found.append(Witness(address, key))
    return found


def _authority(url: str, ca_file: str, plain_http: bool) -> Authority:
    address = parse_address(url, "anchor_tsa", plain_http=plain_http)
    try:
        roots = load_roots(Path(ca_file).expanduser().read_bytes())
    except (OSError, IntegrityError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        msg = f"anchor_tsa_ca: {ca_file} cannot be used. {why}"
        raise ConfigError(msg) from error
    return Authority(address, roots)

"""Whether a certificate for timestamps leads to a trusted one, at a time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final

from affidavit.integrity.errors import SignatureError

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

LONGEST: Final = 8
"""Certificates between the signer's and the trusted one."""


def check_chain(
    signer: Certificate,
    others: Sequence[Certificate],
    roots: Sequence[Certificate],
    at: datetime,
) -> None:
    """Check the signer's certificate, and those between it and a trusted one.

    Each must be valid at ``at``, and be used for what it is made for. What is not understood and
    marked as critical refuses a certificate; names and revocation are not looked at. Raises
    SignatureError.
    """
    _check_purpose(signer)
    current = signer
    for below in range(LONGEST + 1):
        _check_valid(current, at)
        if current in roots:
            return
        issuer = _issuer(current, roots) or _issuer(current, others)
        if issuer is None:
            break
        _check_authority(issuer, below)
        current = issuer
    msg = "The authority's certificate does not lead to one in the file of trusted ones."
    raise SignatureError(msg)


def _issuer(certificate: Certificate, among: Sequence[Certificate]) -> Certificate | None:
    """Find who issued it, by the signature."""
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

    for each in among:
        if each == certificate or each.subject != certificate.issuer:
            continue
        try:
            certificate.verify_directly_issued_by(each)
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
            continue
        return each
    return None


def _check_valid(certificate: Certificate, at: datetime) -> None:
    from cryptography import x509

    if not certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc:
        msg = "A certificate of the authority was not valid at the time of the timestamp."
        raise SignatureError(msg)
    understood = {
        x509.BasicConstraints.oid, x509.KeyUsage.oid, x509.ExtendedKeyUsage.oid,
    }  # fmt: skip
    for extension in certificate.extensions:
        if extension.critical and extension.oid not in understood:
            msg = "A certificate of the authority makes a condition that is not understood here."
            raise SignatureError(msg)


def _check_purpose(certificate: Certificate) -> None:
    """RFC 3161, 2.3: a key for timestamps, marked as critical, and for nothing else."""
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID

    for extension in certificate.extensions:
        if isinstance(extension.value, x509.ExtendedKeyUsage) and extension.critical:
            if list(extension.value) == [ExtendedKeyUsageOID.TIME_STAMPING]:
                return
            break
    msg = "The certificate that signed is not one for timestamps alone."
    raise SignatureError(msg)


def _check_authority(certificate: Certificate, below: int) -> None:
    """Check that it may issue, with so many certificates of authorities below it."""
    from cryptography import x509

    may_sign = is_authority = True
    constrained = False
    for extension in certificate.extensions:
        value = extension.value
        if isinstance(value, x509.BasicConstraints):
            constrained = True
            is_authority = value.ca and (value.path_length is None or value.path_length >= below)
        elif isinstance(value, x509.KeyUsage):
            may_sign = value.key_cert_sign
    if not (constrained and is_authority and may_sign):
        msg = "The authority's certificate was issued by one that may not issue it."
        raise SignatureError(msg)

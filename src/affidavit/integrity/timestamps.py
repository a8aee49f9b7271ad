"""Timestamps of RFC 3161: asking for one, and checking what an authority answers.

A timestamp says that some bytes existed at a time, signed by an authority whose certificate leads
to one that is trusted. Checked are: status, that it is about our bytes, our nonce, the signature
over all that, that the certificate is meant for this alone, and its chain at that time. Not
checked is whether a certificate was revoked. ``openssl ts -verify`` comes to the same result.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from affidavit.integrity import der
from affidavit.integrity.chains import check_chain
from affidavit.integrity.errors import FormatError, IntegrityError, SignatureError

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

QUERY_TYPE: Final = "application/timestamp-query"
REPLY_TYPE: Final = "application/timestamp-reply"

_SHA256: Final = "2.16.840.1.101.3.4.2.1"
_HASHES: Final = {
    _SHA256: "sha256",
    "2.16.840.1.101.3.4.2.2": "sha384",
    "2.16.840.1.101.3.4.2.3": "sha512",
}
_SIGNED_DATA: Final = "1.2.840.113549.1.7.2"
_TST_INFO: Final = "1.2.840.113549.1.9.16.1.4"
_CONTENT_TYPE: Final = "1.2.840.113549.1.9.3"
_MESSAGE_DIGEST: Final = "1.2.840.113549.1.9.4"
_SIGNING_CERT: Final = "1.2.840.113549.1.9.16.2.12"
_SIGNING_CERT_V2: Final = "1.2.840.113549.1.9.16.2.47"
_RSA: Final = "1.2.840.113549.1.1.1"
_RSA_WITH: Final = {
    "1.2.840.113549.1.1.11": "sha256",
    "1.2.840.113549.1.1.12": "sha384",
    "1.2.840.113549.1.1.13": "sha512",
}
_ECDSA_WITH: Final = {
    "1.2.840.10045.4.3.2": "sha256",
    "1.2.840.10045.4.3.3": "sha384",
    "1.2.840.10045.4.3.4": "sha512",
}
_ED25519: Final = "1.3.101.112"
_GRANTED: Final = {0, 1}
_WORDS: Final = {2: "rejected", 3: "waiting", 4: "revocation is near", 5: "revoked"}
_INFO_PARTS: Final = 5
_TWO: Final = 2


class Stamp(NamedTuple):
    """A timestamp that holds."""

    time: datetime
    """When the authority says to have seen the bytes; UTC."""
    serial: int
    policy: str
    authority: str
    """Subject of the certificate that signed."""


@dataclass(frozen=True, slots=True)
class _Signer:
    """Who signed, and what exactly."""

    issuer: bytes
    serial: int
    digest: str
    signed: bytes
    attributes: dict[str, der.Value]
    algorithm: str
    signature: bytes


def request(digest: bytes, nonce: int) -> bytes:
    """Ask for a timestamp over a SHA-256; the answer is to hold the authority's certificate."""
    algorithm = der.write(der.SEQUENCE, der.oid(_SHA256), der.write(der.NULL))
    imprint = der.write(der.SEQUENCE, algorithm, der.write(der.OCTETS, digest))
    wants_certificate = der.write(der.BOOLEAN, b"\xff")
    return der.write(der.SEQUENCE, der.integer(1), imprint, der.integer(nonce), wants_certificate)


def load_roots(pem: bytes) -> list[Certificate]:
    """Read the trusted certificates of a PEM file. Raises FormatError where it has none."""
    from cryptography.x509 import load_pem_x509_certificates

    try:
        return load_pem_x509_certificates(pem)
    except ValueError as error:
        msg = "There is no certificate in PEM form in it."
        raise FormatError(msg) from error


def check_answer(
    answer: bytes, digest: bytes, nonce: int | None, roots: Sequence[Certificate]
) -> Stamp:
    """Check an authority's whole answer; without ``nonce``, one that was kept from another time.

    Raises FormatError for an answer of another form, SignatureError where it does not prove what
    it should, IntegrityError where the authority refused.
    """
    from cryptography.x509 import DuplicateExtension

    try:
        return _check_answer(answer, digest, nonce, roots)
    except IntegrityError:
        raise
    except (ValueError, DuplicateExtension) as error:  # of certificates that are none
        msg = "A certificate in the timestamp cannot be read."
        raise FormatError(msg) from error


def _check_answer(
    answer: bytes, digest: bytes, nonce: int | None, roots: Sequence[Certificate]
) -> Stamp:
    parts = der.read(answer, "The answer").parts(der.SEQUENCE, "The answer")
    if not parts:
        msg = "The answer is empty."
        raise FormatError(msg)
    status = parts[0].parts(der.SEQUENCE, "The status")
    code = status[0].integer("The status") if status else -1
    if code not in _GRANTED:
        # The authority's own words are left out: they could hold anything.
        msg = f"The authority gave no timestamp: {_WORDS.get(code, 'status ' + str(code))}."
        raise IntegrityError(msg)
    if len(parts) != _TWO:
        msg = "The answer grants a timestamp and holds none."
        raise FormatError(msg)
    return _check_token(parts[1], digest, nonce, roots)


def _check_token(
    token: der.Value, digest: bytes, nonce: int | None, roots: Sequence[Certificate]
) -> Stamp:
    kind, wrapped = _pair(token, "The timestamp")
    if kind.oid("The timestamp's kind") != _SIGNED_DATA:
        msg = "The timestamp is no signed data."
        raise FormatError(msg)
    data = wrapped.only(der.context(0), "The timestamp").parts(der.SEQUENCE, "The signed data")
    if len(data) < 4:  # noqa: PLR2004 - version, hashes, content, signers
        msg = "The signed data is not complete."
        raise FormatError(msg)
    content_kind, content = _pair(data[2], "The content")
    if content_kind.oid("The content's kind") != _TST_INFO:
        msg = "What is signed is no timestamp."
        raise FormatError(msg)
    info = content.only(der.context(0), "The content").expect(der.OCTETS, "The content").body
    certificates = _certificates(data[3:])
    signer = _signer(data[-1].only(der.SET, "The list of signers"))
    certificate = _check_signer(signer, info, certificates)
    stamp = _read_info(info, digest, nonce, certificate.subject.rfc4514_string())
    check_chain(certificate, certificates, roots, stamp.time)
    return stamp


def _certificates(rest: Sequence[der.Value]) -> list[Certificate]:
    """Read the certificates that came along."""
    from cryptography.x509 import load_der_x509_certificate

    if rest[0].tag != der.context(0):
        return []
    found = rest[0].parts(der.context(0), "The list of certificates")
    return [load_der_x509_certificate(each.raw) for each in found if each.tag == der.SEQUENCE]


def _signer(value: der.Value) -> _Signer:
    parts = value.parts(der.SEQUENCE, "The signer")
    if len(parts) < 6 or parts[3].tag != der.context(0):  # noqa: PLR2004 - with signed attributes
        msg = "The signer's part is not complete, or nothing but the content is signed."
        raise FormatError(msg)
    issuer, serial = _pair(parts[1], "The signer's name")
    attributes: dict[str, der.Value] = {}
    for each in parts[3].parts(der.context(0), "The signed attributes"):
        kind, values = _pair(each, "An attribute")
        name = kind.oid("An attribute's kind")
        if name in attributes:
            msg = "An attribute is signed twice."
            raise FormatError(msg)
        attributes[name] = values
    return _Signer(
        issuer=issuer.raw,
        serial=serial.integer("The serial number"),
        digest=_hash_name(parts[2]),
        signed=der.write(der.SET, parts[3].body),  # signed as a SET, sent as [0]
        attributes=attributes,
        algorithm=_algorithm(parts[4]),
        signature=parts[5].expect(der.OCTETS, "The signature").body,
    )


def _check_signer(signer: _Signer, info: bytes, certificates: Sequence[Certificate]) -> Certificate:
    """Check that a certificate's key signed this; give the certificate."""
    kind = _attribute(signer, _CONTENT_TYPE).oid("The signed kind")
    digest = _attribute(signer, _MESSAGE_DIGEST).expect(der.OCTETS, "The signed hash").body
    if kind != _TST_INFO or digest != hashlib.new(signer.digest, info).digest():
        msg = "The signature is over another timestamp than this."
        raise SignatureError(msg)
    certificate = _named_certificate(signer, certificates)
    named = (certificate.issuer.public_bytes(), certificate.serial_number)
    if named != (signer.issuer, signer.serial):
        msg = "The timestamp names two certificates as the signer's."
        raise SignatureError(msg)
    _check_signature(signer, certificate)
    return certificate


def _named_certificate(signer: _Signer, certificates: Sequence[Certificate]) -> Certificate:
    """Find the certificate whose hash is signed, so that no other can be put in its place."""
    from cryptography.hazmat.primitives.serialization import Encoding

    if _SIGNING_CERT_V2 in signer.attributes:
        ids = _attribute(signer, _SIGNING_CERT_V2).parts(der.SEQUENCE, "The certificate's hash")
        first = _one_of(ids)
        has_algorithm = first[0].tag == der.SEQUENCE
        name = _hash_name(first[0]) if has_algorithm else "sha256"
        value = first[1] if has_algorithm and len(first) > 1 else first[0]
    else:
        ids = _attribute(signer, _SIGNING_CERT).parts(der.SEQUENCE, "The certificate's hash")
        name, value = "sha1", _one_of(ids)[0]
    wanted = value.expect(der.OCTETS, "The certificate's hash").body
    for each in certificates:
        data = each.public_bytes(Encoding.DER)
        if hashlib.new(name, data, usedforsecurity=False).digest() == wanted:
            return each
    msg = "The certificate that signed is not in the timestamp."
    raise SignatureError(msg)


def _one_of(ids: Sequence[der.Value]) -> list[der.Value]:
    hashes = ids[0].parts(der.SEQUENCE, "The certificate's hash") if ids else []
    found = hashes[0].parts(der.SEQUENCE, "The certificate's hash") if hashes else []
    if not found:
        msg = "The signer's certificate is not named."
        raise FormatError(msg)
    return found


def _check_signature(signer: _Signer, certificate: Certificate) -> None:
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

    made: dict[str, type[hashes.SHA256 | hashes.SHA384 | hashes.SHA512]]
    made = {"sha256": hashes.SHA256, "sha384": hashes.SHA384, "sha512": hashes.SHA512}
    name = signer.algorithm
    try:
        key = certificate.public_key()
        if isinstance(key, rsa.RSAPublicKey) and (name == _RSA or name in _RSA_WITH):
            digest = made[_RSA_WITH.get(name, signer.digest)]()
            key.verify(signer.signature, signer.signed, padding.PKCS1v15(), digest)
        elif isinstance(key, ec.EllipticCurvePublicKey) and name in _ECDSA_WITH:
            key.verify(signer.signature, signer.signed, ec.ECDSA(made[_ECDSA_WITH[name]]()))
        elif isinstance(key, ed25519.Ed25519PublicKey) and name == _ED25519:
            key.verify(signer.signature, signer.signed)
        else:
            msg = f"Signatures of the kind {name} are not known here; use `openssl ts -verify`."
            raise SignatureError(msg)
    except (InvalidSignature, UnsupportedAlgorithm) as error:
        msg = "The timestamp's signature does not hold."
        raise SignatureError(msg) from error


def _read_info(info: bytes, digest: bytes, nonce: int | None, authority: str) -> Stamp:
    parts = der.read(info, "The timestamp").parts(der.SEQUENCE, "The timestamp")
    if len(parts) < _INFO_PARTS or parts[0].integer("The version") != 1:
        msg = "The timestamp is of a version that is not known here."
        raise FormatError(msg)
    algorithm, imprint = _pair(parts[2], "The imprint")
    if _hash_name(algorithm) != "sha256" or imprint.expect(der.OCTETS, "It").body != digest:
        msg = "The timestamp is about other bytes than these."
        raise SignatureError(msg)
    given = [each.integer("The nonce") for each in parts[_INFO_PARTS:] if each.tag == der.INTEGER]
    if nonce is not None and given != [nonce]:
        msg = "The timestamp is the answer to another question: its nonce differs."
        raise SignatureError(msg)
    return Stamp(
        time=_time(parts[4].expect(der.TIME, "The time").body),
        serial=parts[3].integer("The serial number"),
        policy=parts[1].oid("The policy"),
        authority=authority,
    )


def _time(body: bytes) -> datetime:
    text = body.decode("ascii", "replace")
    whole, dot, fraction = text.removesuffix("Z").partition(".")
    plain = whole.isdecimal() and len(whole) == 14 and text.endswith("Z")  # noqa: PLR2004
    if plain and (not dot or fraction.isdecimal()):
        try:
            at = datetime.strptime(whole, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
        except ValueError:
            pass
        else:
            return at.replace(microsecond=int(fraction[:6].ljust(6, "0")))
    msg = "The time of the timestamp cannot be read."
    raise FormatError(msg)


def _attribute(signer: _Signer, name: str) -> der.Value:
    if name not in signer.attributes:
        msg = "The signer left out what a timestamp must have signed."
        raise FormatError(msg)
    return signer.attributes[name].only(der.SET, "A signed attribute")


def _algorithm(value: der.Value) -> str:
    parts = value.parts(der.SEQUENCE, "An algorithm")
    return parts[0].oid("An algorithm") if parts else ""


def _hash_name(value: der.Value) -> str:
    name = _HASHES.get(_algorithm(value))
    if name is None:
        msg = "Another hash than SHA-256, SHA-384 or SHA-512 is used, and is not taken."
        raise SignatureError(msg)
    return name


def _pair(value: der.Value, what: str) -> tuple[der.Value, der.Value]:
    parts = value.parts(der.SEQUENCE, what)
    if len(parts) != _TWO:
        msg = f"{what} has two parts, and there are {len(parts)}."
        raise FormatError(msg)
    return parts[0], parts[1]

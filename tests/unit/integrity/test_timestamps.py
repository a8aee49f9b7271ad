"""Timestamps of RFC 3161, made by openssl: what is taken, and what is refused."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from affidavit.integrity import der
from affidavit.integrity.errors import FormatError, IntegrityError, SignatureError
from affidavit.integrity.timestamps import check_answer, load_roots, request
from tests.support.timestamps import Authority, openssl

if TYPE_CHECKING:
    from pathlib import Path

    from affidavit.integrity.timestamps import Stamp

pytestmark = pytest.mark.requirement("R20", "R21")

NOTE = b"log.example\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n"
DIGEST = hashlib.sha256(NOTE).digest()
NONCE = 0xF123456789ABCDEF


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """One with an elliptic curve."""
    return Authority(tmp_path_factory.mktemp("tsa") / "ec")


def checked(authority: Authority, answer: bytes, digest: bytes = DIGEST) -> Stamp:
    """Check an answer with the authority's own root."""
    return check_answer(answer, digest, NONCE, load_roots(authority.ca_file.read_bytes()))


@pytest.mark.parametrize(
    ("key", "between", "ess"),
    [
        (("RSA", "-pkeyopt", "rsa_keygen_bits:2048"), False, "sha256"),
        (("EC", "-pkeyopt", "ec_paramgen_curve:P-384"), True, "sha512"),
        (("EC", "-pkeyopt", "ec_paramgen_curve:P-256"), False, "sha1"),
    ],
)
def test_what_openssl_stamps_is_taken(
    tmp_path: Path, key: tuple[str, ...], between: bool, ess: str
) -> None:
    """With RSA and elliptic curves, with a chain, and each way of naming the certificate."""
    authority = Authority(tmp_path / "tsa", key=key, between=between, ess=ess)
    stamp = checked(authority, authority.answer(request(DIGEST, NONCE)))
    assert abs(stamp.time - datetime.now(UTC)) < timedelta(minutes=1)
    assert (stamp.policy, stamp.authority) == ("1.2.3.4.1", "CN=test signer")


def test_the_question_is_the_one_that_openssl_writes(tmp_path: Path) -> None:
    """Byte for byte, but for the nonce."""
    file = tmp_path / "note"
    file.write_bytes(NOTE)
    theirs = openssl("ts", "-query", "-data", file, "-sha256", "-cert")
    nonce = der.read(theirs, "It").parts(der.SEQUENCE, "It")[2].integer("It")
    assert request(DIGEST, nonce) == theirs


def test_openssl_verifies_what_was_taken(authority: Authority, tmp_path: Path) -> None:
    """The answer and the note are files that an outsider verifies without us."""
    answer = authority.answer(request(DIGEST, NONCE))
    checked(authority, answer)
    (tmp_path / "1.checkpoint").write_bytes(NOTE)
    (tmp_path / "1.tsr").write_bytes(answer)
    said = openssl(
        "ts", "-verify", "-data", tmp_path / "1.checkpoint", "-in", tmp_path / "1.tsr",
        "-CAfile", authority.ca_file,
    )  # fmt: skip
    assert b"OK" in said


def test_a_timestamp_of_something_else_is_refused(authority: Authority) -> None:
    """Other bytes, or the answer to an earlier question."""
    answer = authority.answer(request(DIGEST, NONCE))
    with pytest.raises(SignatureError, match="other bytes"):
        checked(authority, answer, hashlib.sha256(b"other").digest())
    with pytest.raises(SignatureError, match="nonce"):
        checked(authority, authority.answer(request(DIGEST, NONCE + 1)))


def test_an_authority_that_is_not_trusted_is_refused(authority: Authority, tmp_path: Path) -> None:
    """A certificate of the same name, from another root."""
    other = Authority(tmp_path / "other")
    with pytest.raises(SignatureError, match="does not lead"):
        checked(authority, other.answer(request(DIGEST, NONCE)))
    with pytest.raises(FormatError, match="no certificate"):
        load_roots(b"nothing")


def test_a_certificate_for_something_else_is_refused(tmp_path: Path) -> None:
    """The tool refuses to sign with one for web servers, so its chain is checked by itself."""
    from affidavit.integrity.chains import check_chain

    authority = Authority(tmp_path / "web", purpose="web")
    roots = load_roots(authority.ca_file.read_bytes())
    (signer,) = load_roots((authority.folder / "signer.pem").read_bytes())
    with pytest.raises(SignatureError, match="timestamps alone"):
        check_chain(signer, [], roots, datetime.now(UTC))


def test_a_chain_is_checked_at_its_time_and_for_who_may_issue(tmp_path: Path) -> None:
    """Expired, without the CA between, and issued by a certificate that is no authority."""
    from affidavit.integrity.chains import check_chain

    authority = Authority(tmp_path / "tsa", between=True)
    root, between, signer = (
        load_roots((authority.folder / f"{name}.pem").read_bytes())[0]
        for name in ("root", "between", "signer")
    )
    now = datetime.now(UTC)
    check_chain(signer, [between], [root], now)
    for others, roots, at, says in (
        ([between], [root], now + timedelta(days=4000), "not valid"),
        ([between], [root], now - timedelta(days=1), "not valid"),
        ([], [root], now, "does not lead"),
        ([between, root], [], now, "does not lead"),
    ):
        with pytest.raises(SignatureError, match=says):
            check_chain(signer, others, roots, at)
    authority._certificate("below", ("ED25519",), "signer", "signer")
    (below,) = load_roots((authority.folder / "below.pem").read_bytes())
    with pytest.raises(SignatureError, match="may not issue"):
        check_chain(below, [signer, between], [root], datetime.now(UTC))


def test_every_altered_byte_is_noticed(authority: Authority) -> None:
    """A flipped bit anywhere is refused by name, or stands where nothing is signed."""
    answer = authority.answer(request(DIGEST, NONCE))
    stamp = checked(authority, answer)
    changed = 0
    for at in range(len(answer)):
        flipped = bytearray(answer)
        flipped[at] ^= 1 << at % 8
        try:
            # Hints beside what is signed may change; what the timestamp says may not.
            assert checked(authority, bytes(flipped)) == stamp
            changed += 1
        except IntegrityError:
            pass
    assert changed < 40


@pytest.mark.parametrize("cut", [0, 1, 2, 9, 100, -1])
def test_a_part_of_an_answer_is_refused(authority: Authority, cut: int) -> None:
    """Cut off anywhere, or with something behind it."""
    answer = authority.answer(request(DIGEST, NONCE))
    with pytest.raises(FormatError):
        checked(authority, answer[:cut])
    with pytest.raises(FormatError):
        checked(authority, answer + b"\0")


def test_a_refusal_of_the_authority_is_said() -> None:
    """Status 2, as for an algorithm that it does not take."""
    status = der.write(der.SEQUENCE, der.integer(2))
    with pytest.raises(IntegrityError, match="rejected"):
        check_answer(der.write(der.SEQUENCE, status), DIGEST, NONCE, [])


@pytest.mark.parametrize(
    "data", [b"\x30\x80\x00\x00", b"\x30\x81\x01\x00", b"\x1f\x01\x00", b"\x02\x02\x00\x01"]
)
def test_another_spelling_than_der_is_refused(data: bytes) -> None:
    """Indefinite and long-winded lengths, tags of several bytes, numbers with leading zeros."""
    with pytest.raises(FormatError):
        der.read(data, "It").integer("It")


@pytest.mark.parametrize("number", [0, 1, 127, 128, 255, 256, 2**63, 2**64 - 1, -1, -128, -129])
def test_numbers_are_read_as_they_were_written(number: int) -> None:
    """In their shortest form."""
    assert der.read(der.integer(number), "It").integer("It") == number

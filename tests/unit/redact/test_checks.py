"""Check digits, against published samples and against generators of their own arithmetic."""

from __future__ import annotations

import pytest

from affidavit.pipeline.redact import checks
from tests.corpora.values import Values

pytestmark = pytest.mark.requirement("R21")

ROUNDS = 200


@pytest.mark.parametrize("number", ["4111111111111111", "378282246310005", "6011111111111117"])
def test_test_cards_pass(number: str) -> None:
    """Numbers that payment providers publish for tests."""
    assert checks.card(number)


@pytest.mark.parametrize(
    "number", ["4111111111111112", "1111111111111117", "1732345678901", "41111111111111113"]
)
def test_other_numbers_are_no_cards(number: str) -> None:
    """Wrong check digit, no issuer, a timestamp, a wrong length."""
    assert not checks.card(number)


@pytest.mark.parametrize(
    "account",
    ["ES9121000418450200051332", "GB29NWBK60161331926819", "MT84MALT011000012345MTLCAST001S"],
)
def test_published_ibans_pass(account: str) -> None:
    """Samples of the registry; one digit changed, they fail."""
    assert checks.iban(account)
    assert not checks.iban(account[:-1] + ("0" if account[-1] != "0" else "1"))


@pytest.mark.parametrize("wrong", ["XX9121000418450200051332", "ES91", "ES91²1000418450200051332"])
def test_what_is_no_account_raises_nothing(wrong: str) -> None:
    """Unknown countries, short ones, digits of other scripts."""
    assert not checks.iban(wrong)


def test_spanish_letters() -> None:
    """The ministry's examples."""
    assert checks.dni("12345678", "Z")
    assert not checks.dni("12345678", "A")
    assert checks.nie("X", "1234567", "L")


def test_german_tax_numbers() -> None:
    """The tax office's example; a digit too often, or a zero first, is refused."""
    assert checks.steuer_id("86095742719")
    assert not checks.steuer_id("86095742718")
    assert not checks.steuer_id("11111111111")


def test_italian_codes() -> None:
    """A sample of the revenue agency's algorithm."""
    assert checks.codice_fiscale("RSSMRA85T10A562S")
    assert not checks.codice_fiscale("RSSMRA85T10A562T")


def test_american_numbers_that_were_never_given() -> None:
    """Areas 000 and 666, zero groups and serials; 9xx only as ITIN."""
    assert checks.ssn("123456789")
    for never in ("000123456", "666123456", "123006789", "123450000", "900123456"):
        assert not checks.ssn(never)
    assert checks.ssn("912703456")


def test_british_prefixes_that_are_not_used() -> None:
    """BG, GB and the like, and letters that are never given."""
    assert checks.nino("AB")
    assert not any(map(checks.nino, ("BG", "GB", "DA", "AO", "ZZ")))


@pytest.mark.parametrize(
    ("name", "check"),
    [
        ("card", checks.card),
        ("iban", checks.iban),
        ("dni", lambda text: checks.dni(text[:8], text[8])),
        ("nie", lambda text: checks.nie(text[0], text[1:8], text[8])),
        ("steuer", checks.steuer_id),
        ("nir", checks.nir),
        ("nir_corsica", lambda text: checks.nir(text.replace(" ", ""))),
        ("codice", checks.codice_fiscale),
        ("nif", checks.nif),
        ("ssn_bare", checks.ssn),
    ],
)
def test_generated_values_pass(name: str, check: object) -> None:
    """The generators' arithmetic was written apart from this one, and both agree."""
    values = Values(11)
    for _ in range(ROUNDS):
        made = values.make(name)
        assert check(made), made  # type: ignore[operator]

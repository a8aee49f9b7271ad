"""What is found in a text, and what is left alone."""

from __future__ import annotations

import pytest

from affidavit.pipeline.redact.scan import Scanner, merged
from affidavit.pipeline.redact.shadow import Shadow

pytestmark = pytest.mark.requirement("R21")

USUAL = Scanner()
SHY = Scanner(shy=True)
BOLD = Scanner(bold=True)


def found(text: str, scanner: Scanner = USUAL) -> list[tuple[str, str]]:
    """List kind and text of each find."""
    return [(kind, text[start:end]) for start, end, kind in merged(scanner.find(text))]


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("write to ana.m+x@mail.example.co.uk today", "email", "ana.m+x@mail.example.co.uk"),
        ("u=ana%40example.com&x=1", "email", "ana%40example.com"),
        ("ana [at] example.org", "email", "ana [at] example.org"),
        ("call (212) 555-0123 now", "phone", "(212) 555-0123"),
        ("+44 (0)20 7946 0958 or mail", "phone", "+44 (0)20 7946 0958"),
        ("0034 612345678", "phone", "0034 612345678"),
        ("06.12.34.56.78", "phone", "06.12.34.56.78"),
        ("pay 4111 1111 1111 1111 now", "card", "4111 1111 1111 1111"),
        ("amex 3782 822463 10005", "card", "3782 822463 10005"),
        ("GB29 NWBK 6016 1331 9268 19", "iban", "GB29 NWBK 6016 1331 9268 19"),
        ("(ES9121000418450200051332)", "iban", "ES9121000418450200051332"),
        ("DNI 12.345.678-Z", "national_id_es", "12.345.678-Z"),
        ("NIE X-1234567-L", "national_id_es", "X-1234567-L"),
        ("Steuer-ID 86 095 742 719", "national_id_de", "86 095 742 719"),
        ("RSSMRA85T10A562S", "national_id_it", "RSSMRA85T10A562S"),
        ("NIF 123 456 789", "national_id_pt", "123 456 789"),
        ("AB 12 34 56 C", "national_id_uk", "AB 12 34 56 C"),
        ("NHS number 943 476 5919", "national_id_uk", "943 476 5919"),
        ("SSN: 123-45-6789", "national_id_us", "123-45-6789"),
        ("from 203.0.113.7:443", "ip", "203.0.113.7"),
        ("to 2001:db8::8a2e:370:7334.", "ip", "2001:db8::8a2e:370:7334"),
        ("AKIAIOSFODNN7EXAMPLE", "api_key", "AKIAIOSFODNN7EXAMPLE"),
        ('api_key="abcd1234efgh5678"', "api_key", "abcd1234efgh5678"),
        ("Authorization: Bearer abcdef123456", "api_key", "abcdef123456"),
        (
            "https://mainnet.infura.io/v3/" + "a1" * 16,
            "api_key",
            "https://mainnet.infura.io/v3/" + "a1" * 16,
        ),
        ("private key: 0x" + "ab12" * 16, "private_key", "0x" + "ab12" * 16),
        ("postgres://app:hunter2@db/x", "password", "hunter2"),
        ('{\\"password\\": \\"hunter2\\"}', "password", "hunter2"),
        ("--password hunter2 --verbose", "password", "hunter2"),
        ("8=FIX.4.4|553=me|554=hunter2|10=1", "password", "hunter2"),
        ("8=FIX.4.4\x01553=me\x01554=hunter2\x0110=1", "password", "hunter2"),
        ("passphrase: correct horse battery staple", "password", "correct horse battery staple"),
    ],
)
def test_a_value_is_found_whole(text: str, kind: str, value: str) -> None:
    """Exactly the value: no more, no less."""
    assert found(text) == [(kind, value)]


@pytest.mark.parametrize(
    "text",
    [
        "order 4111111111111111 was filled",
        "ts=1732345678901 seq=4532015112830366",
        '{"orderId": 4532015112830366}',
        "67250.50 68,100.25 1.234.567 12:30:45 2024-11-23 06:42:15",
        "v1.2.3.4, version 10.20.30.40, Chrome/120.0.0.0, section 4.2.1.3",
        "127.0.0.1 0.0.0.0 255.255.255.0 ::1",
        "550e8400-e29b-41d4-a716-446655440000",
        "max_tokens: 1500, token: BTC, the key level is 67250.50",
        "password: required, the password is incorrect, reset your password",
        "def login(user: str, password: str) -> bool: password=os.environ['PW']",
        "api_key: <your-api-key>, token=${TOKEN}, secret: null",
        "token: 0x" + "ab" * 20,
        "lodash@4.17.21 git@github.com:a/b.git icon@2x.png @name",
        "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0D\n-----END PUBLIC KEY-----",
        "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----",
        "std::vector<int> a::b::c 12:34:56 00:1b:44:11:3a:b7",
        "US0378331005 AAPL BTC-27DEC24-100000-C",
    ],
)
def test_ordinary_text_is_left_alone(text: str) -> None:
    """Ids, times, prices, versions, code and templates."""
    assert found(text) == []


def test_a_bare_number_counts_by_the_words_around_it() -> None:
    """The nearest word decides; names of fields count as words."""
    assert found("card 4532015112830366") == [("card", "4532015112830366")]
    assert found("4532015112830366") == [("card", "4532015112830366")]
    assert found("order 4532015112830366") == []
    assert found("612345678") == []
    assert found("phone 612345678") == [("phone", "612345678")]


def test_the_trading_reading_wants_a_word_for_bare_numbers() -> None:
    """A card with its issuer's prefix stays unless a word says that it is one."""
    assert found("4532015112830366", SHY) == []
    assert found("visa 4532015112830366", SHY) == [("card", "4532015112830366")]
    assert found("4532 0151 1283 0366", SHY) == [("card", "4532 0151 1283 0366")]


def test_the_strict_reading_takes_weak_shapes() -> None:
    """A number that could be a Steuer-ID, a run that could be a key."""
    assert found("86095742719", BOLD) == [("national_id_de", "86095742719")]
    assert found("aB3dE5gH7jK9mN1pQ3sT5vW7", BOLD) == [("api_key", "aB3dE5gH7jK9mN1pQ3sT5vW7")]
    assert found("86095742719 aB3dE5gH7jK9mN1pQ3sT5vW7") == []


@pytest.mark.parametrize(
    "written",
    [
        "4111\u200b 1111 1111 1111",
        "\uff14\uff11\uff11\uff11 1111 1111 1111",
        "4111\u00a01111\u20091111\u202f1111",
        "4111\u20101111\u20131111\u22121111",
        "4111 1111 1111 111\u0661",
        "4111 11\u00ad11 1111 1111",
        "4\u0332111 1111 1111 1111",
        "4\u04061\u0399 1111 1111 1111",
        "\U0001d7d2111 1111 1111 1111",
        "4111\x00 1111 1111 1111",
    ],
)
def test_tricks_with_characters_hide_nothing(written: str) -> None:
    """Zero width, full width, other scripts' digits, look-alikes, odd spaces and hyphens."""
    text = f"pay {written} now"
    assert found(text) == [("card", written)]


def test_a_trick_in_an_address_hides_nothing() -> None:
    """The sign and the dot full-width, a zero-width joiner in the name."""
    assert found("to a\u200dna\uff20example\uff0ecom!") == [
        ("email", "a\u200dna\uff20example\uff0ecom")
    ]


def test_a_line_break_written_out_is_no_letter() -> None:
    """JSON within JSON has it as two characters."""
    assert found("x\\n4111 1111 1111 1111") == [("card", "4111 1111 1111 1111")]
    assert found("x\\nsk-ant-api03-abcdefghijklmnop1") == [
        ("api_key", "sk-ant-api03-abcdefghijklmnop1")
    ]


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("x\nSteuer-ID 86 095 742 719", "national_id_de"),
        ('{"password": "hunter2!"}', "password"),
        ("s\u00e9cu 1 85 05 78 006 084 91", "national_id_fr"),
        ("\uff14111 1111 1111 1111", "card"),
        ("https://app:hunter2@db/x", "password"),
    ],
)
def test_the_escapes_of_json_hide_nothing(text: str, kind: str, times: int) -> None:
    """Arguments of tools are JSON in a text, and sometimes JSON in JSON."""
    import json

    for _ in range(times):
        text = json.dumps(text)
    assert [found_kind for found_kind, _value in found(text)] == [kind]
    assert [found_kind for found_kind, _value in found(text.replace("/", "\\/"))] == [kind]


def test_overlapping_finds_are_covered_together() -> None:
    """Nothing of the longer one stays, and the more telling kind names both."""
    assert merged([(0, 10, "email"), (5, 20, "password"), (20, 25, "ip")]) == [
        (0, 20, "password"),
        (20, 25, "ip"),
    ]


def test_what_redaction_wrote_is_not_found_again() -> None:
    """Not as a value, and not as a word that speaks for a number."""
    for own in ("[email]", "[card \u20261111]", "<phone:abcdefghijklmnpq>", "[sealed password 12]"):
        assert found(f"password: {own} 612345678") == []


def test_a_secret_in_brackets_is_not_taken_for_ours() -> None:
    """Only the exact forms are; nothing can be smuggled through in them."""
    assert found("password: '[hunter2!]'") == [("password", "[hunter2!]")]
    assert found("[email 4111 1111 1111 1111]") == [("card", "4111 1111 1111 1111")]


def test_the_shadow_leads_back_to_the_same_places() -> None:
    """Whatever was dropped before."""
    text = "a\u200bb\x00c\u00adde"
    shadow = Shadow(text)
    assert shadow.latin == "abcde"
    for index, character in enumerate("abcde"):
        start, end = shadow.original(index, index + 1)
        assert text[start:end] == character


def test_own_patterns_come_first() -> None:
    """And see the text with tricks undone."""
    import re

    scanner = Scanner(patterns=[("staff", re.compile(r"EMP-\d{6}"))])
    assert found("EMP-\uff1123456", scanner) == [("staff", "EMP-\uff1123456")]

"""Ways of writing a secret that somebody tried, and texts that only look like it: one table."""

from __future__ import annotations

import json

import pytest

from affidavit.pipeline.redact import Policy, Redactor

pytestmark = pytest.mark.requirement("R21")

PRESETS = {name: Redactor(Policy.read(name)) for name in ("default", "strict", "trading")}

SECRETS = [
    ("password=$uperS3cret!99", "uperS"),
    ("password: $Tr0ub4dor&3", "ub4dor&3"),
    ("DB_PASSWORD=my_dog_Rex_1987!", "1987!"),
    ("password: the_Qu1ck_fox9", "Qu1ck"),
    ("password: %summer2024", "summer"),
    ("password={Xy9!zz77}", "Xy9"),
    ("password=@dmin", "dmin"),
    ("password=Ab****9!", "Ab*"),
    ("password=Summer(2024)!", "2024"),
    ("password: Rex_here_1", "Rex_here"),
    ("password=change-It-4-Real!", "Real"),
    ("password: Insert_Co1n!", "Co1n"),
    ("my password is Essen2024", "Essen"),
    ("the password is Estrella9", "Estrella"),
    ("password is Edward1972", "1972"),
    ("My password is webmaster1", "webmaster"),
    ("password: Zq9&xK7pp", "xK7pp"),
    ("password: Zq9'xK7pp", "xK7pp"),
    ("password: Zq9<xK7pp", "xK7pp"),
    ("password: Zq9\\xK7pp", "xK7pp"),
    ("password: Zq9xK7pp or Ab3dE6gh", "Ab3dE"),
    ("My card: 4111 1111 1111 1111 737 12/27", "737"),
    ("card 4111 1111 1111 1111 123", "123"),
    ("card number 4111-1111-1111-1111-737", "737"),
    ("card 4111111111111111 exp 12/27 cvv 737", "737"),
    ('{"cvv": "737"}', "737"),
    ("cvc: 737", "737"),
    ("security code (CVV) is 737, thanks", "737"),
    ("Card number: 4111\t1111\t1111\t1111", "4111"),
    ("Card number: 4111   1111   1111   1111", "4111"),
    ("Card number:\n4111\n1111\n1111\n1111", "4111"),
    ("card 4111_1111_1111_1111", "4111"),
    ("card 4111/1111/1111/1111", "4111"),
    ("card 4111,1111,1111,1111", "4111"),
    ("card 4111+1111+1111+1111", "4111"),
    ("card=4111%201111%201111%201111", "4111"),
    ("card 4111&nbsp;1111&nbsp;1111&nbsp;1111", "4111"),
    ("pan_4111111111111111", "4111"),
    ("card-4111111111111111", "4111"),
    ("PAN4111111111111111", "4111"),
    ("%B4111111111111111^DOE/JOHN^2712101123456789?", "1011234"),
    (";4111111111111111=27121011234567890?", "27121"),
    ("transaction paid with 4111111111111111", "4111"),
    ("my pin is 4821", "4821"),
    ("PIN: 4821", "4821"),
    ("your OTP is 482913", "482913"),
    ("x%3Ftoken%3Dghp_0123456789abcdefghijABCDEFGHIJ012345", "ghp_"),
    ("%22ghp_0123456789abcdefghijABCDEFGHIJ012345%22", "ghp_"),
    ("key%3Dsk-ant-api03-abcdefghijABCDEFGHIJ012345", "sk-ant"),
    ("key%3Dsk-proj-abcdefghijABCDEFGHIJ012345", "sk-proj"),
    ("k=3Dghp_0123456789abcdefghijABCDEFGHIJ012345", "ghp_"),
    ("1ghp_0123456789abcdefghijABCDEFGHIJ012345", "ghp_"),
    ("a=1%26password%3DZq9xK7pp%26z", "Zq9"),
    ("%7B%22password%22%3A%22Zq9xK7pp%22%7D", "Zq9"),
    ("x%3Faccess_token%3Da1b2c3d4e5f6a7b8c9d0a1b2c3d4e5f6a7b8c9d0", "a1b2"),
    ("mongodb%3A%2F%2Fu%3AZq9xK7pp%40h", "Zq9"),
    ("&quot;password&quot;:&quot;Zq9xK7pp&quot;", "Zq9"),
    ("ana&#64;example.com", "ana"),
    ("to mich\u0142.kowalski@example.pl", "mich"),
    ("\u0438\u0432\u0430\u043d@example.com", "\u0438\u0432\u0430\u043d"),
    ("> -----BEGIN PRIVATE KEY-----\n" + "> MIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n" * 6, "MIIE"),
    ("-----BEGIN PRIVATE KEY-----<br>" + "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC<br>" * 6, "MIIE"),
]
"""A text, and a part of what must not be stored of it."""

HARMLESS = [
    "password: required",
    "password=$DB_PASSWORD",
    "password: ${DB_PASSWORD}",
    "password=%s",
    "password = @password",
    "password={{ db_password }}",
    "password={password}",
    'f"password={config.password}"',
    "password=getpass.getpass()",
    'password=os.environ["PW"]',
    "password: your-password-here",
    "api_key: your_api_key_123",
    "password: ********",
    "key: sk-****1234",
    "the key is AES-256-GCM",
    "password is hashed with SHA-256",
    "password hashing: argon2id",
    "pass: 95%",
    "first pass: momentum",
    "authorization: pending",
    "Solana mint token: EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v",
    "token=EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v",
    "token: USDCUSDTWETHWBTC1",
    "account key: GBRPYHIL2CI3FNQ4BXLFMNDLFJUNPU2HY3ZMFSHONUCEOASW7QC7OX2H",
    "call 190 call 612345678 notional",
    "signal 912345678",
    "4532015112830366 BTC",
    '{"u": 4532015112830366}',
    "4111 200 300 400",
    "card game 4111 units",
    "the pin bar at 4821 held",
    "pin is 67250.50",
    "pinning 5900",
    "max pain pin: 5,900",
    "up 50%20 over",
    "discount 5%25 & more; less",
    "csc 300 index 4532",
    "R&D budget 400; A&B",
    "the spin: 1234",
]
TRADERS_ONLY = {"call 190 call 612345678 notional", "signal 912345678"}


@pytest.mark.parametrize("preset", sorted(PRESETS))
@pytest.mark.parametrize(("text", "secret"), SECRETS)
def test_a_secret_goes_however_it_is_written(text: str, secret: str, preset: str) -> None:
    """In each preset but "off"; and what is left is not found again."""
    stored, notes = PRESETS[preset].redact_text(text)
    assert secret not in stored
    assert notes
    assert PRESETS[preset].redact_text(stored)[0] == stored


@pytest.mark.parametrize("preset", ["default", "trading"])
@pytest.mark.parametrize("text", HARMLESS)
def test_what_only_looks_like_a_secret_stays(text: str, preset: str) -> None:
    """Templates, prices, coins, results; two of them are telephones outside of trading."""
    if preset == "trading" or text not in TRADERS_ONLY:
        assert PRESETS[preset].redact_text(text)[0] == text


@pytest.mark.parametrize("value", ['hunter2"Zq9xK7', 'pa"ss-W0rd!9', "a\\b\"c'd99", "Zq9&x|K7<p"])
@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_password_in_json_goes_whole(value: str, times: int) -> None:
    """With quotes inside, and as JSON within JSON."""
    text = json.dumps({"password": value, "n": 1})
    for _ in range(times - 1):
        text = json.dumps(text)
    stored = PRESETS["default"].redact_text(text)[0]
    while isinstance(json.loads(stored), str):
        stored = json.loads(stored)
    assert json.loads(stored) == {"password": "[password]", "n": 1}

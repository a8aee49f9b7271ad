"""Keys of more providers, and passwords as configuration and commands have them."""

from __future__ import annotations

import re
import string
from random import Random

import pytest

from affidavit.pipeline.redact import Policy, Redactor

pytestmark = pytest.mark.requirement("R21")

REDACTOR = Redactor(Policy.read("default"))
LETTERS = string.ascii_letters + string.digits


def made(shape: str) -> str:
    """Fill a shape: {40} is letters and digits, {h40} hexadecimal, {u16} capitals."""
    random = Random(shape)
    sets = {"": LETTERS, "h": "0123456789abcdef", "u": string.ascii_uppercase + string.digits}
    return re.sub(
        r"\{([hu]?)([0-9]+)\}",
        lambda m: "".join(random.choices(sets[m[1]], k=int(m[2]))),
        shape,
    )


KEYS = [
    "{40} AKIA{u16}",
    "1//0g{40}",
    "kYY8Q~{34}",
    "glpat-{27}.01.{h9}",
    "xkeysib-{h64}-{16}",
    "FwoGZXIvYXdz{80}/{300}+{300}==",
    "IQoJb3JpZ2lu{300}/{20}",
    "https://b.s3.amazonaws.com/x?X-Amz-Expires=3&X-Amz-Signature={h64}",
    "AWS4-HMAC-SHA256 Credential=x, Signature={h64}",
    "https://x.blob.core.windows.net/c?sv=2020&sig={20}%2B{19}%3D",
    "https://f.azurewebsites.net/api/f?code={52}==",
    "sb_secret_{31}",
    "pcsk_{60}",
    "tvly-dev-{32}",
    "sk_{h48}",
    "AQ.Ab8{45}",
    "HRKU-AA{58}",
    "bkua_{h40}",
    "CCIPAT_{22}_{h40}",
    "snyk_uat.{h8}.{60}",
    "squ_{h40}",
    "AKCp8{68}",
    "{14}.atlasv1.{67}",
    "dt0c01.{u24}.{u64}",
    "pat-na1-{h8}-{h4}-{h4}-{h4}-{h12}",
    "sl.{130}",
    "LTAI{20}",
    "AKID{32}",
    "AQVN{36}",
    "vcp_{60}",
    "FlyV1 fm2_{100}",
    "rzp_live_{14}",
    "FLWSECK-{h32}-X",
    "EAAB{120}",
    "AGE-SECRET-KEY-1{u58}",
    "dp.st.prd.{43}",
    "tfp_{44}",
    "GR1348941{20}",
    "{h32}-us12",
    "s.{24}",
    "Cookie: sessionid={h32}; a=b",
    "Set-Cookie: sid={h32}; Path=/",
    "Authorization:{h40}",
    "DD-APPLICATION-KEY: {h40}",
    "https://x/y?key={40}",
    "<apiKey>{32}</apiKey>",
]
PASSWORDS = [
    "<password>Zq9xK7pp</password>",
    '<wsse:Password Type="http://x#PasswordText">Zq9xK7pp</wsse:Password>',
    '<add key="DbPassword" value="Zq9xK7pp"/>',
    "PASSWORD = N'Zq9xK7pp'",
    'password = b"Zq9xK7pp"',
    "PWD={Zq9;xK7pp};",
    "postgres://u:Zq9/xK7pp@h/db",
    "postgres://u:Zq9'xK7pp@h/db",
    "sshpass -p Zq9xK7pp ssh x",
    "pswd=Zq9xK7pp",
    "psw=Zq9xK7pp",
    "passw=Zq9xK7pp",
    "password1=Zq9xK7pp",
    "newPassword2: Zq9xK7pp",
    "passwordAgain: Zq9xK7pp",
    "password_confirmation=Zq9xK7pp",
    "contrasenya: Zq9xK7pp",
]


@pytest.mark.parametrize("shape", KEYS)
def test_a_key_goes_whole(shape: str) -> None:
    """Nothing of it is left that is longer than a word."""
    key = made(shape)
    stored = REDACTOR.redact_text(f"x {key} y")[0]
    parts = re.split(r"\{[hu]?[0-9]+\}", shape)
    for part in filter(None, parts):
        stored = stored.replace(part, " ")
    assert not re.search(r"[A-Za-z0-9]{16,}", stored)


def test_a_key_id_of_letters_alone_is_one() -> None:
    """One in two hundred has no digit."""
    assert REDACTOR.redact_text("x AKIAQWERTYUIOPASDFGH y")[0] == "x [api_key] y"


@pytest.mark.parametrize("text", PASSWORDS)
def test_a_password_goes_in_configuration_and_commands(text: str) -> None:
    """XML, SQL, ODBC, URLs, options, and more words for it."""
    stored = REDACTOR.redact_text(f"x {text} y")[0]
    assert "[password]" in stored
    assert not re.search("Zq9|xK7", stored)


@pytest.mark.parametrize(
    "text",
    [
        "https://medium.com:443/@user/x",
        "http://h:8080/a@b",
        "see <passwordPolicy>strict rules</passwordPolicy>",
        "<password></password>",
        "cookie: chocolate chip",
        "lodash@4.1.py main@repo.py icon@2x.md",
        "the city codes: 737",
        "password hash: sha256",
        "http://localhost:3000/x?code=abc&state=b",
        "https://example.com/?key=AIRTABLE_VIEW_IDENTIFIER",
    ],
)
def test_what_is_written_like_a_key_stays(text: str) -> None:
    """Ports, policies, files, parameters."""
    assert REDACTOR.redact_text(text)[0] == text


def test_an_address_in_paraguay_is_one() -> None:
    """Its ending is also that of files."""
    assert REDACTOR.redact_text("to ana@empresa.com.py")[0] == "to [email]"

"""No text can drive a pattern: time grows with the length of the text, for each that tries."""

from __future__ import annotations

import time

import pytest

from affidavit.pipeline.redact.scan import Scanner

pytestmark = [pytest.mark.requirement("R21"), pytest.mark.serial]

SCANNER = Scanner()
SMALL = 1 << 15
FACTOR = 8
LIMIT = 3.0
"""A quadratic pattern would take eight times eight as long; noise and caches get this much."""

FLOOR_S = 0.004
"""Shorter times than this are not compared."""

UNITS = [
    *(
        "1",
        "12 ",
        "1 ",
        "1-",
        "0 ",
        "00",
        "4111 ",
        "4111111111111111 ",
        "1.",
        "1.1.",
        "1.1.1.1 ",
        "0.0",
    ),
    *(
        "a",
        "A",
        "A1b",
        "a-",
        "_",
        "x" * 15,
        "x" * 15 + ".",
        "x" * 14 + " ",
        "ES91 2100 ",
        "AB 12 34 56 ",
    ),
    *(
        "@",
        "a@",
        "a@a.",
        "a.",
        "%40",
        "a%40",
        "[at]",
        "a[at]b.",
        "eyJ",
        "eyJa.",
        "eyJhbGciOiJIUzI1NiJ9.",
    ),
    *(
        "-----BEGIN ",
        "-----BEGIN PRIVATE KEY-----",
        "-----END ",
        ":",
        "::",
        "a:",
        "1:",
        "://",
        "://a:b@",
    ),
    *(
        "pass",
        "pass ",
        "password",
        "password=",
        "password is ",
        "password: a ",
        "password (a b c d e ",
    ),
    *(
        "pw",
        "key",
        "api key ",
        "api_key=",
        "api key (a b c d ",
        "secret ",
        "access token ",
        "bearer ",
    ),
    *(
        "phrase ",
        "phrase abc ",
        "seed phrase abcd abcd abcd ",
        "authorization: ",
        "curl -u a",
        "clave ",
    ),
    *(
        "|8=FIX",
        "8=fix|554=a|",
        "sk-ant-",
        "AKIA",
        "SG.",
        "[1,",
        "[1,2,3,",
        "(1",
        "+1",
        "+34 6",
        "0034 6",
    ),
    *(
        "cvv ",
        "otp ",
        "pin is ",
        "card ",
        "card 4111,",
        "security code ",
        "4111 1111 1111 1111 ",
        "%B4111111111111111^",
        "4111111111111111^A",
    ),
    *(
        "cookie: a=",
        "<password>",
        "<pass",
        "<password a",
        'password" value="',
        'password: "\\"',
        "password={",
        "password: a or ",
        "password: a&",
        "password: a<a",
        "sshpass -p ",
    ),
    *(
        "%41",
        "%2541",
        "&amp;",
        "&#64;",
        "?sig=",
        "?key=" + "a1" * 10,
        "&code=a",
        "IQoJb3JpZ2luabcd/",
        "1//0",
        "aaa8Q~",
        "ghp_",
        "://a:/",
    ),
    *(
        "\u200b",
        "\u200b1",
        "\uff14",
        "é",
        "\u041e",
        "\u041e1",
        "1\u041e",
        "\x00",
        "\x1e",
        "\x1f",
        "\n",
        "\\",
        '"',
        "[email]",
    ),
    *(
        "\\n",
        "\\u0031",
        "\\/",
        "password=\\",
        "schl\u00fcssel ",
        "cl\u00e9 ",
        "<email:",
        "$",
        " = ",
        "12345678Z ",
        "AKIAIOSFODNN7EXAMPLE ",
    ),
]


def seconds(text: str) -> float:
    """Take the better of two measurements of processor time."""
    times = []
    for _ in range(2):
        started = time.process_time()
        SCANNER.find(text)
        times.append(time.process_time() - started)
    return min(times)


@pytest.mark.parametrize("unit", UNITS, ids=repr)
def test_time_grows_with_the_length(unit: str) -> None:
    """Eight times the text takes eight times as long, within noise."""
    small = (unit * SMALL)[:SMALL]
    big = (unit * SMALL * FACTOR)[: SMALL * FACTOR]
    assert seconds(big) <= LIMIT * FACTOR * max(seconds(small), FLOOR_S)


def test_a_megabyte_of_prose_takes_milliseconds() -> None:
    """The same rate as 4 KB, with room for a slow machine."""
    text = ("The price moved from 67250.50 to 68,100.25 on 2024-11-23; see the report. " * 20_000)[
        : 2**20
    ]
    assert seconds(text) < 0.5

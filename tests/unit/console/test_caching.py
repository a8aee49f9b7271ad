"""Headers about what a client has already."""

from __future__ import annotations

import pytest

from affidavit.console.caching import has_it, takes_gzip

TAG = '"abc"'


@pytest.mark.parametrize(
    ("header", "known"),
    [
        (None, False),
        ("", False),
        ('"abc"', True),
        ('W/"abc"', True),
        ('"x", "abc"', True),
        ('"x",W/"abc" , "y"', True),
        ("*", True),
        ("abc", False),
        ('"ab"', False),
        ('"x", ' * 10_000 + '"abc"', False),
    ],
    ids=lambda each: repr(each)[:30],
)
def test_a_client_has_what_it_names(header: str | None, known: bool) -> None:
    """One of several, weak or strong; a list without end is not read to it."""
    assert has_it(header, TAG) is known
    assert has_it(header, '"other"', TAG) is known


@pytest.mark.parametrize(
    ("header", "takes"),
    [
        (None, False),
        ("", False),
        ("gzip", True),
        ("br, GZIP;q=0.5", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000, *", False),
        ("*", True),
        ("*;q=0", False),
        ("identity", False),
        ("x-gzip-not", False),
        ("gzip;q=nonsense", False),
    ],
)
def test_a_client_takes_gzip_where_it_says_so(header: str | None, takes: bool) -> None:
    """And not where it says that it does not."""
    assert takes_gzip(header) is takes

"""What is a reason: the same for a page and a program."""

from __future__ import annotations

import pytest

from affidavit.console import reasons
from affidavit.console.api.problems import Problem
from affidavit.console.api.writing import checked
from affidavit.console.language import Words
from affidavit.console.pages.call import reason_problem

pytestmark = pytest.mark.requirement("R13")


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ("", "short"),
        ("abc", "short"),
        ("a b c", "short"),
        ("a b \u200b\u2060 c", "short"),
        ("abcd", None),
        (" a\tb\nc  d ", None),
        ("x" * 500, None),
        ("x" * 501, "long"),
        (f"ab{' ' * 600}cd", None),
    ],
    ids=lambda text: repr(text)[:20],
)
def test_page_and_api_take_the_same_reasons(given: str, wrong: str | None) -> None:
    """Four characters that can be seen, and 500 at most, once space is put together."""
    assert reasons.problem(given) == wrong
    assert reason_problem(given) == wrong
    if wrong is None:
        assert checked(given) == " ".join(given.split())
        return
    with pytest.raises(Problem) as refused:
        checked(given)
    assert "4 to 500" in refused.value.detail


def test_the_words_say_the_limits_of_the_rule() -> None:
    """A text that names another number would send somebody round in circles."""
    numbers = {4: {"en": "four", "es": "cuatro"}}
    for language in ("en", "es"):
        t = Words(language)
        assert numbers[reasons.SHORTEST][language] in t("reason.short")
        assert str(reasons.LONGEST) in t("reason.long")

"""Tables on narrow screens and with absurd texts: figures are never cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affidavit.cli import _output as output
from affidavit.cli._widths import GAP, fitted, width

SUM = "1234567.123456789"


def printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, room: int, user: str
) -> str:
    """Print a table of one row on a screen of so many characters."""
    monkeypatch.setattr(output, "_WIDE", room)
    columns = ("user", "cost USD", "failure %", "p95 ms")
    output.table(
        columns,
        [(user, SUM, "11.8 (8.5-16.1)", 1234567.8)],
        right=("failure %",),
        wrapped=("failure %",),
    )
    return capsys.readouterr().out


@pytest.mark.requirement("R13")
@pytest.mark.parametrize("room", [10, 30, 60, 80, 120, 200])
@pytest.mark.parametrize("user", ["ana", "u" * 3000, "\u6f22" * 300, "\x1b[31m" * 50])
def test_no_figure_is_cut_on_any_screen(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, room: int, user: str
) -> None:
    """However narrow the screen and however long a name is, sums and times stand there whole."""
    words = printed(capsys, monkeypatch, room, user).split()
    assert {SUM, "11.8", "(8.5-16.1)", "1,234,568"} <= set(words)


@pytest.mark.requirement("R13")
def test_a_narrow_screen_has_a_line_for_each_value(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the figures do not fit side by side, a row is written as lines of name and value."""
    assert printed(capsys, monkeypatch, 30, "ana").splitlines() == [
        "user       ana",
        f"cost USD   {SUM}",
        "failure %  11.8 (8.5-16.1)",
        "p95 ms     1,234,568",
    ]


@pytest.mark.requirement("R13")
@pytest.mark.parametrize("room", [30, 80, 200])
def test_nothing_of_a_text_is_cut_off(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    """A name that is wider than its column goes on in the next line, to its end."""
    monkeypatch.setattr(output, "_WIDE", room)
    output.table(("user", "model", "calls"), [("x" * 300, "gpt-5-mini", 17)])
    shown = capsys.readouterr().out
    assert shown.count("x") == 300
    assert "gpt-5-mini" in shown
    assert room == 30 or max(map(len, shown.splitlines())) <= room  # 30: a line a value


@given(
    st.lists(st.tuples(*[st.text(max_size=60)] * 3), max_size=4),
    st.permutations(["figure", "words", "text"]),
    st.integers(1, 160),
)
@pytest.mark.requirement("R13")
def test_columns_fit_or_there_is_no_table(
    rows: list[tuple[str, str, str]], kinds: list[str], room: int
) -> None:
    """Widths never exceed the screen, and leave every figure its room."""
    found = fitted(("one", "two words", "three"), rows, kinds, room)
    if found is None:
        return
    assert sum(found) + 2 * GAP <= room
    at = kinds.index("figure")
    assert all(width(row[at]) <= found[at] for row in rows)


@pytest.mark.requirement("R15")
@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (8729760.0, "8,729,760"),
        (12345.6, "12,346"),
        (203.2, "203.2"),
        (0.1, "0.1"),
        (-2e7, "-20,000,000"),
    ],
)
def test_large_figures_have_no_powers_of_ten(value: float, shown: str) -> None:
    """People read thousands."""
    assert output.cell(value) == shown

"""Reading the options of commands."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from affidavit.cli import run
from affidavit.cli._common import address, checked, span, when
from affidavit.errors import ConfigError

pytestmark = pytest.mark.requirement("R20")


@pytest.mark.parametrize(
    ("text", "ago"),
    [("90s", 90), ("30m", 1800), ("24h", 86_400), ("7d", 604_800), ("2w", 1_209_600)],
)
def test_a_time_can_be_so_long_ago(text: str, ago: int) -> None:
    """Seconds to weeks."""
    moment = when(text, "--since")
    assert moment is not None
    assert abs(datetime.now(UTC) - timedelta(seconds=ago) - moment) < timedelta(seconds=5)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-01", datetime(2026, 11, 1, tzinfo=UTC)),
        ("2026-11-01T09:30", datetime(2026, 11, 1, 9, 30, tzinfo=UTC)),
        ("2026-11-01T09:30+02:00", datetime(2026, 11, 1, 7, 30, tzinfo=UTC)),
    ],
)
def test_a_time_without_a_zone_is_utc(text: str, moment: datetime) -> None:
    """A zone that is given counts."""
    assert when(text, "--since") == moment


@pytest.mark.parametrize(
    "text", ["yesterday", "5x", "2026-13-01", "", "999999w", "0001-01-01T00:00+14:00"]
)
def test_what_is_no_time_is_refused_with_examples(text: str) -> None:
    """The text names the option."""
    with pytest.raises(ConfigError, match=r"--since .* is no time"):
        when(text, "--since")


@pytest.mark.parametrize(
    ("since", "until"),
    [("2026-11-02", "2026-11-01"), ("1h", "24h"), ("2026-11-01", "2026-11-01")],
)
def test_a_span_that_ends_before_it_begins_is_refused_with_both_its_ends(
    since: str, until: str
) -> None:
    """An empty table would say that nothing happened."""
    with pytest.raises(ConfigError, match=f"--since '{since}' .*--until '{until}'"):
        span(since, until)


@pytest.mark.parametrize(("since", "until"), [(None, None), ("1h", None), ("24h", "1h")])
def test_a_span_in_order_is_read(since: str | None, until: str | None) -> None:
    """Open ends are fine."""
    start, end = span(since, until)
    assert (start is None, end is None) == (since is None, until is None)


@pytest.mark.parametrize("command", ["search", "stats"])
def test_a_reversed_span_is_wrong_usage(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Said before the database is asked."""
    assert run([command, "--since", "2026-11-02", "--until", "2026-11-01"]) == 2
    assert "--until" in capsys.readouterr().err


def test_a_value_outside_the_vocabulary_is_refused_with_the_vocabulary() -> None:
    """Not silently found nowhere."""
    with pytest.raises(ConfigError, match="initiated, completed"):
        checked("done", "--status", ("initiated", "completed"))


def test_without_an_address_the_text_says_where_to_put_it() -> None:
    """Option, variable and file."""
    with pytest.raises(ConfigError, match=r"--uri .*AFFIDAVIT_MONGODB_URI.* affidavit\.toml"):
        address(None)

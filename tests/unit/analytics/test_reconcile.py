"""Reading exports of providers, and comparing them with sums of the log."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affidavit.analytics.billing import Billed, Export, Provider, family, read_export
from affidavit.analytics.reconcile import ALL_MODELS, question, reconcile
from affidavit.errors import ConfigError
from affidavit.tally.sums import Sums

pytestmark = pytest.mark.requirement("R13", "R16")

OPENAI_USAGE = """\
start_time,end_time,start_time_iso,end_time_iso,project_id,num_model_requests,model,batch,\
input_tokens,output_tokens,input_cached_tokens
1793491200,1793577600,2026-11-01T00:00:00+00:00,2026-11-02T00:00:00+00:00,proj_1,3,\
gpt-4o-mini-2024-07-18,false,1000,200,300
1793491200,1793577600,2026-11-01T00:00:00+00:00,2026-11-02T00:00:00+00:00,proj_2,2,\
gpt-4o-mini-2024-07-18,false,500,100,0
1793577600,1793664000,2026-11-02T00:00:00+00:00,2026-11-03T00:00:00+00:00,,,,,,,
"""
OPENAI_COST = """\
start_time,end_time,start_time_iso,end_time_iso,amount_value,amount_currency,line_item,project_id
1793491200,1793577600,2026-11-01T00:00:00+00:00,,0.0001500000000,usd,\
"gpt-4o-mini-2024-07-18, input",proj_1
1793491200,1793577600,2026-11-01T00:00:00+00:00,,8.9e-05,usd,"gpt-4o-mini-2024-07-18, output",proj_1
1793577600,1793664000,2026-11-02T00:00:00+00:00,,,,,
"""
ANTHROPIC_USAGE = """\
usage_date_utc,model_version,api_key,workspace,usage_type,context_window,\
usage_input_tokens_no_cache,usage_input_tokens_cache_write_5m,usage_input_tokens_cache_write_1h,\
usage_input_tokens_cache_read,usage_output_tokens,web_search_count,inference_geo,speed
2026-11-01,claude-haiku-4-5-20251001,key,Default,standard,≤ 200k,100,20,3,4000,50,0,global,
"""
ANTHROPIC_COST = """\
usage_date_utc,model,workspace,api_key,usage_type,context_window,token_type,cost_usd,\
list_price_usd,cost_type,inference_geo,speed
2026-11-01,Claude Haiku 4.5,Default,key,message,≤ 200k,input_no_cache,0.05,0.05,token,global,
2026-11-01,Claude Haiku 4.5,Default,key,message,≤ 200k,output,0.02,0.02,token,global,
2026-11-01,--,Default,key,message,--,--,0.01,0.01,web_search,global,
"""
NOV1, NOV2, NOV3 = date(2026, 11, 1), date(2026, 11, 2), date(2026, 11, 3)
MINI = "gpt-4o-mini"


def read(provider: Provider, *texts: str, **only: str) -> Export:
    """An export of some files."""
    export = Export(provider)
    for number, text in enumerate(texts):
        read_export(export, f"{number}.csv", text.encode(), only)
    return export


def logged(
    day: date, model: str, calls: int, tokens: tuple[int, int], cost: str = "0", failed: int = 0
) -> tuple[tuple[str, str], Sums]:
    """What the log has of a day and model."""
    nano = int(Decimal(cost) * 10**9)
    sums = Sums(calls=calls + failed, completed=calls, failed=failed, input_tokens=tokens[0])
    sums.output_tokens, sums.cost_nano, sums.priced = tokens[1], nano, calls
    return (str(day), model), sums


# -- reading ---------------------------------------------------------------------------------------


def test_an_openai_usage_export_is_added_up_by_day_and_model() -> None:
    """Projects are one; an empty bucket is a day without use."""
    export = read("openai", OPENAI_USAGE)
    assert export.by == {(NOV1, MINI): Billed(5, 1500, 300)}
    assert export.days == {NOV1, NOV2}
    assert export.measures == ["requests", "input_tokens", "output_tokens"]


def test_an_openai_cost_export_is_added_up_exactly() -> None:
    """Line items carry the model; exponents are numbers too."""
    export = read("openai", OPENAI_COST)
    assert export.by == {(NOV1, MINI): Billed(cost_usd=Decimal("0.000239"))}


def test_anthropics_cached_tokens_are_of_the_input() -> None:
    """As they are in the records."""
    assert read("anthropic", ANTHROPIC_USAGE).by == {
        (NOV1, "claude-haiku-4-5"): Billed(None, 4123, 50)
    }


def test_usage_and_cost_of_anthropic_meet_under_one_model() -> None:
    """One file writes the id, the other the name; what is no model keeps its kind."""
    export = read("anthropic", ANTHROPIC_USAGE, ANTHROPIC_COST)
    assert export.by == {
        (NOV1, "claude-haiku-4-5"): Billed(None, 4123, 50, Decimal("0.07"), Decimal("0.010")),
        (NOV1, "web-search"): Billed(cost_usd=Decimal("0.01"), rounding_usd=Decimal("0.005")),
    }


def test_rows_are_chosen_by_a_column() -> None:
    """Of one project; the days of the others still count as covered."""
    export = read("openai", OPENAI_USAGE, project_id="proj_2")
    assert export.by == {(NOV1, MINI): Billed(2, 500, 100)}
    assert export.days == {NOV1, NOV2}


def test_older_names_of_columns_other_separators_and_a_byte_order_mark_are_read() -> None:
    """As exports of other years and spreadsheets have them."""
    text = "\ufeffDate\tsnapshot_id\tn_requests\tn_context_tokens_total\tn_generated_tokens_total\n"
    export = read("openai", text + "1793491200\tgpt-4-0613\t1\t10\t2.0\n")
    assert export.by == {(NOV1, "gpt-4"): Billed(1, 10, 2)}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("gpt-4o-mini-2024-07-18", "gpt-4o-mini"),
        ("Claude Haiku 4.5", "claude-haiku-4-5-20251001"),
        ("Claude Sonnet 3.5", "claude-3-5-sonnet-20241022"),
        ("claude-3-opus-latest", "Claude Opus 3"),
        ("GPT-4", "gpt-4-0613"),
    ],
)
def test_names_of_one_model_are_one(one: str, other: str) -> None:
    """With a date, with a name for people, in the older order."""
    assert family(one) == family(other)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "line 1: no column with the day"),
        ("a,b\n1,2\n", "line 1: no column with the day"),
        ("date,model\n2026-11-01,m\n", "line 1: no column with requests, tokens or cost"),
        ("date,cost,cost\n", "line 1: the column 'cost' is there twice"),
        ("date,cost\n2026-11-01\n", "line 2: 1 cells, and the first line has 2"),
        ("date,cost\n2026-11-01,1,2\n", "line 2: 3 cells"),
        ("date,cost\n\nyesterday,1\n", "line 3, column date: 'yesterday' is no day"),
        ("date,cost\n99999999999999,1\n", "line 2, column date"),
        ("date,cost\n0026-11-01,1\n", "line 2, column date"),
        ('date,cost\n2026-11-01,"1,234.5"\n', "line 2, column cost: '1,234.5' is no amount"),
        ("date;cost\n2026-11-01;0,12\n", "line 2, column cost: '0,12' is no amount"),
        ("date,cost\n2026-11-01,NaN\n", "column cost: 'NaN' is no amount"),
        ("date,cost\n2026-11-01,1e999\n", "column cost"),
        ("date,cost\n2026-11-01,=1+1\n", r"column cost: '=1\+1' is no amount"),
        ("date,cost,currency\n2026-11-01,1,eur\n", "column currency: 'eur' is no currency"),
        ("date,input_tokens\n2026-11-01,1.5\n", "column input_tokens: '1.5' is no whole number"),
        ("date,input_tokens\n2026-11-01,-1\n", "column input_tokens: '-1' is no whole number"),
        ("date,input_tokens\n2026-11-01,٣\n", "column input_tokens"),
        ('date,cost\n2026-11-01,"1\n', "line 2: no CSV"),
        ("date,cost\n2026-11-01,\x00\n", "line 2: a zero byte"),
        ("date,cost\n2026-11-01,\x1b[31m" + "x" * 99 + "\n", r"'\\x1b\[31mx+…' is no amount"),
        ("date,cost\n2026-11-01," + "x" * 200_000 + "\n", "line 2: no CSV"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_an_error_with_its_place(text: str, told: str) -> None:
    """File, line and column; no guess, and nothing that a terminal obeys."""
    with pytest.raises(ConfigError, match=told) as error:
        read("openai", text)
    assert "0.csv, line" in str(error.value)


def test_bytes_that_are_no_text_are_an_error_with_their_line() -> None:
    """A file of another encoding."""
    with pytest.raises(ConfigError, match="line 2: no text in UTF-8"):
        read_export(Export("openai"), "x.csv", b"date,cost\n\xff\xfe,1\n")


def test_a_day_that_two_files_tell_is_refused() -> None:
    """It would count twice; other days and other kinds of files may come together."""
    with pytest.raises(ConfigError, match="2026-11-01 too"):
        read("openai", OPENAI_USAGE, OPENAI_USAGE)
    later = OPENAI_USAGE.replace("2026-11-01T", "2026-11-05T").replace("2026-11-02T", "2026-11-06T")
    assert len(read("openai", OPENAI_USAGE, OPENAI_COST, later).by) == 2


def test_a_column_to_choose_by_must_be_there() -> None:
    """A misspelled one chooses nothing."""
    with pytest.raises(ConfigError, match="no column 'projekt'"):
        read("openai", OPENAI_USAGE, projekt="proj_2")


@given(st.text(max_size=300))
def test_no_text_makes_anything_but_an_error(text: str) -> None:
    """Hostile files included."""
    export = Export("anthropic")
    for head in ("", "usage_date_utc,model,cost_usd,usage_output_tokens\n"):
        error: Exception | None = None
        try:
            read_export(export, "x.csv", (head + text).encode("utf-8", "surrogatepass"))
        except Exception as caught:
            error = caught
        assert error is None or isinstance(error, ConfigError)


# -- comparing -------------------------------------------------------------------------------------


def test_what_is_the_same_is_said_to_be() -> None:
    """Requests, tokens and cost; a failed call may have been billed or not."""
    export = read("openai", OPENAI_USAGE, OPENAI_COST)
    found = reconcile(export, [logged(NOV1, f"{MINI}-2024-07-18", 4, (1500, 300), "0.000239", 2)])
    assert found.clean
    assert [row.model for row in found.rows] == ["gpt-4o-mini-2024-07-18"]
    assert found.difference.cost_usd == 0


def test_calls_past_the_log_and_calls_that_nobody_billed_are_named() -> None:
    """A model that the log does not know, a day that the export does not."""
    export = read("openai", OPENAI_USAGE)
    found = reconcile(export, [logged(NOV2, "gpt-5-mini", 1, (10, 1))])
    assert [(row.day, row.model, row.verdict) for row in found.rows] == [
        (NOV1, "gpt-4o-mini-2024-07-18", "billed_not_logged"),
        (NOV2, "gpt-5-mini", "logged_not_billed"),
    ]
    assert found.verdicts == {
        "same": 0, "differs": 0, "billed_not_logged": 1, "logged_not_billed": 1,
    }  # fmt: skip
    assert (found.difference.requests, found.difference.input_tokens) == (4, 1490)


def test_calls_that_only_failed_are_not_expected_to_be_billed() -> None:
    """Nothing came back, nothing is owed."""
    assert reconcile(read("openai", OPENAI_USAGE), [
        logged(NOV1, MINI, 5, (1500, 300)), logged(NOV2, MINI, 0, (0, 0), failed=3),
    ]).clean  # fmt: skip


def test_days_outside_of_an_export_are_not_judged_unless_it_covers_them() -> None:
    """The console leaves out days without use: `covers` says that they are meant."""
    calls = [logged(NOV3, "claude-haiku-4-5-20251001", 1, (5, 5))]
    assert len(reconcile(read("anthropic", ANTHROPIC_USAGE), calls).rows) == 1
    export = read("anthropic", ANTHROPIC_USAGE)
    export.covers(NOV3)
    assert reconcile(export, calls).rows[-1].verdict == "logged_not_billed"


@pytest.mark.parametrize(("percent", "clean"), [("0", False), ("0.9", False), ("1", True)])
def test_a_tolerance_is_a_share_of_what_is_billed(percent: str, clean: bool) -> None:
    """To the last token."""
    export = read("openai", OPENAI_USAGE)
    found = reconcile(export, [logged(NOV1, MINI, 5, (1485, 297))], Decimal(percent))
    assert found.clean is clean


def test_amounts_in_cents_may_be_off_by_their_rounding_and_no_more() -> None:
    """Two lines of cents: a cent in all."""
    export = read("anthropic", ANTHROPIC_COST.rsplit("\n", 2)[0] + "\n")
    model = "claude-haiku-4-5-20251001"
    assert reconcile(export, [logged(NOV1, model, 1, (0, 0), "0.0799")]).clean
    assert not reconcile(export, [logged(NOV1, model, 1, (0, 0), "0.080001")]).clean


def test_costs_without_a_model_are_compared_by_day() -> None:
    """Beside usage, which is by model."""
    text = "start_time_iso,amount_value,amount_currency,line_item\n2026-11-01T00:00:00Z,0.5,usd,\n"
    export = read("openai", OPENAI_USAGE, text)
    calls = [logged(NOV1, MINI, 5, (1500, 300), "0.3"), logged(NOV1, "gpt-5", 1, (0, 0), "0.2")]
    rows = {(row.model, row.verdict) for row in reconcile(export, calls).rows}
    assert rows == {
        (ALL_MODELS, "same"), (MINI, "same"), ("gpt-5", "logged_not_billed"),
    }  # fmt: skip
    alone = read("openai", text)
    assert [row.model for row in reconcile(alone, calls).rows] == [ALL_MODELS]


def test_totals_are_exact_whatever_the_number_of_digits() -> None:
    """Where binary numbers, or 28 digits, would round."""
    lines = [f"2026-11-01,m,0.{'0' * 24}1", "2026-11-01,m,123456789012345.1"]
    export = read("openai", "date,model,cost\n" + "\n".join(lines) + "\n")
    exact = f"123456789012345.1{'0' * 23}1"
    assert str(export.by[NOV1, "m"].cost_usd) == exact
    assert str(reconcile(export, []).difference.cost_usd) == exact


def test_what_limits_the_comparison_is_said() -> None:
    """Unpriced calls, records that are gone, a day that is not over, what the export leaves out."""
    calls = [logged(NOV1, MINI, 5, (1500, 300), "0.000239")]
    calls[0][1].unpriced = 2
    now = datetime(2026, 11, 2, 12, tzinfo=UTC)
    notes = " ".join(reconcile(read("openai", OPENAI_COST), calls, now=now, retention_days=1).notes)
    for told in ("tells no tokens", "2 logged calls have no cost", "not over", "kept for 1 days"):
        assert told in notes


def test_an_export_without_lines_is_an_error() -> None:
    """There is nothing to ask the log for."""
    with pytest.raises(ConfigError, match="no line with a day"):
        question(read("openai", "date,cost\n"), {})


def test_an_export_of_which_no_line_was_chosen_bills_nothing_of_its_days() -> None:
    """The days are told all the same: what the log has of them is nobody's bill."""
    export = read("openai", OPENAI_USAGE, project_id="nope")
    assert export.unmatched == ["0.csv"]
    found = reconcile(export, [logged(NOV1, MINI, 5, (1500, 300))])
    assert [row.verdict for row in found.rows] == ["logged_not_billed"]
    assert (found.difference.requests, found.difference.input_tokens) == (-5, -1500)


def test_a_chosen_project_is_told_on_days_of_others_too() -> None:
    """A file of two days tells of both, though the project was billed on one."""
    text = "date,model,requests,project_id\n2026-11-01,m,1,a\n2026-11-02,m,2,b\n"
    found = reconcile(
        read("openai", text, project_id="b"),
        [logged(NOV1, "m", 7, (0, 0)), logged(NOV2, "m", 2, (0, 0))],
    )
    assert [(row.day, row.verdict) for row in found.rows] == [
        (NOV1, "logged_not_billed"), (NOV2, "same"),
    ]  # fmt: skip


def test_an_export_of_headings_tells_that_nothing_was_billed_of_the_days_it_covers() -> None:
    """The console leaves out days without use: a month without any is headings alone."""
    export = read("openai", OPENAI_USAGE.splitlines()[0] + "\n")
    export.covers(NOV1)
    export.covers(NOV3)
    found = reconcile(export, [logged(NOV2, MINI, 1, (5, 5))])
    assert [(row.day, row.verdict) for row in found.rows] == [(NOV2, "logged_not_billed")]


def test_totals_are_of_the_days_that_an_export_tells_a_measure_of() -> None:
    """Costs of one day beside usage of two: the log's total cost is of that day; both are said."""
    usage = "date,model,requests,input_tokens\n2026-11-01,m,1,10\n2026-11-02,m,1,10\n"
    cost = "date,model,cost\n2026-11-01,m,0.5\n"
    calls = [logged(day, "m", 1, (10, 0), "0.5") for day in (NOV1, NOV2)]
    found = reconcile(read("openai", usage, cost), calls)
    assert found.clean
    assert (found.logged.calls, found.logged.input_tokens) == (2, 20)
    assert found.logged.cost_usd == found.billed.cost_usd == Decimal("0.5")
    assert found.difference.cost_usd == 0
    told = " ".join(found.notes)
    assert "requests, input tokens: 2026-11-01 to 2026-11-02; cost: 2026-11-01 to" in told

"""What the pages say is so: settings, commands, fields, bounds, links."""

from __future__ import annotations

import importlib.util
import inspect
import re
import shlex
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import affidavit
from affidavit import AuditConfig, AuditLogger, AuditMiddleware, errors
from affidavit._call import CallState, Report
from affidavit._engine import shipper, writer
from affidavit._engine.stats import Stats
from affidavit._recorder import Dimensions
from affidavit.config import SETTINGS
from affidavit.console.settings import SETTINGS as SERVICE
from affidavit.event import EventType, LedgerEvent
from scripts import reference
from tests.docs import pages

if TYPE_CHECKING:
    from pymongo.database import Database

GUARANTEES = Path("docs/explanation/guarantees.md")
RECORDS = Path("docs/reference/records.md")
WRITTEN_BY_MEASUREMENTS = frozenset({
    "docs/benchmarks.md",
    "docs/campaigns/canary.md", "docs/campaigns/faults.md", "docs/campaigns/tamper.md",
    "docs/claims.md",
})  # fmt: skip
"""Pages whose figures come from long runs; a link to one that is not there yet is no error."""

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def text_of(page: str | Path) -> str:
    """A page's whole text."""
    return (pages.ROOT / page).read_text("utf-8")


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ +(.*)$", pages.prose(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


# -- reference ---------------------------------------------------------------------------------


@pytest.mark.requirement("R7")
@pytest.mark.parametrize("page", reference.PARTS)
def test_the_generated_reference_is_up_to_date(page: str) -> None:
    """Each setting and each option is documented as it is; `python -m scripts.reference` writes."""
    assert reference.is_current(page), "run `python -m scripts.reference`"


@pytest.mark.requirement("R7")
def test_every_setting_is_documented_once() -> None:
    """The page of settings has one section for each, and none for what does not exist."""
    sections = re.findall(r"^### `([\w.]+)`$", text_of("docs/reference/settings.md"), re.MULTILINE)
    assert sections == [*SETTINGS, *(f"serve.{name}" for name in SERVICE)]


def test_every_command_is_documented() -> None:
    """What `affidavit --help` lists is what the page lists."""
    documented = re.findall(r"^### `(affidavit [a-z -]+[a-z])", text_of("docs/reference/cli.md"),
                            re.MULTILINE)  # fmt: skip
    alone = "invoke_without_command"  # a group that does something by itself, or a plain command
    leaves = [n for n, c in reference.commands().items() if getattr(c, alone, True)]
    assert sorted(name.strip() for name in documented) == sorted(leaves)


def test_every_error_is_documented() -> None:
    """The tree of errors holds every public class, and nothing else."""
    tree = next(b.text for b in pages.blocks(Path("docs/reference/errors.md"), "text"))
    public = {n for n in affidavit.__all__ if isinstance(getattr(errors, n, None), type)}
    assert set(re.findall(r"[A-Z]\w+(?=\s{2,}|$)", tree, re.MULTILINE)) == public


def test_every_statistic_is_documented() -> None:
    """The table of statistics has each field of `stats()` in order."""
    named = re.findall(r"^\| `(\w+)` \|", text_of("docs/reference/stats.md"), re.MULTILINE)
    assert named == list(Stats.__dataclass_fields__)


@pytest.mark.requirement("R3")
def test_every_stored_field_is_documented(
    mongodb_uri: str, database: Database[dict[str, Any]]
) -> None:
    """Real records, ledger records, heartbeats and calls of the view hold no unnamed field."""
    with AuditLogger(mongodb_uri, service="assistant", environment="test") as audit:
        who = {"user_id": "u", "department": "d", "tenant": "t", "session_id": "s"}
        with audit.context(conversation_id="c", ip_address="192.0.2.1", user_agent="a", **who):
            with audit.call(
                provider="p", model="m", message="x" * 20_000, messages=[{"content": b"x"}],
                parameters={"temperature": 0},
            ) as call:  # fmt: skip
                call.complete(
                    text="y", input_tokens=1, output_tokens=1, cached_tokens=0, reasoning_tokens=0,
                    cost_usd="0.1", finish_reason="stop", time_to_first_token_ms=1.0,
                    tool_calls=[{"name": "n"}],
                )  # fmt: skip
            with audit.call(provider="p") as failed:
                failed.fail(ValueError("no"))
            audit.rate_limit_exceeded(limit_type="l", current_usage={"n": 1}, details={"n": 1})
            audit.security_event(kind="k", details={"n": 1})
            audit.annotate(call.call_id, kind="score", name="n", value=1, ref="r", note="n")
    page = text_of(RECORDS)
    sources = ("llm_audit", "llm_audit_ledger", "llm_audit_writers", "llm_calls")
    unnamed = {
        name
        for source in sources
        for document in database[source].find()
        for name in _fields(document)
        if f"`{name}`" not in page and f"`{name.rpartition('.')[2]}`" not in page
    }
    assert not unnamed


_SECTIONS = ("request_data", "response_data", "details", "client_info", "actor", "latency_ms")


def _fields(document: dict[str, Any]) -> set[str]:
    """Names at the top, and inside the parts that the page describes field by field."""
    inner = {
        f"{part}.{name}"
        for part in _SECTIONS
        if isinstance(document.get(part), dict)
        for name in document[part]
    }
    return set(document) | inner


@pytest.mark.requirement("R1")
@pytest.mark.parametrize("kind", [*EventType, *LedgerEvent], ids=str)
def test_every_kind_of_record_is_documented(kind: str) -> None:
    """Each `event_type` that is written has its place on the page."""
    assert re.search(rf"[`\"]{kind}[`\"]", text_of(RECORDS))


def test_every_keyword_of_the_logger_is_documented() -> None:
    """Methods of the facades, of calls and of the middleware, and what they take."""
    page = text_of("docs/reference/logger.md")
    described = (
        AuditLogger, AuditLogger.call, AuditLogger.context, AuditLogger.rate_limit_exceeded,
        AuditLogger.security_event, AuditLogger.annotate, AuditLogger.flush, AuditLogger.close,
        CallState.partial, AuditMiddleware,
    )  # fmt: skip
    keywords = {name for what in described for name in inspect.signature(what).parameters}
    keywords |= set(Dimensions.__annotations__) | set(Report.__annotations__)
    missing = {
        name
        for name in keywords - {"self", "app", "dimensions", "report", "timeout_s"}
        if not re.search(rf"\b{name}\b", page)
    }
    assert not missing
    public = {n for n in dir(AuditLogger) if not n.startswith("_")}
    ours = {"config", "is_listened_to"}  # the second is asked by the hooks of captured clients
    assert public - ours <= set(re.findall(r"\w+", page))


def test_the_layers_drawn_are_those_that_are_checked() -> None:
    """The architecture's page shows import-linter's own list."""
    project = tomllib.loads(text_of("pyproject.toml"))
    contracts = project["tool"]["importlinter"]["contracts"]
    (layers,) = [c["layers"] for c in contracts if c["type"] == "layers"]
    drawn = [b.text for b in pages.blocks(Path("docs/architecture.md"), "text")]
    assert re.sub(r"[()]", "", "\n".join(layers)) + "\n" in drawn


# -- guarantees --------------------------------------------------------------------------------


@pytest.mark.requirement("R6", "R12")
def test_the_bounds_stated_are_those_of_the_code() -> None:
    """Whoever changes a bound changes the pages that promise it."""
    defaults = AuditConfig()
    assert writer.EXPOSED_S == 0.1
    assert writer.EXPOSED_RECORDS == 1000
    assert (defaults.max_queue_bytes, defaults.queue_wait) == (64 * 1024**2, 0.05)
    assert (defaults.max_spool_bytes, defaults.write_timeout) == (1024**3, 1.0)
    assert (shipper.ADOPT_S, shipper.HEARTBEAT_S) == (30.0, 10.0)
    for stated in ("100 ms", "1,000", "64 MiB", "50 ms", "1 GiB", "30 s"):
        assert stated in text_of(GUARANTEES), stated
    for stated in ("100 ms", "1,000 records", "64 MiB", "50 ms", "1 s"):
        assert stated in text_of("README.md"), stated


# -- commands and links ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("page", "line", "command"),
    pages.shell_lines(),
    ids=[f"{page}:{line}" for page, line, _ in pages.shell_lines()],
)
def test_a_command_that_a_page_shows_exists(page: Path, line: int, command: str) -> None:
    """Targets are in the Makefile, modules can be imported, options are known."""
    words = [w for w in shlex.split(command) if not re.fullmatch(r"[A-Z_]+=\S*", w)]
    if words and words[0] == "affidavit":
        _check_affidavit(words[1:])
    elif words and words[0] == "make":
        targets = re.findall(r"^([a-z-]+):", text_of("Makefile"), re.MULTILINE)
        assert {w for w in words[1:] if "=" not in w and not w.startswith("-")} <= set(targets)
    elif words[:2] == ["python", "-m"]:
        assert importlib.util.find_spec(words[2]) is not None


def _check_affidavit(words: list[str]) -> None:
    known = reference.commands()
    name = "affidavit"
    while words and f"{name} {words[0]}" in known:
        name = f"{name} {words.pop(0)}"
    alone = getattr(known[name], "invoke_without_command", True)
    assert alone or not words or words[0] == "--help", words
    options = {o for p in known[name].params for o in (*p.opts, *p.secondary_opts)} | {"--help"}
    assert {w.partition("=")[0] for w in words if w.startswith("-")} <= options


@pytest.mark.parametrize("page", pages.pages(), ids=str)
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    """Files exist, and so do the headings that a link names."""
    for target in _LINK.findall(pages.prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (pages.ROOT / page).parent.joinpath(path).resolve() if path else pages.ROOT / page
        relative = there.relative_to(pages.ROOT)
        if str(relative) in WRITTEN_BY_MEASUREMENTS:
            continue
        assert there.exists(), f"{page}: {target}"
        if anchor:
            assert anchor in anchors(relative), f"{page}: {target}"


@pytest.mark.parametrize("page", pages.pages(), ids=str)
def test_every_page_is_listed_or_linked(page: Path) -> None:
    """A page that nothing leads to is not read."""
    linked = {
        (pages.ROOT / other).parent.joinpath(target.partition("#")[0]).resolve()
        for other in pages.pages()
        if other != page
        for target in _LINK.findall(pages.prose(other))
        if not re.match(r"[a-z]+:", target)
    }
    assert page.name == "README.md" or pages.ROOT / page in linked

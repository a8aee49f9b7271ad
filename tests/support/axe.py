"""Barriers that axe finds on a page, in a line each."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from playwright.sync_api import Page

_SOURCE: Final = Path(__file__).parents[1] / "browser" / "vendor" / "axe.min.js"

# All rules that are not experimental, and the one of WCAG 2.2 that is off unless asked for.
_ASK: Final = """async () => {
  const found = await axe.run(document, {
    preload: false,
    resultTypes: ["violations"],
    rules: { "target-size": { enabled: true } },
  });
  return found.violations.flatMap((rule) => rule.nodes.map((node) => {
    const why = (node.failureSummary || rule.help).replace(/\\s+/g, " ");
    return `${rule.id}: ${node.target.join(" ")}: ${why}`;
  }));
}"""


@cache
def _source() -> str:
    return _SOURCE.read_text("utf-8")


def barriers(page: Page) -> list[str]:
    """Give what keeps somebody from using the page as it stands."""
    if not page.evaluate("() => Boolean(window.axe)"):
        page.evaluate(_source())
    found: list[str] = page.evaluate(_ASK)
    return found

"""The project's own pages: their code blocks, their links, and how an example is run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]


_FENCE = re.compile(r"^```(\S*)[ ]*(.*)$")


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block: its language, the rest of the fence's line, and where its text begins."""

    language: str
    info: str
    line: int
    text: str


def pages() -> list[Path]:
    """Every page of ours, as paths from the root."""
    found = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    return sorted(page.relative_to(ROOT) for page in found)


def blocks(page: Path, language: str | None = None) -> list[Block]:
    """The fenced blocks of a page, in order."""
    return [b for b in _blocks((ROOT / page).read_text("utf-8")) if language in {None, b.language}]


def with_examples() -> list[Path]:
    """Pages with Python that runs by itself."""
    return [page for page in pages() if any(not b.info for b in blocks(page, "python"))]


def script(page: Path) -> str:
    """The page's Python as one program, each line at its line number of the page."""
    lines: list[str] = []
    for block in blocks(page, "python"):
        if not block.info:  # a block with a title is a file of its own
            lines += [""] * (block.line - 1 - len(lines))
            lines += block.text.splitlines()
    return "\n".join(lines) + "\n"


def shell_lines() -> list[tuple[Path, int, str]]:
    """Every command a page shows: page, line, and the command with continued lines joined."""
    found = []
    for page in pages():
        for block in blocks(page, "sh"):
            joined = re.sub(r"\\\n\s*", " ", block.text)
            for offset, line in enumerate(joined.splitlines()):
                if line.strip():
                    found.append((page, block.line + offset, line.partition("  #")[0].strip()))
    return found


def prose(page: Path) -> str:
    """A page's text without its fenced blocks."""
    text = (ROOT / page).read_text("utf-8")
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def for_server(text: str, uri: str, name: str) -> str:
    """Point an example at the test's own database: what a page calls ``wadm`` is ``name``."""
    server = uri.partition(f"/{name}")[0]
    query = "?" + uri.partition("?")[2] if "?" in uri else ""
    text = text.replace("wadm", name)
    text = re.sub(rf"mongodb://localhost/({name}\w*)", rf"{server}/\1{query}", text)
    return text.replace("mongodb://localhost", server)


def _blocks(text: str) -> Iterator[Block]:
    language, info, start, inside = "", "", 0, list[str]()
    fenced = False
    for number, line in enumerate(text.splitlines(), 1):
        fence = _FENCE.match(line)
        if not fenced and fence:
            fenced, language, info, start, inside = True, fence[1], fence[2].strip(), number + 1, []
        elif fenced and line == "```":
            fenced = False
            yield Block(language, info, start, "\n".join(inside) + "\n")
        elif fenced:
            inside.append(line)

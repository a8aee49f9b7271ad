"""Bundles hold what cells of users say: nothing is lost, and the same cells make the same ones."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from bson import encode

from affidavit.tally import bundles
from affidavit.tally.bundles import MOST, PIECES, bundle_id, pack, piece_of, unpack
from affidavit.tally.cells import USERS, Cell, Part, Times

pytestmark = pytest.mark.requirement("R13", "R14")

MADRID = ZoneInfo("Europe/Madrid")
START = datetime(2026, 10, 31, 23, tzinfo=UTC)


def user(name: str | None, day: str = "05", k: int = 1, **counts: int) -> Cell:
    """What one user adds up to on one day."""
    cell = Cell(USERS, "u2026-11", START, (name, "research", None), k)
    cell.days[day] = Part(dict(counts), Times(10, 20))
    return cell


def test_what_goes_in_comes_out() -> None:
    """Users without a name, several days, corrections, absurd amounts: each as it was."""
    cells = [user(f"u{n}", calls=n, cost_nano=10**n) for n in range(1, 40)]
    cells += [user(None, calls=3), user("gone", cost_nano=-(10**30), priced=1)]
    cells[0].days["06"] = Part({"unpriced": -1}, None, Times(5, 6))
    found = {cell.id: cell for cell in unpack(pack(cells, 7), MADRID)}
    assert found == {cell.id: cell for cell in cells}


def test_groups_of_one_user_are_added_up() -> None:
    """Counts are added, the newest seal and the outer times are kept."""
    first, second = user("u", calls=2, cost_nano=5), user("u", k=4, calls=1, failed=1)
    second.days["05"].calls = Times(1, 15)
    [found] = unpack([*pack([first], 1), *pack([second], 2)], MADRID)
    assert (found.k, found.days["05"].calls) == (4, Times(1, 20))
    assert found.days["05"].counts == {"calls": 3, "cost_nano": 5, "failed": 1}


def test_the_order_of_cells_makes_no_difference() -> None:
    """Who packs the same group again makes the same documents, however its cells come."""
    cells = [user(f"u{n}", calls=1) for n in range(MOST * 20)]
    made = list(pack(cells, 7))
    random.Random(1).shuffle(cells)
    assert list(pack(cells, 7)) == made
    assert {document["piece"] for document in made} == set(PIECES)
    assert len(made) > len(PIECES)
    assert max(len(document["k"]) for document in made) == MOST
    assert all(
        document["_id"].startswith(bundle_id(document["piece"], 7))
        and {piece_of(name) for name in document["user_id"]} == {document["piece"]}
        for document in made
    )


def test_long_names_make_more_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    """No document grows beyond what a database takes."""
    monkeypatch.setattr(bundles, "MOST_TEXT", 20_000)
    made = list(pack((user(f"{n}" * 5_000, calls=1) for n in range(100, 200)), 7))
    assert max(len(encode(document)) for document in made) < 60_000
    assert sum(len(document["k"]) for document in made) == 100

"""When each part is asked for, and what becomes of a part that is withheld."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, cast

import pytest
from pymongo.errors import OperationFailure

from affidavit.errors import StoreRefused, StoreUnavailable
from affidavit.monitor.reading import Looker, Unknown
from affidavit.store.memory import MemoryStore
from affidavit.store.memory_sealing import MemorySeals
from affidavit.store.mongo.monitoring import _withheld
from affidavit.store.monitoring import Day, Effort, MonitorStore, Server, Work

pytestmark = pytest.mark.requirement("R25")

NOW = datetime(2026, 11, 23, tzinfo=UTC)


class Told:
    """A store that answers at once, counts what it is asked, and withholds what it is told to."""

    log = "wadm.llm_audit"
    apart = False

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.withheld: dict[str, Exception] = {}

    def __getattr__(self, name: str) -> Any:
        answers: dict[str, Any] = {
            "clock_offset_s": 0.25,
            "beats": [],
            "sizes": [],
            "work": Work(Effort(1, 1, 1), Effort(2, 2, 2)),
            "server": Server(NOW, 1, 9),
            "own_connections": 1,
            "slow_operations": 0,
            "last_day": Day(0, Decimal(0), 0),
            "history": [],
        }

        def answer(*_: Any) -> Any:
            self.asked[name] += 1
            if name in self.withheld:
                raise self.withheld[name]
            return answers[name]

        return answer


def looker(told: Told, clock: list[float]) -> Looker:
    """One whose clock is a list's last number."""
    seals = MemorySeals.beside(MemoryStore("memory:reading"))
    return Looker(cast("MonitorStore", told), seals, now=lambda: NOW, clock_s=lambda: clock[-1])


def test_what_changes_slowly_is_asked_for_less_often() -> None:
    """Ten minutes of readings, each 30 s: sizes each five minutes, heartbeats each time."""
    told, clock = Told(), [0.0]
    looking = looker(told, clock)
    for number in range(20):
        clock.append(30.0 * number)
        looking.take()
    assert told.asked["beats"] == told.asked["work"] == 20
    assert told.asked["sizes"] == told.asked["last_day"] == 2
    assert told.asked["own_connections"] == 5


def test_fresh_asks_for_everything() -> None:
    """For a command that runs once."""
    told = Told()
    looking = looker(told, [0.0])
    for _ in range(2):
        looking.take(fresh=True)
    assert told.asked["sizes"] == 2


def test_a_part_that_is_withheld_is_unknown_and_not_asked_for_at_each_reading() -> None:
    """A right that is missing now is not there a second later; other parts are read."""
    told, clock = Told(), [0.0]
    told.withheld["work"] = StoreRefused("The server refuses to tell.")
    looking = looker(told, clock)
    for number in range(11):
        clock.append(30.0 * number)
        parts = looking.take().parts()
    assert parts["work"] == Unknown("The server refuses to tell.", refused=True)
    assert not isinstance(parts["server"], Unknown)
    assert told.asked["work"] == 2


def test_a_server_that_is_away_is_asked_one_thing_only() -> None:
    """Each question would wait for it in vain; and at the next reading it is asked again."""
    told = Told()
    told.withheld["clock_offset_s"] = StoreUnavailable("MongoDB does not answer.")
    looking = looker(told, [0.0])
    readings = looking.take()
    assert not readings.answered
    assert {part.why for part in readings.parts().values()} == {"MongoDB does not answer."}
    assert set(told.asked) == {"clock_offset_s"}
    told.withheld.clear()
    assert looking.take().answered


@pytest.mark.parametrize(
    ("code", "said"), [(13, "this user has no right"), (59, "to anybody"), (8000, "to anybody")]
)
def test_it_is_said_whether_a_role_would_help(code: int, said: str) -> None:
    """Codes 59 and 8000 are those of services that have no such command, for nobody."""
    with (
        pytest.raises(StoreRefused, match=said),
        _withheld("tell the time it spends by collection (`top`)", "Ask for clusterMonitor."),
    ):
        raise OperationFailure("no", code)

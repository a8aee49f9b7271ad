"""The metrics as OpenTelemetry instruments, from the same list.

Nothing of OpenTelemetry is imported before :func:`register` is called, and it is no dependency:
whoever calls it has a meter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from affidavit.errors import MissingExtra
from affidavit.monitor.metrics import ALL, Kind, Metric
from affidavit.monitor.sample import Sample

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, Meter, Observation

_UNITS: Final = {
    "bytes": "By",
    "seconds": "s",
    "milliseconds": "ms",
    "percent": "%",
}
"""Units as OpenTelemetry writes them (UCUM); others are counts of what the unit names."""


def register(meter: Meter, newest: Callable[[], Sample | None], log: str) -> list[Any]:
    """Make an observable instrument for each metric, and give them.

    ``newest`` gives the newest sample, or None while there is none; it is asked at each collection
    and must answer at once. What is unknown in it is not observed. ``log`` becomes an attribute.
    Raises MissingExtra where OpenTelemetry is not installed.
    """
    try:
        from opentelemetry.metrics import Observation
    except ImportError as error:
        msg = "OpenTelemetry is not installed: pip install opentelemetry-api."
        raise MissingExtra(msg) from error

    def observer(metric: Metric) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(_: CallbackOptions) -> list[Observation]:
            sample = newest()
            values = () if sample is None else sample.values.get(metric.name, ())
            return [
                Observation(value.value, {"log": log, **dict(value.labels)}) for value in values
            ]

        return observe

    made = {
        Kind.GAUGE: meter.create_observable_gauge,
        Kind.COUNTER: meter.create_observable_counter,
    }
    return [
        made[metric.kind](
            metric.name,
            callbacks=[observer(metric)],
            unit=_UNITS.get(metric.unit, f"{{{metric.unit.partition(' (')[0]}}}"),
            description=metric.help,
        )
        for metric in ALL
    ]

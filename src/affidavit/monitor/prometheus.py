"""A sample in Prometheus' text format, which `promtool check metrics` reads."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final, Literal

from affidavit.monitor.metrics import ALL, Metric
from affidavit.monitor.sample import Labels, Sample

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

Names = Literal["given", "base"]
"""``given``: the five metrics by the names they were asked for by. ``base``: two of them in bytes,
as Prometheus' own style has it."""


def render(sample: Sample, log: str, names: Names = "given") -> str:
    """Write a sample; each value carries the log's name as a label.

    A metric without a value has none here; the reason stands in a comment.
    """
    return "".join(f"{line}\n" for metric in ALL for line in _lines(metric, sample, log, names))


def shown(metric: Metric, names: Names) -> tuple[str, float]:
    """Give a metric's name in this spelling, and what to multiply its values by."""
    return metric.base if names == "base" and metric.base is not None else (metric.name, 1.0)


def _lines(metric: Metric, sample: Sample, log: str, names: Names) -> Iterator[str]:
    name, factor = shown(metric, names)
    found = sample.values.get(metric.name, ())
    if not found:
        yield f"# {name} is unknown: {_one_line(sample.why(metric.name))}"
        return
    yield f"# HELP {name} {_help(metric.help)}"
    yield f"# TYPE {name} {metric.kind.value}"
    for value in found:
        yield f"{name}{_labels((('log', log), *value.labels))} {_number(value.value * factor)}"


def _labels(labels: Labels) -> str:
    return "{" + ",".join(f'{name}="{_quoted(value)}"' for name, value in labels) + "}"


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _help(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)

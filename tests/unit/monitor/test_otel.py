"""Metrics as OpenTelemetry's SDK collects them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from affidavit.monitor.metrics import ALL, WRITES
from affidavit.monitor.otel import register
from affidavit.monitor.sample import Sample

pytestmark = pytest.mark.requirement("R25")


def collected(newest: Sample | None) -> dict[str, Any]:
    """The instruments by name, as a reader of the SDK sees them."""
    reader = InMemoryMetricReader()
    provider = MeterProvider(metric_readers=[reader], shutdown_on_exit=False)
    made = register(provider.get_meter("affidavit"), lambda: newest, "wadm.llm_audit")
    assert len(made) == len(ALL)
    data = reader.get_metrics_data()
    provider.shutdown()
    if data is None:
        return {}
    return {m.name: m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics}


def test_values_and_labels_are_observed() -> None:
    """Gauges as they are, counters as sums, by writer."""
    newest = Sample(datetime(2026, 11, 23, tzinfo=UTC))
    newest.put(WRITES, 12)
    newest.put("affidavit_records_stored_total", 5, writer="w1", service="shop")
    found = collected(newest)
    [point] = found[WRITES].data.data_points
    assert (point.value, dict(point.attributes)) == (12, {"log": "wadm.llm_audit"})
    counter = found["affidavit_records_stored_total"]
    assert counter.data.is_monotonic
    assert counter.data.data_points[0].attributes["writer"] == "w1"
    assert counter.unit == "{records}"


def test_what_is_unknown_is_not_observed() -> None:
    """No zero stands for it."""
    assert collected(Sample(datetime(2026, 11, 23, tzinfo=UTC))) == {}
    assert collected(None) == {}

"""Time series: values over time under a name, written and read back without a declaration in between."""

from __future__ import annotations

from trivet.features.series.store import SeriesInfo, TimeSeries, Written

__all__ = ["SeriesInfo", "TimeSeries", "Written"]

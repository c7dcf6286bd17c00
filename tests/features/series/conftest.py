from __future__ import annotations

import pytest

from trivet.features.series import TimeSeries
from trivet.features.tables import EventTables


@pytest.fixture
def context(filed):
    return filed


@pytest.fixture
def series(context):
    return TimeSeries(context, EventTables(context))

from __future__ import annotations

import pytest

from tests.features.tables.test_events import NOON, opened
from trivet.clock import FixedClock
from trivet.features.series import TimeSeries
from trivet.features.tables import EventTables


@pytest.fixture
def clock():
    return FixedClock(NOON)


@pytest.fixture
def context(tmp_path, clock):
    made = opened(tmp_path, clock)
    yield made
    made.ledger.close()


@pytest.fixture
def series(context):
    return TimeSeries(context, EventTables(context))

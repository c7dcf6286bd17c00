from __future__ import annotations

import pytest

from trivet.features.tables import EventTables


@pytest.fixture
def context(filed):
    return filed


@pytest.fixture
def tables(context):
    return EventTables(context)

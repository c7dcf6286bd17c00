"""What is told of a column that does not exist is refused: the one that was meant would be known too early."""

from __future__ import annotations

import polars as pl
import pytest

from trivet.errors import NotFound
from trivet.features import Entity, FeatureView, Source, latest
from trivet.features.sources import read, snapshot_of
from trivet.features.training_set import training_set

VISITS = pl.DataFrame(
    {
        "customer": [7],
        "came": ["2026-01-01T10:00Z"],
        "left": ["2026-01-01T11:15Z"],
        "spent": [20.0],
    }
)


@pytest.mark.parametrize(
    "told",
    [
        {"column_times": {"spnt": "left"}},
        {"personal": {"spnt": "do not serve"}},
        {"personal": {"spnt": "do not store"}},
    ],
)
def test_a_misspelt_column_is_named_with_the_nearest(context, told):
    source = Source("visits", VISITS, event_time="came", **told)
    with pytest.raises(NotFound, match=r"no column in source 'visits' called 'spnt'\. Did you mean 'spent'"):
        snapshot_of(source)
    view = FeatureView("habits", entity=Entity("customer"), source=source, features={"last": latest("spent")})
    with pytest.raises(NotFound, match="'spnt'"):
        training_set(context, VISITS.select("customer", t="came"), [view], time="t")


def test_so_it_is_of_the_rows_of_a_query():
    visits = Source("visits", VISITS, event_time="came")
    query = Source(
        "late", sql="SELECT * FROM visits", inputs=[visits], event_time="came", column_times={"spnt": "left"}
    )
    with pytest.raises(NotFound, match="no column in source 'late' called 'spnt'"):
        read(query, ["spent"], {"visits": VISITS})

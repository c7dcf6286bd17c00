"""Online stores filled by a cluster that is a loop in this process: the bytes are those of one process."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from tests.features.engines.test_spread import Loop
from trivet.errors import Invalid
from trivet.features import Entity, FeatureView, Source, count, latest, mean
from trivet.features.engines import filling
from trivet.features.materialize import Materializer
from trivet.features.online.memory import MemoryStore

NOON = datetime(2013, 1, 1, 12, tzinfo=UTC)
PLANE, ROUTE = Entity("plane", key="tail"), Entity("route", keys=("tail", "dest"))
FLIGHTS = Source("flights", event_time="dep", personal={"pilot": "do not serve"})
ROWS = pl.DataFrame(
    {
        "tail": [f"N{number % 70}" for number in range(400)],
        "dest": [f"D{number % 3}" for number in range(400)],
        "dep": [NOON + timedelta(minutes=number) for number in range(400)],
        "delay": [number / 7 for number in range(400)],
        "pilot": ["Zoë"] * 400,
    }
)
VIEWS = [
    FeatureView("planes", entity=PLANE, source=FLIGHTS, features={"m": mean("delay", "2h"), "pilot": latest("pilot")}),
    FeatureView("routes", entity=ROUTE, source=FLIGHTS, features={"n": count("1h", where="delay > 9")}),
    FeatureView("dests", entity=Entity("dest"), source=Source("others", event_time="dep"), features=["delay"]),
]
DATA = {"flights": ROWS, "others": ROWS.head(100)}


class Remembering(MemoryStore):
    """Remembers every call, and what is there after all of them; fails at one of them."""

    def __init__(self, fails_at=0):
        super().__init__()
        self.calls, self.there, self._fails_at = [], {}, fails_at

    def put(self, batches):
        self.calls.append(batches)
        if len(self.calls) == self._fails_at:
            raise OSError("no space left")
        self.there |= {(batch.view, key): row for batch in batches for key, row in batch.rows}
        return super().put(batches)


def fill(store, *hours, engine=None, data=DATA):
    materializer = Materializer(VIEWS, data, store, engine)
    return [materializer.advance(NOON + timedelta(hours=hour)) for hour in hours]


def test_the_bytes_are_those_of_one_process():
    there, here = Remembering(), Remembering()
    for hours in ((1, 1, 2), (2, 5, 4, 9)):
        assert fill(there, *hours, engine=Loop()) == fill(here, *hours)
    assert there.there == here.there
    assert not any("Zoë".encode() in row for row in there.there.values())


def test_a_changed_past_is_worked_out_again_where_it_changed():
    there, here = Remembering(), Remembering()
    changed = DATA | {"others": ROWS.head(100).with_columns(delay=-pl.col("delay"))}
    for store, engine in ((there, Loop()), (here, None)):
        fill(store, 7, engine=engine)
        assert fill(store, 8, engine=engine, data=changed)[0]["dests"] == 3
    assert there.there == here.there


def test_what_is_large_is_put_in_pieces_and_the_watermarks_with_the_last(monkeypatch):
    monkeypatch.setattr(filling, "_PUT", 500)
    store, here = Remembering(), Remembering()
    assert fill(store, 5, engine=Loop()) == fill(here, 5)
    assert len(store.calls) > 3
    assert {batch.watermark for call in store.calls[:-1] for batch in call} == {None}
    assert [batch.view for batch in store.calls[-1] if batch.watermark] == [view.online_name for view in VIEWS]
    assert store.there == here.there


def test_what_an_interruption_leaves_the_next_run_puts_right(monkeypatch):
    monkeypatch.setattr(filling, "_PUT", 500)
    store, here = Remembering(fails_at=3), Remembering()
    with pytest.raises(OSError, match="no space"):
        fill(store, 5, engine=Loop())
    assert store.there
    assert [store.watermark(view.online_name) for view in VIEWS] == [None] * 3
    fill(store, 6, engine=Loop())
    fill(here, 6)
    assert store.there == here.there


def test_nothing_is_put_where_a_part_fails():
    times = ROWS["dep"].dt.to_string("iso:strict").to_list()
    bad = ROWS.with_columns(dep=pl.Series([*times[:-1], "2013-01-01T09:00"]))
    store = Remembering()
    with pytest.raises(Invalid, match="times without a zone"):
        fill(store, 5, engine=Loop(), data=DATA | {"flights": bad})
    assert store.calls == []


def test_what_needs_no_rows_to_be_wrong_is_refused_at_once():
    view = FeatureView("times", entity=PLANE, source=FLIGHTS, features=["dep"])
    with pytest.raises(Invalid, match="'times:dep' has type Datetime"):
        Materializer([view], DATA, MemoryStore(), Loop())

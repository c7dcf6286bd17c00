from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trivet.errors import Invalid, NotFound
from trivet.features import Entity, FeatureView, Source, count, mean, nunique, resolve, select_all
from trivet.features import max as maximum
from trivet.features import sum as total
from trivet.features.engines.local import LocalEngine
from trivet.features.logs import with_logs
from trivet.features.pieces import Parts, as_bytes, join_in_pieces, needed
from trivet.features.sources import snapshots_of
from trivet.features.training_set import build, training_set
from trivet.pipelines import values
from trivet.pipelines.values.table_digest import parquet_digest, table_digest

NOON = datetime(2013, 1, 1, 12, tzinfo=UTC)
PLANE, ROUTE = Entity("plane", key="tail"), Entity("route", keys=("tail", "dest"))


def tables(rows, seed=0):
    random = np.random.default_rng(seed)

    def times(n):
        return [NOON + timedelta(minutes=int(m)) for m in random.integers(0, 500, n)]

    def some(values):
        return [None if hide else value for value, hide in zip(values, random.random(len(values)) < 0.1, strict=True)]

    flights = pl.DataFrame(
        {
            "tail": some(random.choice(list("ABCDEF"), rows).tolist()),
            "dest": some(random.choice(["LGA", "JFK"], rows).tolist()),
            "dep": some(times(rows)),
            "delay": some(random.normal(size=rows).tolist()),
            "carrier": some(random.choice(["AA", "UA", "DL"], rows).tolist()),
            "codes": random.integers(0, 9, (rows, 2)).tolist(),
        },
        {
            "tail": pl.String,
            "dest": pl.String,
            "dep": pl.Datetime("us", "UTC"),
            "delay": pl.Float64,
            "carrier": pl.String,
            "codes": pl.List(pl.Int64),
        },
    )
    planes = pl.DataFrame({"tail": ["A", "B", "B", None], "seats": [10, 20, 30, 40]})
    spine = pl.DataFrame(
        {
            "label": random.integers(0, 2, rows // 2),
            "tail": some(random.choice(list("ABCDXY"), rows // 2).tolist()),
            "dest": some(random.choice(["LGA", "JFK", "EWR"], rows // 2).tolist()),
            "t": some(times(rows // 2)),
        },
        {"label": pl.Int64, "tail": pl.String, "dest": pl.String, "t": pl.Datetime("us", "UTC")},
    )
    return flights, planes, spine


def views(flights="flights.parquet", planes="planes.csv"):
    source = Source("flights", flights, event_time="dep", known_after="7m")
    features = {
        "n": count("1h"),
        "delay": mean("delay", "2h"),
        "all": total("delay", "8h"),
        "c": nunique("carrier", "3h"),
    }
    busy = "SELECT tail, date_trunc('hour', dep) AS hour, count(*) AS many FROM flights GROUP BY ALL"
    query = Source("busy", sql=busy, inputs=[source], event_time="hour", known_after="1h")
    plane = FeatureView("plane", entity=PLANE, source=source, features=features, ttl="1h")
    logged = Source("logged", sql="SELECT tail, dep, 2 * n AS twice FROM plane", inputs=[plane], event_time="dep")
    return [
        plane,
        FeatureView("route", entity=ROUTE, source=source, features=["carrier", "codes"]),
        FeatureView("planes", entity=PLANE, source=Source("planes", planes), features=["seats"]),
        FeatureView("busy", entity=PLANE, source=query, features=["many"]),
        FeatureView("most", entity=PLANE, source=plane, features={"most": maximum("n", "4h")}),
        FeatureView("twice", entity=PLANE, source=logged, features=["twice"]),
    ]


def written(folder, flights, planes, spine):
    flights.write_parquet(folder / "flights.parquet", row_group_size=50)
    planes.write_csv(folder / "planes.csv")
    spine.write_parquet(folder / "spine.parquet", row_group_size=70)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 60), st.integers(0, 9), st.integers(1, 9), st.integers(1, 40), st.booleans())
def test_pieces_answer_the_same_bits_and_counts(tmp_path_factory, rows, seed, keys, at_a_time, strict):
    folder = tmp_path_factory.mktemp("pieces")
    written(folder, *tables(rows, seed))
    found = views()
    selected, data = resolve(found), snapshots_of([view.source for view in found], folder)
    spine = pl.scan_parquet(folder / "spine.parquet")
    whole = LocalEngine().point_in_time(spine.collect(), selected.read, data, time="t", strict=strict)
    parts = Parts(keys, at_a_time)
    stored, report = join_in_pieces(LocalEngine(), spine, selected, data, time="t", strict=strict, parts=parts)
    assert stored.scan().collect().equals(whole.frame)
    assert stored.scan().collect_schema() == whole.frame.schema
    assert parquet_digest(stored.path, whole.frame.to_arrow().column) == table_digest(whole.frame.to_arrow())
    assert report == whole.report
    folder = stored.path.parent
    del stored
    assert not folder.exists()


def test_a_limit_of_memory_changes_nothing_but_the_way(context, monkeypatch):
    written(context.root, *tables(300))
    made = training_set(context, context.root / "spine.parquet", views(), time="t", label="label")
    monkeypatch.setattr("trivet.features.pieces._SMALLEST", 4096)
    pieces = training_set(context, "spine.parquet", views(), time="t", label="label", memory="1KB")
    assert made.stored is None
    assert pieces.stored is not None
    assert pieces.artifact.digest == made.artifact.digest
    lazy = training_set(
        context, pl.scan_parquet(context.root / "spine.parquet"), views(), time="t", memory=1, label="label"
    )
    assert lazy.artifact.digest == made.artifact.digest
    loaded = {slot: values.load(context.ledger.artifact(d), context.blobs) for slot, d in pieces.run.inputs.items()}
    again = build(
        loaded["spine"],
        {name: loaded[f"sources.{name}"] for name in ("flights", "planes")},
        {name: loaded[f"views.{name}"] for name in ("plane", "route", "planes", "busy", "most", "twice")},
        **pieces.run.parameters,
    )
    assert again.to_polars().equals(made.to_polars())


def test_what_is_in_a_file_is_read_a_batch_at_a_time(context, monkeypatch):
    written(context.root, *tables(300))
    views_of_values = [view for view in views() if view.name != "route"]
    made = training_set(context, "spine.parquet", views_of_values, time="t", label="label")
    monkeypatch.setattr("trivet.features.training_set._LARGE", 0)
    large = values.load(made.artifact, context.blobs)
    assert large.stored is not None
    assert (len(large), repr(large)) == (150, repr(made))
    batches = list(large.to_batches(64))
    assert [batch.height for batch in batches] == [64, 64, 22]
    assert pl.concat(batches).equals(made.to_polars())
    assert large.to_lazy().select("n").collect().equals(made.to_polars().select("n"))
    assert large.columns_of_features == made.columns_of_features
    moment = NOON + timedelta(hours=4)
    assert large.before(moment).to_polars().equals(made.before(moment).to_polars())
    with pytest.raises(Invalid, match="positive"):
        large.to_batches(0)


def test_categories_and_nested_values_pass_through_pieces(context, monkeypatch):
    flights, planes, spine = tables(200)
    spine = spine.with_columns(kind=pl.col("dest").cast(pl.Enum(["EWR", "JFK", "LGA", "none"])))
    written(context.root, flights.with_columns(pl.col("carrier").cast(pl.Categorical)), planes, spine)
    monkeypatch.setattr("trivet.features.pieces._SMALLEST", 4096)
    one, other = (training_set(context, "spine.parquet", views(), time="t", memory=m) for m in (None, 1))
    assert other.stored is not None
    assert other.artifact.digest == one.artifact.digest
    assert other.schema == one.schema


def test_enough_memory_takes_one_piece(tmp_path):
    written(tmp_path, *tables(300))
    found = views()
    data, spine = snapshots_of([view.source for view in found], tmp_path), pl.scan_parquet(tmp_path / "spine.parquet")
    known = with_logs([view.source for view in found], data, LocalEngine().point_in_time)
    assert needed(spine, select_all(found), known, 64 << 30) is None


def test_bad_input_gets_a_sentence(context, tmp_path):
    written(context.root, *tables(40))
    with pytest.raises(Invalid, match="'2 apples' is no size of memory"):
        training_set(context, "spine.parquet", views(), time="t", memory="2 apples")
    selected = resolve(views())
    data = snapshots_of([each.source for each in selected.views], context.root)
    spine = pl.scan_parquet(context.root / "spine.parquet")

    def joined(spine, data=data, time="t"):
        join_in_pieces(LocalEngine(), spine, selected, data, time=time, strict=False, parts=Parts(3, 8))

    with pytest.raises(NotFound, match="column in the spine called 'when'"):
        joined(spine, time="when")
    with pytest.raises(NotFound, match="column in the spine called 'dest'"):
        joined(spine.drop("dest"))
    with pytest.raises(Invalid, match="Key 'tail' is Int64 in the spine and String"):
        joined(spine.with_columns(tail=pl.lit(1)))
    with pytest.raises(NotFound, match="column in source 'flights' called 'carrier'"):
        joined(spine, {**data, "flights": tables(9)[0].drop("carrier")})


def test_sizes_of_memory():
    assert as_bytes("2 gb") == 2 * 10**9
    for size in ("", "0", "-1GB", "1.5.2MB", None, True):
        with pytest.raises(Invalid, match="no size"):
            as_bytes(size)

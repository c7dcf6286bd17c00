"""Questions that are asked to Spark and answered here, and what comes of them compared bit for bit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import lmdb
import numpy as np
import polars as pl

import trivet as tv
from trivet.features import Entity, FeatureView, Source, select_all
from trivet.features.engines.local import LocalEngine
from trivet.features.materialize import Materializer
from trivet.features.online.lmdb import LmdbStore
from trivet.features.sources import snapshots_of

NOON = datetime(2013, 1, 1, 12, tzinfo=UTC)
PLANE, ROUTE = Entity("plane", key="tail", type="string"), Entity("route", keys=("tail", "dest"))
PLANES = pl.DataFrame({"tail": ["A", "B", "B", None], "age": [10, 20, 30, 40]})


def flights(rows=400, seed=0):
    """Rows with types that Spark does not have: categories, unsigned numbers, nanoseconds in a local zone, times of day."""
    random = np.random.default_rng(seed)
    moments = [NOON + timedelta(minutes=int(m)) for m in random.integers(0, 900, rows)]
    return pl.DataFrame(
        {
            "tail": random.choice(list("ABCDEFGH"), rows),
            "dest": random.choice(["LGA", "JFK"], rows),
            "dep": pl.Series(moments, dtype=pl.Datetime("ns", "America/New_York")),
            "delay": random.normal(size=rows),
            "seats": pl.Series(random.integers(0, 2**63, rows), dtype=pl.UInt64),
            "carrier": pl.Series(random.choice(["AA", "UA"], rows).tolist(), dtype=pl.Categorical),
            "clock": pl.Series(moments).dt.time(),
            "legs": random.integers(0, 9, (rows, 2)).tolist(),
        }
    )


def asked(rows=150):
    return flights(rows, seed=1).select(pl.col("dep").alias("t"), "dest", pl.col("tail").cast(pl.String))


def views(data, planes):
    source = Source("flights", data, event_time="dep", known_after="7m")
    plane = FeatureView(
        "plane",
        entity=PLANE,
        source=source,
        ttl="2h",
        features={
            **{name: tv.latest(name) for name in ("delay", "seats", "carrier", "clock", "legs")},
            "mean": tv.mean("delay", ["1h", "4h"], where="carrier = 'AA'"),
            "std": tv.std("delay", "4h"),
        },
    )
    route = FeatureView("route", entity=ROUTE, source=source, features={"n": tv.count("3h"), "of": tv.latest("delay")})
    busy = "SELECT tail, date_trunc('hour', dep::TIMESTAMPTZ) AS hour, count(*) AS many FROM flights GROUP BY ALL"
    query = Source("busy", sql=busy, inputs=[source], event_time="hour", known_after="1h")
    return [
        plane,
        route,
        FeatureView("planes", entity=PLANE, source=Source("planes", planes), features=["age"]),
        FeatureView("busy", entity=PLANE, source=query, features=["many"]),
        FeatureView("log", entity=PLANE, source=inner(source), features={"highest": tv.max("last", "5h")}),
    ]


def served(data, planes):
    """The same views, without what has no online form and with what may not be served."""
    plane, *others = views(data, planes)
    kept = {name: each for name, each in plane.features.items() if name not in ("clock", "legs")}
    secret = Source("flights", data, event_time="dep", known_after="7m", personal={"seats": "do not serve"})
    return [FeatureView("plane", entity=PLANE, source=secret, features=kept, ttl="2h"), *others]


def inner(source):
    return FeatureView("inner", entity=PLANE, source=source, features={"last": tv.latest("delay")})


def check_same(engine, all_views, spine, root=Path()):
    """A training set made by an engine is the one that is made here, in its types and its report too."""
    sources, features = snapshots_of([view.source for view in all_views], root), select_all(all_views)
    there = engine.point_in_time(spine, features, sources, time="t", strict=True)
    here = LocalEngine().point_in_time(spine, features, sources, time="t", strict=True)
    assert there.frame.equals(here.frame, null_equal=True)
    assert there.frame.schema == here.frame.schema
    assert there.report == here.report


def check_filled(engine, all_views, folder, root=Path()):
    """A store filled by an engine, by steps and by data read anew, has the bytes of one that is filled here."""
    for moment in (NOON + timedelta(hours=9), NOON + timedelta(hours=20)):
        sources = snapshots_of([view.source for view in all_views], root)
        assert filled(all_views, sources, folder / "there", moment, engine) == filled(
            all_views, sources, folder / "here", moment
        )
    assert in_store(folder / "there") == in_store(folder / "here")


def filled(all_views, sources, folder, moment, engine=None):
    store = LmdbStore(folder)
    written = Materializer(all_views, sources, store, engine).advance(moment)
    store.close()
    assert any(written.values())
    return written


def in_store(folder):
    with lmdb.open(str(folder), readonly=True) as environment, environment.begin() as transaction:
        return dict(transaction.cursor())

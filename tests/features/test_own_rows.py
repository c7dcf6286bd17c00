"""Own rows are found in sets whose time is none of the source's, against a count by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from trivet.features import Entity, FeatureView, Source, count, latest, mean, on_demand
from trivet.features.leaks import find_leaks
from trivet.features.own_rows import AT, OWN, ROW, Ways, comparable
from trivet.features.training_set import build

START = datetime(2013, 3, 1, tzinfo=UTC)
PLANE, PORT = Entity("plane", key="tail"), Entity("port", key="port")


def flights(rows=300, seed=3):
    random = np.random.default_rng(seed)
    planned = [START + timedelta(minutes=5 * int(m)) for m in np.sort(random.integers(0, 8_000, rows))]
    delay = random.integers(-20, 120, rows)
    left = [at + timedelta(minutes=max(int(d), -10)) for at, d in zip(planned, delay, strict=True)]
    return pl.DataFrame(
        {
            "id": random.permutation(rows).astype(str),
            "number": random.integers(1, 60, rows).astype(np.int32),
            "tail": random.choice(list("ABCDEFGH"), rows),
            "port": random.choice(["JFK", "LGA"], rows),
            "planned": planned,
            "left": left,
            "landed": [
                at + timedelta(minutes=int(m)) for at, m in zip(left, random.integers(60, 300, rows), strict=True)
            ],
            "delay": delay,
        }
    )


def asked(data, *columns, minutes=-60):
    """The flights, a fixed time before or after they should leave; that is no time of the source."""
    spine = data.select(
        "tail", "port", *columns, t=pl.col("planned") + timedelta(minutes=minutes), late=pl.col("delay") > 30
    )
    return spine.sample(fraction=1, shuffle=True, seed=1)


def views(**declared):
    source = Source("flights", event_time="left", **declared)
    return {
        "p": FeatureView(
            "p", entity=PLANE, source=source, features={"last": latest("delay"), "mean": mean("delay", "1d")}
        ),
        "q": FeatureView("q", entity=PORT, source=source, features={"slow": count("2h", where="delay > 30")}),
    }


def found(data, spine, chosen, names=("p:*", "q:*")):
    train = build(spine, {"flights": data}, chosen, features=names, time="t", label="late")
    report = find_leaks(train, {"flights": data}, chosen, rows=20)
    assert report["wrong"] == 0
    return {own["feature"]: (own["rows"], own["of"]) for own in report["own_values"]}


def by_hand(data, known, minutes, window=None):
    """How many flights see their own delay."""
    seen = 0
    for row in data.iter_rows(named=True):
        t = row["planned"] + timedelta(minutes=minutes)
        inside = row["left"] <= t if window is None else t - window <= row["left"] < t
        seen += row[known] <= t and inside
    return seen


@pytest.mark.parametrize("columns", [("id",), ("number",), ()], ids=["id", "number", "keys and times"])
def test_a_set_whose_time_is_none_of_the_sources_is_recognised(columns):
    data = flights()
    open_views = views()
    leaks = found(data, asked(data, *columns, minutes=45), open_views)
    assert set(leaks) == {"p:last", "p:mean", "q:slow"}
    seen, of = leaks["p:mean"]
    assert of >= 0.9 * len(data)
    expected = by_hand(data, "left", 45, timedelta(days=1))
    assert seen == expected if of == len(data) else expected - (len(data) - of) <= seen <= expected
    assert leaks["q:slow"][0] <= by_hand(data, "left", 45, timedelta(hours=2))


@pytest.mark.parametrize("columns", [("id",), ("number",), ()], ids=["id", "number", "keys and times"])
def test_what_is_declared_or_not_there_yet_raises_no_alarm(columns):
    data = flights()
    assert by_hand(data, "left", -60) == 0
    assert found(data, asked(data, *columns), views()) == {}  # an hour before, nothing of the flight is known
    declared = views(column_times={"delay": "landed"})
    assert by_hand(data, "landed", 45) == 0
    assert found(data, asked(data, *columns, minutes=45), declared) == {}


def test_numbers_of_rows_here_and_there_are_no_match():
    """Both tables number their rows, each its own way; keys and times tell the truth."""
    data = flights()
    spine = asked(data, minutes=45).with_row_index("n")
    leaks = found(data.with_row_index("n"), spine, views())
    assert leaks["p:mean"][0] >= 0.9 * by_hand(data, "left", 45, timedelta(days=1))


def test_labels_of_other_tables_raise_no_alarm():
    data = flights()
    noise = np.random.default_rng(0).integers(0, 2, len(data)).astype(bool)
    spine = asked(data, "id", minutes=45).with_columns(late=pl.Series(noise))
    assert found(data, spine, views()) == {}


def test_features_on_demand_are_worked_out_again_and_their_inputs_looked_through():
    data = flights()
    chosen = views()

    @on_demand(inputs=["p:mean", "q:slow"], request={"number": "int"})
    def load(mean, slow, number):
        return {"per_number": mean / number, "many": slow > 1}

    chosen["load"] = load
    spine = asked(data, "id", "number", minutes=45)
    train = build(spine, {"flights": data}, chosen, features=["load:*"], time="t", label="late")
    report = find_leaks(train, {"flights": data}, chosen, rows=60)
    assert (report["wrong"], report["cells"]) == (0, 60 * 2)
    assert [own["feature"] for own in report["own_values"]] == ["p:mean", "q:slow"]
    table = train.to_polars()
    place = table["per_number"].is_not_null().arg_true()[-1]
    train._table = table.with_columns(
        per_number=pl.when(pl.int_range(pl.len()) == place).then(1e9).otherwise(pl.col("per_number"))
    )
    report = find_leaks(train, {"flights": data}, chosen, rows=300)
    assert [(each["feature"], each["row"]) for each in report["differences"]] == [("load:per_number", place)]


def test_views_of_views_are_checked_like_others():
    data = flights()
    inner = views()["p"]
    outer = FeatureView("o", entity=PLANE, source=inner, features={"top": latest("mean")})
    train = build(asked(data, "id"), {"flights": data}, {"o": outer}, features=["o:*"], time="t", label="late")
    report = find_leaks(train, {"flights": data}, {"o": outer}, rows=40)
    assert (report["wrong"], report["own_values"]) == (0, [])


def test_pairs_are_one_to_one_or_none():
    spine = pl.DataFrame({OWN: [0, 1, 2], AT: [5, 6, 7], "k": ["a", "b", "b"], "x": [1, 2, 3]})
    rows = pl.DataFrame({ROW: [0, 1, 2, 3], "k": ["a", "b", "b", None], "x": [1, 2, 2, 3], "when": [5, 6, 6, 7]})
    ways = [pairs.rows() for pairs in Ways(spine, rows, ["k"], ["when"])]
    assert ways == [[(0, 0)]]  # two rows are like that of "b", and none has its key at 7


def test_columns_of_like_types_are_comparable():
    whole = pl.Series([1], dtype=pl.UInt8), pl.Series(["a"], dtype=pl.Categorical), pl.Series([1.5])
    assert [comparable(each).dtype for each in whole] == [pl.Int64, pl.String, pl.Float64]
    zoned = pl.Series([START]).dt.convert_time_zone("America/New_York").dt.cast_time_unit("ns")
    assert comparable(zoned).dtype == pl.Datetime("us", "UTC")

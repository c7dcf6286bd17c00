"""What a project does with definitions and the online store: attempts, views of the same feature, what cannot be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

import trivet as tv
from trivet.errors import Invalid, NotFound, Refused

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
CITY = tv.Entity("city")


def reports(name, temp, **columns):
    rows = {"city": ["Graz", "Linz"], "at": [NOON, NOON], "temp": [temp, temp + 1.0], **columns}
    return tv.Source(name, pl.DataFrame(rows), event_time="at")


def view(name, temp=3.0, features=("temp",), **columns):
    return tv.FeatureView(name, entity=CITY, source=reports(f"{name}_reports", temp, **columns), features=features)


SPINE = pl.DataFrame({"city": ["Graz"], "t": [NOON + timedelta(hours=1)]})


def test_features_of_one_name_are_filled_read_and_framed_together(tmp_path):
    with tv.open(tmp_path) as project:
        project.define(view("a", 3.0), view("b", 5.0))
        assert project.materialize(until=NOON) == {"a": 2, "b": 2}
        [vector] = project.online_features(["a:temp", "b:*"], {"city": "Graz"}, at=NOON)
        assert vector.values == {"a:temp": 3.0, "b:temp": 5.0}
        frame = project.online_frame(["a", "b"], SPINE.select("city"), at=NOON, full_names=True)
        assert frame.to_dicts() == [{"city": "Graz", "a__temp": 3.0, "b__temp": 5.0}]
        with pytest.raises(Invalid, match="full_names=True"):
            project.online_frame(["a", "b"], SPINE.select("city"), at=NOON)


def test_one_view_that_cannot_be_filled_holds_none_of_the_others_back(tmp_path):
    with tv.open(tmp_path) as project:
        days = [NOON.date(), NOON.date()]
        project.define(view("dated", features=["day"], day=days), view("good"))
        with pytest.raises(Invalid, match=r"(?s)1 of 2 views are not materialized:.*dated.*Up to date: good\."):
            project.materialize(until=NOON)
        assert project.online_features("good:temp", {"city": "Graz"}, at=NOON)[0].values == {"good:temp": 3.0}
        project.define(tv.Expectations(view("good"), [tv.expect_rows(at_least=5)]))
        with pytest.raises(Refused):  # alone, its own sentence
            project.materialize("good", until=NOON + timedelta(hours=1))


def test_the_future_is_for_simulations(tmp_path):
    with tv.open(tmp_path) as project:
        project.define(view("a"))
        with pytest.raises(Invalid, match="is in the future"):
            project.materialize(until="2999-01-01T00:00Z")
        project.materializer("a").advance(datetime(2999, 1, 1, tzinfo=UTC))
        with pytest.raises(Invalid, match="as of 2999"):
            project.online_features("a", {"city": "Graz"}, at=NOON)
        assert project.materialize(afresh=True, until=NOON) == {"a": 2}
        assert project.online_features("a", {"city": "Graz"}, at=NOON)[0].values == {"a:temp": 3.0}


def test_a_batch_of_requests_finds_a_function_that_mixes_rows(tmp_path):
    @tv.on_demand(request={"x": "float"})
    def centred(x):
        return {"around": x - np.nanmax(x, initial=0.0)}

    with tv.open(tmp_path) as project:
        project.define(centred)
        with pytest.raises(Invalid, match="the same row alone"):
            project.online_features(centred, [{}, {}], request=[{"x": 1.0}, {"x": 2.0}])


def test_a_request_value_that_nothing_asks_for_is_a_slip(tmp_path):
    @tv.on_demand(request={"hour": "int"})
    def clock(hour):
        return {"late": hour > 18}

    with tv.open(tmp_path) as project:
        project.define(clock)
        with pytest.raises(NotFound, match="Did you mean 'hour'"):
            project.online_features(clock, {}, request={"hour": 3, "hours": 4})


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda project: project.training_set(SPINE, view("a"), time="t", strict="no"), "neither True nor False"),
        (lambda project: project.training_set(SPINE, view("a"), time="t", label="t"), "is the time of each row"),
        (lambda project: project.training_set(SPINE, None, time="t"), "names no features"),
        (lambda project: project.define(3), "is no definition"),
        (lambda project: tv.Source("s", "s.csv", event_time="at", column_times={"v": 3}), "names no column"),
        (lambda project: tv.quantile("v", "x", "1d"), "is no share"),
        (
            lambda project: project.spine(view("a"), every="1h", start="2026-02-02T00:00Z", end="2026-02-01T00:00Z"),
            "is not before",
        ),
        (
            lambda project: project.spine(view("a"), every="1s", start="2020-01-01T00:00Z", end="2026-01-01T00:00Z"),
            "longer steps",
        ),
    ],
)
def test_what_makes_no_sense_gets_a_sentence(tmp_path, call, sentence):
    with tv.open(tmp_path) as project, pytest.raises(Invalid, match=sentence):
        call(project)

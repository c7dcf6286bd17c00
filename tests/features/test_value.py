"""One value of a feature made again: as a training set holds it, and as a prediction saw it."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sklearn.tree import DecisionTreeClassifier

import trivet as tv
from tests import airport
from trivet.clock import FixedClock
from trivet.errors import Invalid, NotFound
from trivet.serving.metrics import Metrics
from trivet.serving.predictor import Request


@pytest.fixture
def project(tmp_path: Path) -> Iterator[tv.Project]:
    airport.build(tmp_path, "airport_value")
    with tv.open(tmp_path, clock=FixedClock(airport.NOW)) as opened:
        opened.define(*airport.views())
        yield opened


def test_a_value_of_a_training_set(project: tv.Project) -> None:
    made = project.training_set(airport.spine(), ["congestion:*", "weather:*"], time="t", label="late")
    row = made.to_polars().drop_nulls().row(-1, named=True)
    found = project.reproduce(
        "congestion:mean_delay", entity={"airport": row["airport"]}, at=row["t"], environment="current"
    )
    assert (found.level, found.run.kind, found.run.id) == ("bytes", "feature_value", made.run.id)
    assert project.load(found.outputs["result"].recorded) == row["mean_delay"]
    assert project.reproduce("weather:wind", entity={"airport": row["airport"]}, environment="current").ok
    with pytest.raises(NotFound, match="There is no value on record of 'congestion:mean_delay for airport=LAX'"):
        project.reproduce("congestion:mean_delay", entity={"airport": "LAX"})
    with pytest.raises(NotFound, match="No training set has it"):
        project.reproduce("congestion:nothing", entity={"airport": "JFK"})
    with pytest.raises(Invalid, match="Of whom"):
        project.reproduce("congestion:mean_delay", entity={})
    with pytest.raises(Invalid, match="A feature is asked of a prediction"):
        project.reproduce("late@1", feature="weather:wind")


def test_a_value_of_a_strict_training_set_is_refused(project: tv.Project) -> None:
    project.training_set(airport.spine(), ["weather:*"], time="t", label="late", strict=True)
    with pytest.raises(Invalid, match="is strict"):
        project.reproduce("weather:wind", entity={"airport": "JFK"})


def test_a_value_that_a_prediction_saw(project: tv.Project) -> None:
    columns = ["departures", "mean_delay"]
    made = project.training_set(airport.spine(), ["congestion:*"], time="t", label="late")
    with project.run("late") as run:
        run.model(tv.Model.fit(DecisionTreeClassifier(max_depth=3, random_state=0), made, features=columns), "late")
    moment = airport.NOW - timedelta(days=1)
    project.materialize(until=moment)
    deployment = project.deploy("late", allow_ungated="a test")
    metrics = Metrics()
    log = project._live.log(deployment, metrics)
    try:
        asked: Any = Request({"airport": "JFK"}, {}, moment)
        [one] = project._live.predictor(deployment, log=log, metrics=metrics).predict([asked])
    finally:
        log.close()
    served = project.prediction(one.id)["features"]["congestion:mean_delay"]
    again = project.reproduce(f"prediction:{one.id}", feature="congestion:mean_delay", environment="current")
    assert again.level == "bytes", str(again)
    assert project.load(again.outputs["result"].recorded) == served
    expected = project.training_set(pl.DataFrame({"airport": ["JFK"], "t": [moment]}), ["congestion:*"], time="t")
    assert expected.to_polars()["mean_delay"].item() == served
    with pytest.raises(NotFound, match="There is no feature of the prediction"):
        project.reproduce(f"prediction:{one.id}", feature="weather:wind")

"""A small project with a bit of everything, made through the public API: what the pages and the commands are tested on.

Runs, a pipeline's file, feature views, a training set, a gated and an ungated model, a deployment with predictions made
by the real predictor and written by the real log, and their labels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from sklearn.ensemble import HistGradientBoostingClassifier

import trivet as tv
from trivet.serving.metrics import Metrics
from trivet.serving.predictor import Request

START = datetime(2026, 1, 5, tzinfo=UTC)
ROWS = 400
HOSTILE = "<script>alert('x')</script> \"&{{7*7}}"
PIPELINE = '''
"""A pipeline of one step."""

import trivet as tv


@tv.task
def double(number: int) -> dict[str, float]:
    """Twice the number."""
    return {"doubled": 2.0 * number}


@tv.pipeline
def twice(number: int = 21) -> dict[str, float]:
    """The whole work."""
    return double(number)
'''


@dataclass
class Small:
    """What is in it."""

    root: Path
    model: str
    training_set: str
    gate_report: str
    deployment: str
    predictions: list[str]
    experiment: str
    second: str


def make(root: Path) -> Small:
    """Make the project in an empty folder."""
    (root / "trivet.toml").write_text("[monitoring]\nmax_silence = '1h'\n")
    (root / "pipeline.py").write_text(PIPELINE)
    readings(root / "readings.parquet")
    with tv.open(root) as project:
        first, second = experiments(project)
        views = define(project, root)
        project.tables.ingest("orders", ORDERS, key="order", event_time="at")
        project.series.write("energy", PRICES)
        project.series.write("energy", PRICES[:1].with_columns(price=pl.lit(35.0)))
        source = views[0].source
        project.define(tv.Expectations(source, [tv.expect("wind").between(-20, 60), tv.expect("place").not_null()]))
        project.check("readings")
        train = project.training_set(spine(0), views, time="t", label="late")
        test = project.training_set(spine(1), views, time="t", label="late")
        model = project.save(tv.Model.fit(HistGradientBoostingClassifier(max_iter=8), train, features=FEATURES))
        report = project.gate(model, test, tv.Gate("delay", CONDITIONS))
        assert report.passed, str(report)
        project.register("delay", model, why=HOSTILE)
        project.promote("delay", 1, why="it passed")
        other = project.save(tv.Model.fit(HistGradientBoostingClassifier(max_iter=2), train, features=FEATURES))
        project.register("ungated", other)
        deployment, predictions = serve(project)
        found = project.gate_report(model.digest)
        assert train.artifact is not None
        assert found is not None
        return Small(
            root, model.digest, train.artifact.digest, found.digest, deployment, predictions, first, second
        )  # fmt: skip


ORDERS = [
    {"order": 1, "at": "2026-01-05T10:00Z", "what": HOSTILE},
    {"order": None, "at": "2026-01-05T11:00Z", "what": "without a key"},
]
PRICES = pl.DataFrame({"time": ["2026-01-05T10:00Z", "2026-01-05T10:40Z"], "price": [31.0, 36.0]})
FEATURES = ["wind_1h", "distance"]
CONDITIONS = [tv.at_least("auc", 0.6), tv.slices("auc", over=["place"], at_least=0.5, min_rows=40)]


def readings(path: Path) -> None:
    hours = [START + timedelta(hours=hour) for hour in range(ROWS)]
    wind = np.random.default_rng(0).normal(10, 4, ROWS)
    place = ["A", "B"] * (ROWS // 2)
    pl.DataFrame({"place": place, "hour": hours, "wind": wind}).write_parquet(path)


def define(project: tv.Project, root: Path) -> list[tv.FeatureView]:
    place = tv.Entity("place", key="place")
    source = tv.Source("readings", root / "readings.parquet", event_time="hour")
    features = {"wind_1h": tv.mean("wind", "3h")}
    view = tv.FeatureView("weather", entity=place, source=source, features=features, description=HOSTILE)
    project.define(view, why="first")
    return [view]


def spine(seed: int) -> pl.DataFrame:
    """Flights that are late in strong wind, mostly."""
    chance = np.random.default_rng(seed)
    hours = chance.integers(3, ROWS, ROWS)
    wind = np.random.default_rng(0).normal(10, 4, ROWS)
    known = (wind[hours - 1] + wind[hours - 1]) / 2
    return pl.DataFrame(
        {
            "place": [["A", "B"][(hour - 1) % 2] for hour in hours],
            "t": [START + timedelta(hours=int(hour)) for hour in hours],
            "distance": chance.normal(500, 100, ROWS),
            "late": (known + chance.normal(0, 2, ROWS) > 10).astype(int),
        }
    )


def experiments(project: tv.Project) -> tuple[str, str]:
    ids = []
    for depth in (3, 4):
        with project.run(f"try {HOSTILE}", tags={"note": HOSTILE}) as run:
            run.params(depth=depth)
            for step in range(4):
                run.log(loss=1.0 / (1 + step), step=step)
            run.log(auc=0.7 + depth / 100, broken=math.nan, endless=math.inf)
        ids.append(run.id)
    return ids[0], ids[1]


def serve(project: tv.Project) -> tuple[str, list[str]]:
    """What `trivet serve` does, without a port: the predictor, its log, and the labels that came."""
    project.materialize(["weather:*"], until=START + timedelta(hours=ROWS))
    deployment = project.deploy("delay@champion", max_silence="1ms")
    live, metrics = project._live, Metrics()
    log = live.log(deployment, metrics)
    predictor = live.predictor(deployment, log=log, metrics=metrics)
    at = START + timedelta(hours=ROWS)
    requests = [
        Request({"place": place}, {"distance": float(distance)}, at=at)
        for place in ("A", "B", "<b>nowhere</b>")
        for distance in range(400, 600, 5)
    ]
    answers = predictor.predict(requests)
    log.close()
    ids = [answer.id for answer in answers]
    labels = np.random.default_rng(3).integers(0, 2, len(ids)).astype(float)
    project.labels(pl.DataFrame({"prediction": ids, "label": labels, "at": [at + timedelta(hours=1)] * len(ids)}))
    return deployment.id, ids

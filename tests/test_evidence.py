"""Proof for all of production at once, and for a script on another machine: Python and command line."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sklearn.tree import DecisionTreeClassifier

import trivet as tv
from tests import airport
from trivet.cli import main
from trivet.clock import FixedClock
from trivet.errors import Invalid
from trivet.project.evidence import reproduce_file
from trivet.serving.metrics import Metrics
from trivet.serving.predictor import Request

TRAIN = """
import polars as pl
import trivet as tv
project = tv.open()
rows = pl.DataFrame({"place": "Graz", "hour": ["2026-01-01T10:00Z", "2026-01-01T11:00Z"], "temp": [1.5, 2.5]})
weather = tv.Source("weather", "data/weather.parquet", event_time="hour", known_after="1h")
view = tv.FeatureView("weather", entity=tv.Entity("place"), source=weather, features=["temp"])
spine = pl.DataFrame({"place": ["Graz"] * 2, "t": ["2026-01-01T11:30Z", "2026-01-01T12:30Z"]})
with project.run("mean") as run:
    train = project.training_set(spine, [view], time="t")
    run.log(mean=train.to_polars()["temp"].mean())
    run.output("rows", train.to_polars())
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[tv.Project]:
    airport.build(tmp_path, "airport_evidence")
    with tv.open(tmp_path, clock=FixedClock(airport.NOW)) as opened:
        opened.define(*airport.views())
        yield opened


def trivet(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words], prog_name="trivet")


def served(project: tv.Project, count: int) -> str:
    made = project.training_set(airport.spine(), ["congestion:*"], time="t", label="late")
    with project.run("late") as run:
        estimator = DecisionTreeClassifier(max_depth=3, random_state=0)
        run.model(tv.Model.fit(estimator, made, features=["departures", "mean_delay"]), "late")
    moment = airport.NOW - timedelta(days=1)
    project.materialize(until=moment)
    deployment = project.deploy("late", allow_ungated="a test")
    metrics = Metrics()
    log = project._live.log(deployment, metrics)
    try:
        asked = [Request({"airport": "JFK"}, {}, moment)] * count
        project._live.predictor(deployment, log=log, metrics=metrics).predict(asked)
    finally:
        log.close()
    return deployment.digest


def test_everything_in_production_is_verified_and_what_failed_is_said(project: tv.Project) -> None:
    model = served(project, 7)
    said: list[str] = []
    report = project.verify_all(environment="current", predictions=2, progress=said.append)
    assert [(one.what.partition(" ")[0], one.outcome) for one in report.found] == [
        ("prediction", "same"), ("prediction", "same"), ("training", "same"), ("model", "failed")
    ]  # fmt: skip
    assert "No function or script on record made" in report.found[-1].said  # it was made in this process, by hand
    assert (report.ok, report.status) == (False, 3)
    assert said[0].startswith("1 of 4: prediction prediction:")
    assert str(report).startswith("4 verified in ")
    run = project.get(f"run:{report.run}")
    assert (run.kind, list(run.inputs.values()), run.metrics["same"]) == ("verification", [model], 3.0)
    assert project.load(run.outputs["report"])["found"][0]["level"] == "bytes"
    late = project.verify_all(environment="current", predictions=2, budget="0s")
    assert ({one.outcome for one in late.found}, late.status) == ({"skipped"}, 3)
    done = trivet("reproduce", "--verify-all", "--budget", "0s", "--json", "--project", project.root)
    assert (done.exit_code, json.loads(done.stdout)["ok"]) == (3, False)


def test_nothing_in_production_is_nothing_to_verify(tmp_path: Path) -> None:
    done = trivet("reproduce", "--verify-all", "--project", tmp_path)
    assert (done.exit_code, done.stdout) == (0, "Nothing is in production, so there was nothing to verify.\n")


@pytest.fixture
def scripted(tmp_path: Path) -> Path:
    import polars as pl

    root = tmp_path / "here"
    (root / "data").mkdir(parents=True)
    (root / ".trivet").mkdir()
    (root / ".gitignore").write_text("data/\n.trivet/\n")
    (root / "train.py").write_text(TRAIN)
    hours = ["2026-01-01T10:00Z", "2026-01-01T11:00Z"]
    pl.DataFrame({"place": "Graz", "hour": hours, "temp": [1.5, 2.5]}).write_parquet(root / "data" / "weather.parquet")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1] / "src")}
    subprocess.run([sys.executable, "train.py"], cwd=root, env=environment, check=True)
    (root / "data" / "weather.parquet").unlink()
    return root


def test_a_script_is_made_again_from_a_file_on_a_machine_that_has_neither_ledger_nor_data(
    scripted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tv.open(scripted) as project:
        run = next(one for one in project.runs(kind="experiment"))
    file = tmp_path / "mean.trivet"
    assert trivet("reproduce", f"run:{run.id}", "--environment", "current", "--project", scripted).exit_code == 0
    done = trivet("export", f"run:{run.id}", "-o", file, "--json", "--project", scripted)
    assert (done.exit_code, json.loads(done.stdout)["bytes"]) == (0, file.stat().st_size)
    scripted.rename(tmp_path / "gone")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    found = reproduce_file(file, environment="current", tolerance=0.0, diagnose=True, progress=lambda _: None)
    assert {slot: one.level for slot, one in found.outputs.items()} == {"rows": "bytes", "metrics": "bytes"}
    assert list(Path().iterdir()) == []
    done = trivet("import", file)
    assert done.exit_code == 0, done.output
    again = trivet("reproduce", f"run:{run.id}", "--environment", "current", "--json")
    assert (again.exit_code, json.loads(again.stdout)["level"]) == (0, "bytes")


def test_the_exit_status_tells_what_could_not_be_made_again(tmp_path: Path) -> None:
    with tv.open(tmp_path) as project:
        saved = project.save({"a": 1})
        with pytest.raises(Invalid, match="No function or script on record made"):
            project.reproduce(saved.id)
    assert trivet("reproduce", saved.id, "--project", tmp_path).exit_code == 3
    assert trivet("reproduce", tmp_path / "none.trivet", "--project", tmp_path).exit_code == 3
    assert trivet("reproduce", "weather:temp", "--entity", "origin", "--project", tmp_path).exit_code == 3
    assert trivet("reproduce", "--project", tmp_path).exit_code == 2
    assert trivet("reproduce", saved.id, "--verify-all", "--project", tmp_path).exit_code == 2

"""The public API from end to end on a small airport: what a user would type, and what comes of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sklearn.tree import DecisionTreeClassifier

import trivet as tv
from tests import airport
from trivet.clock import FixedClock
from trivet.errors import Ambiguous, Conflict, Corrupt, Invalid, NotFound, Refused
from trivet.ledger import Artifact
from trivet.types import as_utc

STEPS = "airport_project"
MOMENTS = [datetime(2026, 3, 16 + day, hour, tzinfo=UTC) for day in range(2) for hour in (0, 5, 13)]
FEATURES = ["congestion:*", "weather:*"]


@dataclass
class Story:
    """What the fixtures made: all tests of this file look at one project."""

    folder: Path
    project: tv.Project
    train: tv.TrainingSet
    done: Any
    report: Any
    answers: list[tuple[dict[str, Any], dict[str, Any]]]
    bad: dict[str, tuple[int, Any]]

    @property
    def model(self) -> Artifact:
        return self.done.artifact("fit")


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("airport")
    airport.build(folder, STEPS)
    with airport.opened(folder) as project:
        train, done = airport.trained(project, STEPS)
        model, test = done.artifact("fit"), done.artifact("split.test")
        project.register("late", model, why="the first one")
        with pytest.raises(Refused, match=r"has no gate report, and nothing ungated is served\. Run a gate"):
            project.deploy("late@1")
        report = project.gate(model, test, airport.GATE)
        project.promote("late", 1, why="passed its gate")
        made = Story(folder, project, train, done, report, [], {})
        serve(made)
        yield made


def request(**changes: Any) -> dict[str, Any]:
    at = MOMENTS[0].isoformat()
    return {"entities": {"airport": "JFK"}, "values": {"distance": 300.0}, "at": at} | changes


BAD: dict[str, Any] = {
    "missing value": request(values={}),
    "extra value": request(values={"distance": 1.0, "colour": "red"}),
    "mistyped value": request(values={"distance": "far"}),
    "NaN": b'{"entities": {"airport": "JFK"}, "values": {"distance": NaN}}',
    "infinity": b'{"entities": {"airport": "JFK"}, "values": {"distance": 1e999}}',
    "missing key": request(entities={}),
    "misspelt key": request(entities={"airprt": "JFK"}),
    "mistyped key": request(entities={"airport": ["JFK"]}),
    "feature sent": request(values={"distance": 1.0, "wind": 3.0}),
    "naive time": request(at="2026-03-16T00:00:00"),
    "no time": request(at="yesterday"),
    "no JSON": b"hello",
    "nothing": b"",
    "null": b"null",
    "no text": b"\xff\xfe",
    "one bad in a list": [request(), request(values={})],
}


def serve(story: Story) -> None:
    """A day of predictions over HTTP: each moment is materialized, then asked about."""
    with airport.serving(story.folder, "late@champion", "--max-silence", "1h") as ready:
        for moment in MOMENTS:
            story.project.materialize(until=moment)
            asked = [request(entities={"airport": name}, at=moment.isoformat()) for name in airport.AIRPORTS]
            status, answers = airport.post(ready["address"], asked)
            assert status == 200, answers
            story.answers += zip(asked, answers, strict=True)
        story.bad |= {name: airport.post(ready["address"], body) for name, body in BAD.items()}
        nulls = request(entities={"airport": None}, values={"distance": None}, at=MOMENTS[-1].isoformat())
        status, answer = airport.post(ready["address"], nulls)
        assert status == 200, answer


# --- the story ---------------------------------------------------------------------------------------------


def test_a_training_set_keeps_the_spine_and_splits_by_time(story: Story) -> None:
    frame = story.train.to_polars()
    assert frame.select(airport.spine().columns).equals(airport.spine())
    past, future = story.train.before(airport.SPLIT), story.train.since(airport.SPLIT)
    assert len(past) + len(future) == len(story.train) > 1000
    assert past.to_polars()["t"].max() < airport.SPLIT <= future.to_polars()["t"].min()
    assert story.project.load(story.train.artifact.id).to_polars().equals(frame)
    assert story.done.value("evaluate")["auc"] > 0.85


def test_the_gate_let_it_in_and_the_deployment_ended_with_its_process(story: Story) -> None:
    assert story.report.verdict == "pass"
    [deployment] = [each for each in story.project.deployments() if each.max_silence == "1h"]
    assert (deployment.name, deployment.version, deployment.gate, deployment.state) == ("late", 1, "pass", "stopped")
    assert deployment.predictions == len(story.answers) + 1
    assert story.project.deployment("late").id == story.project.deployment(deployment.id[:12]).id == deployment.id


def test_every_answer_is_recorded_with_what_the_model_saw(story: Story) -> None:
    for asked, answer in story.answers:
        found = story.project.prediction(answer["id"])
        assert (found["entities"], found["request"]) == (asked["entities"], asked["values"])
        assert found["output"] == {name: answer[name] for name in ("prediction", "probability")}
        assert (found["digest"], as_utc(found["at"])) == (story.model.digest, as_utc(asked["at"]))


def test_what_was_served_is_what_training_would_have_seen(story: Story) -> None:
    """No skew: the recorded features of each prediction are those of a training set for the same keys and times."""
    spine = pl.DataFrame(
        {
            "airport": [asked["entities"]["airport"] for asked, _ in story.answers],
            "t": [as_utc(asked["at"]) for asked, _ in story.answers],
        }
    )
    expected = story.project.training_set(spine, FEATURES, time="t").to_polars()
    served = [story.project.prediction(answer["id"])["features"] for _, answer in story.answers]
    for column, reference in (
        ("mean_delay", "congestion:mean_delay"), ("departures", "congestion:departures"), ("wind", "weather:wind")
    ):  # fmt: skip
        assert [features[reference] for features in served] == expected[column].to_list()
    assert expected["mean_delay"].n_unique() > 6
    online = story.project.online_features(FEATURES, spine.filter(pl.col("t") == MOMENTS[-1]), at=MOMENTS[-1])
    assert [vector.values for vector in online] == served[-3:]


@pytest.mark.parametrize("name", BAD)
def test_a_bad_request_is_a_sentence_and_no_record(story: Story, name: str) -> None:
    status, answer = story.bad[name]
    assert 400 <= status < 500
    assert list(answer) == ["error"]
    assert len(answer["error"]) > 20
    assert "Traceback" not in answer["error"]


def test_null_is_said_and_answered(story: Story) -> None:
    [row] = [row for row in story.project.predictions(limit=1000) if row["entities"] == {"airport": None}]
    assert row["request"] == {"distance": None}
    assert set(row["features"].values()) == {None}


def test_labels_join_and_the_monitor_measures(story: Story) -> None:
    ids = [answer["id"] for _, answer in story.answers]
    received = as_utc(story.project.prediction(ids[-1])["received"])
    labels = pl.DataFrame(
        {"prediction": ids, "label": [float(number % 2) for number in range(len(ids))], "at": [received] * len(ids)}
    )
    assert story.project.labels(labels) == len(ids)
    assert story.project.prediction(ids[1])["label"] == 1.0
    with tv.open(story.folder, clock=FixedClock(received + timedelta(minutes=5))) as project:
        report = project.monitor("late", record=False)
    assert report.predictions == len(story.answers) + 1
    assert report.labels.joined == len(ids)
    assert not [alarm for alarm in report.alarms if alarm.kind == "silence.prediction"]


def test_a_model_that_falls_silent_is_an_alarm_with_its_sentence(story: Story) -> None:
    last = as_utc(story.project.predictions(limit=1)[0]["received"])
    with tv.open(story.folder, clock=FixedClock(last + timedelta(hours=2))) as project:
        report = project.monitor("late")
        assert "silence.prediction" in {alarm.kind for alarm in report.alarms}
        [standing] = [each.alarm for each in project.alarms() if each.alarm.kind == "silence.prediction"]
        assert standing.subject == "late@1"
        assert project.runs(kind="monitor")


def test_lineage_leads_from_a_prediction_to_the_bytes_of_the_source_file(story: Story) -> None:
    found = story.project.prediction(story.answers[0][1]["id"])
    lineage = story.project.lineage(story.project.artifact(f"model:{found['digest']}"))
    sources = [story.project.artifact(digest[:16]) for digest in lineage.artifacts]
    files = {artifact.spec["name"]: artifact for artifact in sources if artifact.kind == "source"}
    assert set(files) == {"flights", "weather"}
    [file] = files["flights"].files.values()
    assert story.project.context.blobs.read(file.digest) == (story.folder / "data/flights.parquet").read_bytes()
    down = story.project.lineage(files["flights"], down=True)
    assert story.model.digest in down.artifacts


@pytest.mark.parametrize("environment", ["current", pytest.param("locked", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("thing", "level"),
    [("training set", "bytes"), ("model", "canonical"), ("gate report", "bytes"), ("prediction", "bytes")],
)
def test_anything_recorded_can_be_made_again(story: Story, thing: str, level: str, environment: str) -> None:
    reports = [run.outputs["result"] for run in story.project.runs(kind="gate")]
    reference = {
        "training set": story.train.artifact.id,
        "model": story.model.id,
        "gate report": f"gate_report:{reports[0]}",
        "prediction": f"prediction:{story.answers[4][1]['id']}",
    }[thing]
    again = story.project.reproduce(reference, environment=environment)
    assert again.ok, str(again)
    assert again.level in ("bytes", level)
    assert again.attempt.kind == "reproduce"


def test_diff_and_why(story: Story) -> None:
    deeper = story.project.execute(
        story.project.find_pipeline(story.folder / f"{STEPS}.py"), flights=story.train, depth=4
    )
    assert {name: run.status for name, run in deeper.steps.items()} == {
        "split": "cached", "fit": "finished", "evaluate": "finished"
    }  # fmt: skip
    assert "depth" in str(story.project.why(f"run:{deeper.steps['fit'].id}"))
    difference = str(story.project.diff(f"run:{story.done.steps['fit'].id}", f"run:{deeper.steps['fit'].id}"))
    assert "depth" in difference
    assert "3" in difference
    assert "4" in difference
    compared = story.project.compare(f"run:{story.done.steps['fit'].id}", f"run:{deeper.steps['fit'].id}")
    assert "depth" in str(compared)


def test_an_override_is_recorded_with_its_reason(story: Story) -> None:
    with story.project.run("by hand") as run:
        estimator = DecisionTreeClassifier(max_depth=2, random_state=0)
        run.log(rows=len(story.train))
        model = run.model(tv.Model.fit(estimator, story.train, features=["distance", "wind"]), "trial")
    with pytest.raises(Refused, match="has no gate report"):
        story.project.deploy("trial@1")
    deployed = story.project.deploy("trial@1", allow_ungated="a trial on one machine", role="shadow")
    assert (deployed.gate, deployed.digest, deployed.role) == ("ungated", model.digest, "shadow")
    assert story.project.deployment("trial").override
    assert story.project.runs(kind="experiment")[0].metrics["rows"] == len(story.train)


# --- bad input ---------------------------------------------------------------------------------------------


REFUSED: dict[str, tuple[Any, type[Exception], str]] = {
    "artifact": (lambda p: p.get("model:123abc"), NotFound, "The newest are: model:"),
    "kind": (lambda p: p.get("modle/late@1"), NotFound, "Did you mean|There"),
    "label": (lambda p: p.get("late@2"), NotFound, "Did you mean 'model/late@1'"),
    "date": (lambda p: p.get("late@2026-10-01"), NotFound, "There (are|is)"),
    "date of a model": (lambda p: p.model("late@2026-10-01"), NotFound, "late@1"),
    "no label": (lambda p: p.model("late@"), NotFound, "late@1"),
    "no reference": (lambda p: p.get("../../etc"), Invalid, "Write KIND:ID"),
    "load a run": (lambda p: p.load("run:" + p.runs(kind="task", name="split")[0].id), Invalid, "2 outputs. Name one"),
    "model": (lambda p: p.deploy("lat@champion"), NotFound, "Did you mean 'late'"),
    "silence": (lambda p: p.deploy("late@1", max_silence="soon"), Invalid, "is not a duration"),
    "role": (lambda p: p.deploy("late@1", role="canari"), NotFound, "Did you mean 'canary'"),
    "deployment": (lambda p: p.monitor("lte"), NotFound, "Did you mean 'late'"),
    "period": (lambda p: p.monitor("late", every="fortnight"), NotFound, "There are: day"),
    "prediction": (lambda p: p.prediction("nope"), NotFound, "There is no prediction 'nope'"),
    "prediction to reproduce": (lambda p: p.reproduce("prediction:nope"), NotFound, "There is no prediction"),
    "environment": (lambda p: p.reproduce("late@1", environment="lockd"), NotFound, "Did you mean 'locked'"),
    "view": (lambda p: p.feature_view("congestoin"), NotFound, "Did you mean 'congestion'"),
    "feature": (lambda p: p.online_features(["congestion:men_delay"], {}), NotFound, "Did you mean 'congestion:mean"),
    "entity": (lambda p: p.online_features("congestion", {"airprt": "JFK"}), Invalid, "lacks the key 'airport'"),
    "no entity": (lambda p: p.online_features("congestion", "JFK"), Invalid, "is no entity"),
    "naive moment": (lambda p: p.materialize(until="2026-03-18T00:00:00"), Invalid, "has no time zone"),
    "training set as model": (lambda p: p.gate(newest(p, "training_set"), "late@1", airport.GATE), Invalid, "is none"),
    "version": (lambda p: p.promote("late", 7), NotFound, "Did you mean 'late@1'"),
    "name": (lambda p: p.register("not/good", "late@1"), Invalid, "cannot name a model"),
    "compare models": (lambda p: p.compare("late@1", "late@1"), Invalid, "is an artifact"),
    "status": (lambda p: p.runs(status="done"), Invalid, "There are: running"),
    "value": (lambda p: p.save(object()), Invalid, "no JSON value"),
    "pipeline file": (lambda p: p.find_pipeline(p.root / "nope.py"), NotFound, "Name a Python file"),
    "pipeline": (lambda p: p.find_pipeline(p.root / f"{STEPS}.py", "trian"), NotFound, "Did you mean 'train'"),
    "folder": (lambda p: tv.open(p.root / "nope"), NotFound, "Create it"),
}


def newest(project: tv.Project, kind: str) -> str:
    return project.context.ledger.artifacts(kind=kind, limit=1)[0].id


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_done_is_a_sentence(story: Story, what: str) -> None:
    ask, error, sentence = REFUSED[what]
    with pytest.raises(error, match=sentence):
        ask(story.project)


def test_a_single_view_need_not_be_a_list(story: Story) -> None:
    made = story.project.training_set(airport.spine().head(5), "weather", time="t")
    assert [each.feature for each in made.features] == ["weather:wind"]


def test_an_experiment_is_not_made_again_and_the_sentence_says_what_can_be(story: Story) -> None:
    with story.project.run("by hand again") as run:
        run.log(auc=0.5)
    with pytest.raises(Invalid, match=r"there is no script to start again"):
        story.project.reproduce(f"run:{run.id}", environment="current")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("import nothing_such\n", "cannot be imported: ModuleNotFoundError"),
        ("def (\n", "cannot be imported: SyntaxError"),
        ("raise SystemExit(3)\n", "cannot be imported: SystemExit"),
        ("x = 1\n", "decorate a function with @tv.pipeline"),
    ],
)
def test_a_file_that_is_no_pipeline(story: Story, tmp_path: Path, text: str, sentence: str) -> None:
    file = tmp_path / f"broken_{abs(hash(text))}.py"
    file.write_text(text)
    with pytest.raises(Invalid, match=sentence):
        story.project.find_pipeline(file)


SPINE = airport.spine().head(20)


@pytest.mark.parametrize(
    ("spine", "error", "sentence"),
    [
        (SPINE.drop("airport"), NotFound, "no key column in the spine called 'airport'. There are: distance"),
        (SPINE.drop("t"), NotFound, "no column in the spine called 't'"),
        (SPINE.with_columns(pl.col("t").dt.replace_time_zone(None)), Invalid, "has times without a zone"),
        (SPINE.with_columns(t=pl.lit("soon")), Invalid, "holds 'soon', which is no time"),
        (SPINE.with_columns(airport=pl.col("id")), Invalid, "no row would match"),
        (SPINE.with_columns(wind=1.0), Invalid, "Pass full_names=True"),
        ([1, 2], Invalid, "The spine is a list"),
    ],
)
def test_a_spine_that_cannot_be_asked(story: Story, spine: Any, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        story.project.training_set(spine, FEATURES, time="t")


def test_null_keys_null_times_and_repeated_rows_are_answered_and_counted(story: Story) -> None:
    holes = SPINE.with_columns(
        airport=pl.when(pl.col("id") % 5 == 0).then(None).otherwise(pl.col("airport")),
        t=pl.when(pl.col("id") % 7 == 0).then(None).otherwise(pl.col("t")),
    )
    spine = pl.concat([holes, holes])
    made = story.project.training_set(spine, FEATURES, time="t")
    frame = made.to_polars()
    assert frame.select(spine.columns).equals(spine)
    assert frame.head(20).equals(frame.tail(20))
    assert made.report.null_keys == {"congestion": 8, "weather": 8}
    assert made.report.null_times == 2 * holes["t"].null_count() > 0
    assert frame.filter(pl.col("airport").is_null())["wind"].null_count() == 8


# --- a source whose file is not what it was ----------------------------------------------------------------


@pytest.fixture
def small(tmp_path: Path) -> Iterator[tv.Project]:
    """A project with its views defined and nothing made yet."""
    airport.build(tmp_path, "airport_small")
    with airport.opened(tmp_path) as project:
        project.define(*airport.views())
        yield project


@pytest.mark.parametrize(
    ("harm", "error", "sentence"),
    [
        (lambda file: file.unlink(), Invalid, "which does not exist"),
        (lambda file: file.write_bytes(b""), Invalid, "which is empty. Write it again"),
        (lambda file: file.write_bytes(file.read_bytes()[:-500]), Invalid, "cannot be read"),
        (lambda file: file.write_bytes(b"PAR1" + bytes(100) + b"PAR1"), Invalid, "cannot be read"),
        (
            lambda file: pl.read_parquet(file).drop("delay").write_parquet(file),
            NotFound,
            "no column in source 'flights' called 'delay'. There are: airport, left",
        ),
        (
            lambda file: pl.read_parquet(file).with_columns(pl.col("delay").cast(pl.String)).write_parquet(file),
            Invalid,
            "has type String and not numbers",
        ),
    ],
    ids=["missing", "empty", "truncated", "damaged", "column gone", "type changed"],
)
def test_a_source_that_went_bad_is_a_sentence_and_nothing_is_lost(
    small: tv.Project, harm: Any, error: type[Exception], sentence: str
) -> None:
    before = small.training_set(SPINE, FEATURES, time="t")
    small.materialize(until=MOMENTS[0])
    online = small.online_features("congestion:*", {"airport": "JFK"}, at=MOMENTS[0])
    file = small.root / "data/flights.parquet"
    good = file.read_bytes()
    harm(file)
    with pytest.raises(error, match=sentence):
        small.training_set(SPINE, FEATURES, time="t")
    with pytest.raises((error, Invalid), match=sentence):  # the other view is brought up to date
        small.materialize(until=MOMENTS[1])
    assert small.online_features("congestion:*", {"airport": "JFK"}, at=MOMENTS[0]) == online
    assert small.load(before.artifact.id).to_polars().equals(before.to_polars())
    assert "running" not in {run.status for run in small.runs()}
    file.write_bytes(good)
    assert small.training_set(SPINE, FEATURES, time="t").artifact.digest == before.artifact.digest
    assert small.materialize(until=MOMENTS[1])["congestion"] > 0


@pytest.mark.parametrize(
    ("moment", "rule", "sentence"),
    [
        ("2026-03-08T02:30:00", {}, "never happened in America/New_York, first 2026-03-08T02:30:00"),
        ("2025-11-02T01:30:00", {}, "happened twice in America/New_York, first 2025-11-02T01:30:00"),
        ("2026-03-08T02:30:00", {"nonexistent": "null"}, ""),
        ("2025-11-02T01:30:00", {"ambiguous": "earliest"}, ""),
    ],
)
def test_local_times_that_never_were_or_were_twice(
    small: tv.Project, moment: str, rule: dict[str, str], sentence: str
) -> None:
    rows = pl.DataFrame({"airport": ["JFK"], "left": [datetime.fromisoformat(moment)], "delay": [1.0]})
    source = tv.Source("local", rows, event_time="left", timezone="America/New_York", **rule)
    view = tv.FeatureView("v", entity=tv.Entity("airport", key="airport"), source=source, features=["delay"])
    if sentence:
        with pytest.raises(Invalid, match=sentence):
            small.training_set(SPINE, [view], time="t")
    else:
        assert len(small.training_set(SPINE, [view], time="t")) == len(SPINE)


# --- damage ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("harm", ["damaged", "gone"])
def test_a_blob_that_went_bad_is_told_and_can_be_made_again(small: tv.Project, harm: str) -> None:
    made = small.training_set(SPINE, FEATURES, time="t")
    [file] = made.artifact.files.values()
    [blob] = [path for path in (small.root / ".trivet/blobs").rglob(file.digest[4:] + "*") if path.is_file()] or [
        path for path in (small.root / ".trivet/blobs").rglob("*") if file.digest == path.name
    ]
    blob.chmod(0o600)
    if harm == "gone":
        blob.unlink()
    else:
        content = blob.read_bytes()
        blob.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
    with pytest.raises(Corrupt if harm == "damaged" else NotFound, match=file.digest):
        small.load(made.artifact.id)
    assert small.training_set(SPINE, FEATURES, time="t").artifact.digest == made.artifact.digest
    assert small.load(made.artifact.id).to_polars().equals(made.to_polars())


# --- opening, closing, leaving -----------------------------------------------------------------------------


def test_closing_twice_is_closing_once(small: tv.Project) -> None:
    small.materialize(until=MOMENTS[0])
    small.close()
    small.close()
    with airport.opened(small.root) as again:
        assert {listed.name for listed in again.feature_views()} == {"congestion", "weather"}
        assert again.watermark(again.feature_view("congestion").view) == MOMENTS[0]


LEAVES = """
import sys
import trivet as tv
project = tv.open({folder!r})
run = project.run("left open")
run.__enter__()
for step in range(500):
    run.log(loss=1.0 / (step + 1), step=step)
project.save({{"answer": 42}})
{how}
"""


@pytest.mark.parametrize(
    ("how", "code"), [("", 0), ("sys.exit(3)", 3), ("raise ValueError('oh')", 1)], ids=["end", "exit", "error"]
)
def test_a_project_left_open_loses_nothing(tmp_path: Path, how: str, code: int) -> None:
    script = LEAVES.format(folder=str(tmp_path), how=how)
    done = subprocess.run(
        [sys.executable, "-c", script], env=airport.environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    with tv.open(tmp_path) as project:
        [run] = project.runs(kind="experiment")
        assert len(project.context.ledger.metrics(run.id, "loss")) == 500
        assert run.status != "running"
        assert project.context.ledger.artifacts(kind="json")


# --- several at once ---------------------------------------------------------------------------------------


AT_ONCE = """
import sys
from tests import airport
project = airport.opened({folder!r})
project.define(*airport.views())
for number in range(6):
    made = project.training_set(airport.spine().head(50 + number), ["congestion:*", "weather:*"], time="t")
    with project.run(f"{{sys.argv[1]}} {{number}}") as run:
        run.input(made)
        for step in range(20):
            run.log(loss=float(step), step=step)
    project.save({{"who": sys.argv[1], "number": number}})
print("done")
"""


def test_several_processes_at_once_lose_nothing(small: tv.Project) -> None:
    small.close()
    words = [sys.executable, "-c", AT_ONCE.format(folder=str(small.root))]
    workers = [
        subprocess.Popen([*words, name], env=airport.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for name in ("one", "two")
    ]
    for worker in workers:
        said, trouble = worker.communicate(timeout=240)
        assert said == b"done\n", trouble.decode()
    runs = {run.name: run for run in small.runs(kind="experiment", limit=100)}
    assert set(runs) == {f"{who} {number}" for who in ("one", "two") for number in range(6)}
    for run in runs.values():
        assert run.status == "finished"
        assert len(small.context.ledger.metrics(run.id, "loss")) == 20
    assert len(small.context.ledger.artifacts(kind="json")) == 12
    made = small.context.ledger.artifacts(kind="training_set")
    assert len(made) == 6  # the same rows asked twice are one artifact
    assert {len(small.load(artifact)) for artifact in made} == {50 + number for number in range(6)}
    assert len(small.runs(kind="training_set", limit=100)) == 12
    assert [listed.version for listed in small.feature_views()] == [1, 1]


def test_the_errors_are_of_one_family() -> None:
    assert all(
        issubclass(error, tv.TrivetError) for error in (Ambiguous, Conflict, Corrupt, Invalid, NotFound, Refused)
    )

"""What joins a deployed model with its features, its records and its monitors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from sklearn.tree import DecisionTreeClassifier

import trivet as tv
from tests import airport
from trivet.clock import FixedClock
from trivet.errors import Ambiguous, Conflict, Invalid, NotFound
from trivet.live import profile_of
from trivet.serving.deployment import end
from trivet.serving.metrics import Metrics
from trivet.serving.predictor import Request
from trivet.serving.records import Unrecorded
from trivet.types import as_utc

COLUMNS = ["distance", "airport", "mean_delay", "departures", "wind"]
Answer = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(airport.NOW)


@pytest.fixture
def project(tmp_path: Path, clock: FixedClock) -> Iterator[tv.Project]:
    airport.build(tmp_path, "airport_live")
    with tv.open(tmp_path, clock=clock) as opened:
        opened.define(*airport.views())
        yield opened


def fitted(project: tv.Project, name: str = "late") -> tv.TrainingSet:
    made = project.training_set(airport.spine(), ["congestion:*", "weather:*"], time="t", label="late")
    estimator = DecisionTreeClassifier(max_depth=3, random_state=0)
    with project.run(name) as run:
        run.model(tv.Model.fit(estimator, made, features=COLUMNS), name)
    return made


@pytest.fixture
def answer(project: tv.Project) -> Answer:
    """Answers requests for a deployment in this process and records them before it returns."""

    def ask(deployment: Any, *requests: Request) -> list[dict[str, Any]]:
        metrics = Metrics()
        log = project._live.log(deployment, metrics)
        try:
            made = project._live.predictor(deployment, log=log, metrics=metrics).predict(list(requests))
        finally:
            log.close()
        return [project.prediction(one.id) for one in made]

    return ask


def request(name: str = "JFK", at: datetime | None = None, **changes: Any) -> Request:
    return Request({"airport": name}, {"distance": 300.0} | changes, at)


def test_a_predictor_reads_what_the_model_was_fitted_with(project: tv.Project, answer: Answer) -> None:
    made = fitted(project)
    deployment = project.deploy("late", allow_ungated="a test")
    moment = airport.NOW - timedelta(days=1)
    project.materialize(until=moment)
    [found] = answer(deployment, request("EWR", moment))
    model = project.load(project.model("late").artifact)
    row = {"distance": 300.0, "airport": "EWR"} | {
        name: found["features"][reference] for name, reference in {
            "mean_delay": "congestion:mean_delay", "departures": "congestion:departures", "wind": "weather:wind",
        }.items()
    }  # fmt: skip
    [scored] = model.score([row])
    assert found["output"]["prediction"] == scored["prediction"]
    assert found["digest"] == project.model("late").digest
    assert set(found["feature_status"].values()) == {"present"}
    assert len(made) > 1000


def test_an_edited_view_does_not_reach_a_model_fitted_before(project: tv.Project, answer: Answer) -> None:
    moment = airport.NOW - timedelta(days=1)
    spine = pl.DataFrame({"airport": ["JFK"], "t": [moment]})
    fitted(project, "old")
    before = project.training_set(spine, ["congestion:*"], time="t").to_polars()
    project.materialize(until=moment)
    [edited, *_] = project.define(*airport.views(window="24h"), why="a day says more")
    assert edited.version == 2
    fitted(project, "new")
    after = project.training_set(spine, ["congestion:*"], time="t").to_polars()
    project.materialize(until=moment)
    assert before["departures"][0] != after["departures"][0]
    for name, expected in (("old", before), ("new", after)):
        [found] = answer(project.deploy(name, allow_ungated="a test"), request(at=moment))
        assert found["features"]["congestion:departures"] == expected["departures"][0]
        assert found["features"]["congestion:mean_delay"] == expected["mean_delay"][0]


@tv.on_demand(inputs=["congestion:mean_delay", "weather:wind"], request={"hour": "int"})
def pressure(mean_delay, wind, hour):
    return {"pressed": mean_delay / (1 + wind), "evening": hour >= 18}


def test_features_computed_on_demand_are_served_with_what_was_sent(project: tv.Project, answer: Answer) -> None:
    moment = airport.NOW - timedelta(days=1)
    spine = airport.spine().with_columns(hour=pl.col("t").dt.hour())
    service = tv.FeatureService("delays", [pressure, "congestion:departures"])
    made = project.training_set(spine, service, time="t", label="late")
    with project.run("late") as run:
        run.model(tv.Model.fit(DecisionTreeClassifier(max_depth=3, random_state=0), made), "late")
    project.materialize(until=moment)
    deployment = project.deploy("late", allow_ungated="a test")
    assert {"online.congestion", "online.weather"} <= set(project.context.ledger.run(deployment.id).inputs)
    asked = [Request({"airport": name}, {"hour": hour}, moment) for name, hour in (("JFK", 20), ("EWR", 7))]
    found = answer(deployment, *asked)
    again = pl.DataFrame({"airport": ["JFK", "EWR"], "t": [moment] * 2, "hour": [20, 7]})
    expected = project.training_set(again, "delays", time="t").to_polars()
    for row, one in zip(expected.iter_rows(named=True), found, strict=True):
        assert one["features"] == {
            "pressure:pressed": row["pressed"],
            "pressure:evening": row["evening"],
            "congestion:departures": row["departures"],
        }
    assert project.reproduce(f"prediction:{found[0]['id']}", environment="current").level == "bytes"
    with pytest.raises(Invalid, match="lacks the value 'hour'"):
        answer(deployment, Request({"airport": "JFK"}, {}, moment))
    project.define(edited())  # the model keeps the definition that it was fitted with
    assert answer(deployment, asked[0])[0]["features"] == found[0]["features"]


def edited() -> Any:
    @tv.on_demand(name="pressure", inputs=["congestion:mean_delay"], request={"hour": "int"})
    def other(mean_delay: Any, hour: Any) -> Any:
        return {"pressed": mean_delay * 2, "evening": hour >= 12}

    return other


def test_the_old_models_view_can_still_be_brought_up_to_date(project: tv.Project, answer: Answer) -> None:
    moment = airport.NOW - timedelta(days=1)
    fitted(project, "old")
    old = project.feature_view("congestion").view
    project.define(*airport.views(window="24h"))
    project.materialize([old], until=moment)
    [found] = answer(project.deploy("old", allow_ungated="a test"), request(at=moment))
    expected = project.training_set(pl.DataFrame({"airport": ["JFK"], "t": [moment]}), [old], time="t").to_polars()
    assert found["features"]["congestion:departures"] == expected["departures"][0] > 0


def test_a_dead_model_is_an_alarm_until_it_speaks_again(project: tv.Project, clock: FixedClock, answer: Answer) -> None:
    fitted(project)
    deployment = project.deploy("late", allow_ungated="a test", max_silence="1h")
    answer(deployment, request())
    assert not project.monitor("late").alarms
    clock.advance(timedelta(hours=3))
    looked = project.monitor("late", record=False)
    assert [alarm.kind for alarm in looked.alarms] == ["silence.prediction"]
    assert project.alarms() == []  # looking alone raises nothing
    for _ in range(2):
        project.monitor("late")
    [standing] = project.alarms()
    assert (standing.alarm.kind, standing.alarm.subject) == ("silence.prediction", "late@1")
    assert standing.alarm.since <= clock() - timedelta(hours=2)
    answer(deployment, request())
    project.monitor("late")
    assert project.alarms() == []


def test_one_that_never_spoke_is_as_dead(project: tv.Project, clock: FixedClock) -> None:
    fitted(project)
    project.deploy("late", allow_ungated="a test", max_silence="1h")
    assert project.monitor("late").healthy
    clock.advance(timedelta(hours=2))
    assert [alarm.kind for alarm in project.monitor("late").alarms] == ["silence.prediction"]


def test_each_commit_of_predictions_is_an_artifact_made_of_the_model(project: tv.Project, answer: Answer) -> None:
    fitted(project)
    deployment = project.deploy("late", allow_ungated="a test")
    for rows in (1, 3):
        answer(deployment, *[request()] * rows)
    runs = project.runs(kind="predict")
    assert [run.metrics["rows"] for run in runs] == [3, 1]
    assert {run.parent for run in runs} == {deployment.id}
    batch = project.context.ledger.artifact(runs[0].outputs["predictions"])
    assert project.model("late").digest in project.lineage(batch).artifacts
    assert project._live.tables.read("predictions", version=batch.spec["version"]).num_rows == 4


def test_predictions_by_the_start_of_their_id(project: tv.Project, answer: Answer) -> None:
    fitted(project)
    deployment = project.deploy("late", allow_ungated="a test")
    requests = [Request({"airport": "JFK"}, {"distance": 1.0}, None, name) for name in ("abc-1", "abc-2")]
    answer(deployment, *requests)
    assert project.prediction("abc-1")["id"] == "abc-1"
    with pytest.raises(NotFound, match=r"A shortened id needs 6 characters at least"):
        project.prediction("abc")
    with pytest.raises(NotFound, match=r"There is no prediction 'abc-12'. `project.predictions\(\)` lists"):
        project.prediction("abc-12")
    assert [row["id"] for row in project.predictions(deployment=deployment.id, limit=1)] == ["abc-2"]
    assert project.predictions(deployment="another") == []


def test_a_shortened_id_that_fits_several_predictions_means_none_of_them(project: tv.Project, answer: Answer) -> None:
    fitted(project)
    deployment = project.deploy("late", allow_ungated="a test")
    answer(deployment, *(Request({"airport": "JFK"}, {"distance": 1.0}, None, f"flight-{n}") for n in (12, 13, 2)))
    several = r"'flight-1' fits several predictions: flight-12, flight-13\. Give more"
    with pytest.raises(Ambiguous, match=several):
        project.prediction("flight-1")
    with pytest.raises(Ambiguous, match=several):
        project.reproduce("prediction:flight-1")
    assert project.prediction("flight-2")["id"] == "flight-2"
    with pytest.raises(NotFound, match="There is no prediction ''"):
        project.prediction("")


def test_of_two_deployments_that_were_given_the_same_id_the_last_one_counts(
    project: tv.Project, clock: FixedClock, answer: Answer
) -> None:
    fitted(project)
    for distance in (1.0, 2.0, 3.0):
        clock.advance(timedelta(minutes=1))
        request = Request({"airport": "JFK"}, {"distance": distance}, None, "the-same")
        answer(project.deploy("late", allow_ungated="a test"), request)
        assert project.prediction("the-same")["request"] == {"distance": distance}


def test_an_id_that_begins_another_is_found(project: tv.Project, answer: Answer) -> None:
    fitted(project)
    deployment = project.deploy("late", allow_ungated="a test")
    answer(deployment, Request({"airport": "JFK"}, {"distance": 1.0}, None, "flight-12"))
    answer(deployment, Request({"airport": "JFK"}, {"distance": 2.0}, None, "flight-1"))
    assert project.prediction("flight-1")["request"] == {"distance": 2.0}


def test_a_deployment_that_never_answered_does_not_hide_the_one_that_does(project: tv.Project) -> None:
    fitted(project)
    good = project.deploy("late", allow_ungated="a test")
    failed = project.deploy("late", allow_ungated="a test")
    with pytest.raises(Invalid, match="99999 is no port"):
        project.serve(failed, port=99_999)
    assert project.deployment(failed.id).state == "failed"
    assert project.deployment("late").id == good.id
    assert project.deployment("late").state == "alive"


def test_a_retired_deployment_is_watched_no_more_and_who_retired_it_is_on_record(
    project: tv.Project, clock: FixedClock, answer: Answer
) -> None:
    fitted(project)
    deployment = project.deploy("late", allow_ungated="a test", max_silence="1h")
    answer(deployment, request())
    clock.advance(timedelta(hours=2))
    project.monitor("late")
    assert [each.alarm.kind for each in project.alarms()] == ["silence.prediction"]
    with pytest.raises(Conflict, match=r"still answers. Stop it"):
        project.retire("late", why="replaced")
    end(project.context, deployment.id)
    with pytest.raises(Invalid, match="needs a reason"):
        project.retire("late", why=" ")
    assert len(project.alarms()) == 1  # a clean stop is an end, and not yet a reason to look away
    assert project.retire("late", why="replaced").state == "retired"
    assert project.alarms() == []
    assert project.deployment(deployment.id).state == "retired"
    [run] = project.runs(kind="retire")
    assert (run.parent, run.tags["why"], run.tags["by"]) == (deployment.id, "replaced", project.context.user)
    clock.advance(timedelta(days=9))
    looked = project.monitor(deployment.id)
    assert (looked.alarms, looked.heartbeats, looked.predictions) == ((), (), 1)
    assert project.alarms() == []
    with pytest.raises(Conflict, match="retired already"):
        project.retire("late", why="again")


def test_the_alarm_of_another_deployment_of_the_version_stays(project: tv.Project, clock: FixedClock) -> None:
    fitted(project)
    old, new = (project.deploy("late", allow_ungated="a test", max_silence="1h") for _ in range(2))
    clock.advance(timedelta(hours=2))
    project.monitor(new.id)
    end(project.context, old.id)
    project.retire(old.id, why="replaced")
    assert len(project.alarms()) == 1
    assert project.deployment("late").id == new.id


def test_a_later_process_with_the_same_number_is_another(project: tv.Project) -> None:
    fitted(project)
    deployed = project.deploy("late", allow_ungated="a test")
    run = project.get(f"run:{deployed.id}")
    project.context.ledger.write(msgspec.structs.replace(run, tags={**run.tags, "pid_started": "1"}))
    assert project.deployment("late").state == "stopped"


@pytest.mark.parametrize(("setting", "refused"), [(None, True), ("answer", False)])
def test_the_setting_says_what_becomes_of_what_cannot_be_recorded(
    project: tv.Project, setting: str | None, refused: bool
) -> None:
    fitted(project)
    chosen = {} if setting is None else {"TRIVET_SERVING_UNRECORDED": setting}
    with tv.open(project.root, environment=chosen) as other:
        metrics = Metrics()
        deployment = other.deploy("late", allow_ungated="a test")
        log = other._live.log(deployment, metrics)
        predictor = other._live.predictor(deployment, log=log, metrics=metrics)
        log.close()  # from here on nothing can be recorded
        if refused:
            with pytest.raises(Unrecorded):
                predictor.predict([request()])
        else:
            assert predictor.predict([request()])
        assert (log.refused, log.dropped) == ((1, 0) if refused else (0, 1))


# --- labels ------------------------------------------------------------------------------------------------


def labels(**changes: Any) -> pl.DataFrame:
    columns = {"prediction": ["a", "b"], "label": [1.0, 0.0], "at": [airport.NOW, airport.NOW]}
    return pl.DataFrame(columns | changes)


@pytest.mark.parametrize(
    ("frame", "sentence"),
    [
        (labels().drop("label"), "'label' is missing among prediction, at"),
        (labels(label=["yes", "no"]), "'label' of the labels holds String. Give numbers"),
        (labels(label=[1.0, None]), "1 of 2 labels have no usable 'label', so none was added"),
        (labels(label=[1.0, float("nan")]), "1 of 2 labels have no usable 'label'"),
        (labels(label=[1.0, float("inf")]), "1 of 2 labels have no usable 'label'"),
        (labels(label=[{"a": 1}, {"a": 2}]), "'label' of the labels holds Struct"),
        (labels(prediction=["a", None]), "1 of 2 labels have no usable 'prediction'"),
        (labels(prediction=[1, 2]), "'prediction' of the labels holds Int64. Give the ids"),
        (labels(at=[airport.NOW, None]), "1 of 2 labels have no usable 'at'"),
        (labels(at=["2026-03-21", "2026-03-22"]), "has no time zone"),
        (labels(at=[datetime(2026, 3, 1)] * 2), "has no time zone"),
        ({"prediction": ["a"]}, "is a dict. Give a pandas or Polars data frame"),
        (3, "is a int. Give a pandas or Polars data frame"),
    ],
)
def test_bad_labels_are_refused_whole(project: tv.Project, frame: Any, sentence: str) -> None:
    assert project.labels(labels()) == 2
    with pytest.raises(Invalid, match=sentence):
        project.labels(frame)
    assert project._live.labels().rows() == labels().rows()


def test_labels_come_in_any_frame_and_the_last_word_counts(project: tv.Project, answer: Answer) -> None:
    fitted(project)
    answer(project.deploy("late", allow_ungated="a test"), Request({"airport": "JFK"}, {"distance": 1.0}, None, "a"))
    for number, frame in enumerate(
        [
            labels(label=[True, False]),
            labels(label=[0, 1]).to_pandas(),
            labels().to_arrow(),
            labels(label=[0, 1]).lazy(),
        ]
    ):
        assert project.labels(frame) == 2
        assert project.prediction("a")["label"] == (1.0 if number % 2 == 0 else 0.0)
    assert project.labels(labels().clear()) == 0
    assert project._live.labels().height == 8


def test_labels_of_before_deliveries_were_told_apart_are_read(project: tv.Project) -> None:
    project._live.tables.append("labels", labels().to_arrow())
    assert project._live.labels().rows() == labels().rows()


# --- periods, profiles -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("days", "every"), [(1, "hour"), (10, "day"), (40, "week"), (300, "month")])
def test_the_period_suits_what_was_predicted(
    project: tv.Project, clock: FixedClock, answer: Answer, days: int, every: str
) -> None:
    fitted(project)
    deployment = project.deploy("late", allow_ungated="a test", max_silence="1000d")
    clock.set(airport.NOW + timedelta(days=days))
    found = answer(deployment, request(at=airport.NOW), request(at=airport.NOW + timedelta(days=days)))
    moments = [as_utc(row["at"]) for row in found]
    project.labels(pl.DataFrame({"prediction": [row["id"] for row in found], "label": [1.0, 0.0], "at": moments}))
    clock.set(moments[1] + timedelta(days=1))
    chosen, asked = project.monitor("late", record=False), project.monitor("late", every=every, record=False)
    assert chosen.performance == asked.performance
    assert chosen.performance


def test_what_is_remembered_of_a_training_set() -> None:
    frame = pl.DataFrame({"x": [1.0, 2.0, 3.0, 4.0] * 30, "late": [0, 1, 1, 1] * 30})
    remembered = profile_of(frame, ["x"], "late")
    assert (remembered["rows"], remembered["positives"]) == (120, 90.0)
    assert "positives" not in profile_of(frame.with_columns(late=pl.col("x")), ["x"], "late")
    assert profile_of(frame.to_arrow(), ["x"], "late") == remembered


def test_the_profile_is_worked_out_once(project: tv.Project, answer: Answer) -> None:
    fitted(project)
    answer(project.deploy("late", allow_ungated="a test"), request())
    for _ in range(2):
        project.monitor("late", record=False)
    assert len(project.runs(kind="profile")) == 1

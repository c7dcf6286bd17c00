from datetime import UTC, datetime, timedelta

import pytest

from tests.serving.conftest import NOW, STORE, Column, Signature, read, score
from trivet.errors import Invalid
from trivet.serving.predictor import Prediction, Predictor, Request, score_of
from trivet.types import to_micros

VALUES = {"distance": 600, "carrier": "AA", "night": False}


def request(origin="JFK", **changes):
    return Request({"origin": origin}, VALUES, **changes)


def test_it_joins_the_request_with_features_and_records_what_it_scored(make, log, now):
    [answer] = make().predict([request(id="mine-1")])
    assert answer == Prediction("mine-1", "yes", "delay", "3", {"no": 0.4, "yes": 0.6})
    [record] = log
    assert (record.id, record.at, record.received, record.model, record.version) == ("mine-1", now, now, "delay", "3")
    assert (record.digest, record.deployment, record.role) == ("d" * 64, "01RUN", "champion")
    assert (record.entities, record.request, record.features) == ({"origin": "JFK"}, VALUES, STORE["JFK"])
    assert record.feature_status == {"congestion:delay_3h": "present", "weather:rain": "null"}
    assert set(record.feature_times.values()) == {now - 3_600_000_000}
    assert record.output == score([{"distance": 600, "delay_3h": 0, "carrier": "AA", "rain": 0, "night": False}])[0]
    assert record.score == 0.6
    assert record.latency_us >= 0


def test_answers_come_in_the_order_of_the_requests(make):
    origins = ["LGA", "JFK", "nowhere", "JFK"]
    answers = make().predict([request(origin) for origin in origins], features=True)
    assert [answer.features["congestion:delay_3h"] for answer in answers] == [3, 12.5, None, 12.5]
    assert len({answer.id for answer in answers}) == 4
    assert make().predict([]) == []


def test_an_unknown_entity_is_answered_and_counted(make, log, metrics):
    assert make().predict([request("nowhere"), request(None)])[0].prediction == "yes"
    assert set(log[0].feature_status.values()) == {"missing"}
    samples = {sample.labels["feature_view"]: sample.value for sample in metrics.missing.collect()[0].samples
               if sample.name.endswith("_total")}  # fmt: skip
    assert samples == {"congestion": 2, "weather": 2}


def test_each_moment_is_read_as_of_itself(make, log):
    asked = []

    def reader(entities, at):
        asked.append((len(entities), at))
        return read(entities, at)

    then = datetime(2013, 5, 1, tzinfo=UTC)
    predictor = make(reader=reader)
    predictor.predict([request(at=then), request(at=then)])
    assert asked == [(2, to_micros(then))]
    predictor.predict([request(at=then), request()])
    assert asked[1:] == [(1, to_micros(then)), (1, to_micros(NOW))]
    assert [record.at for record in log[2:]] == [to_micros(then), to_micros(NOW)]
    assert log[2].received == to_micros(NOW)


def test_all_or_none(make, log):
    with pytest.raises(Invalid, match="Request 1 lacks"):
        make().predict([request(), Request({}, VALUES), request()])
    assert log == []


@pytest.mark.parametrize("identity", ["", "a b", "x" * 129, "a\nb", "é"])
def test_an_id_must_be_usable_everywhere(make, identity):
    with pytest.raises(Invalid, match="an id that cannot be used"):
        make().predict([request(id=identity)])


def test_a_time_needs_a_zone(make):
    with pytest.raises(Invalid, match="no time zone"):
        make().predict([request(at=datetime(2013, 1, 1))])


def test_a_model_without_features_asks_no_reader():
    from tests.serving.conftest import deployed

    model = deployed(signature=Signature((Column("x", "number"),), classes=None), entity_keys={})
    predictor = Predictor(model, None, lambda rows: [{"prediction": row["x"] * 2} for row in rows])
    [answer] = predictor.predict([Request(values={"x": 2})])
    assert (answer.prediction, answer.probability) == (4, None)


def test_the_age_of_features_is_measured(make, metrics):
    make().predict([request(at=NOW - timedelta(hours=5))])
    total = {
        sample.name: sample.value
        for sample in metrics.age.collect()[0].samples
        if sample.labels.get("feature_view") == "weather"
    }
    assert total["trivet_feature_age_seconds_sum"] == 3600


@pytest.mark.parametrize(
    ("output", "number"),
    [
        ({"prediction": "a", "probability": {"a": 0.9, "b": 0.1}}, 0.1),
        ({"prediction": 1, "probability": [0.25, 0.75]}, 0.75),
        ({"prediction": 1, "probability": 0.3}, 0.3),
        ({"prediction": 7}, 7.0),
        ({"prediction": True}, 1.0),
        ({"prediction": "text"}, None),
        ({"prediction": "text", "probability": {}}, None),
    ],
)
def test_one_number_stands_for_an_output(output, number):
    assert score_of(output) == number

import asyncio
import json
import logging

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.serving.conftest import deployed, read, score
from trivet.errors import Corrupt, Invalid
from trivet.serving.app import App
from trivet.serving.metrics import BUCKETS, Metrics
from trivet.serving.predictor import Predictor


class Client:
    """Calls an ASGI application in this process, one request at a time."""

    def __init__(self, app):
        self.app = app

    def __call__(self, method, path, **options):
        async def send():
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=True)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                return await client.request(method, path, **options)

        return asyncio.run(send())


@pytest.fixture
def app(log):
    older = deployed(version="2", role="canary")
    other = deployed(name="cancel/led", version="1")
    metrics = Metrics()
    return App(
        [Predictor(model, read, score, log) for model in (deployed(), older, other)],
        metrics=metrics, most_bytes=20_000, most_rows=50,
    )  # fmt: skip


@pytest.fixture
def client(app):
    return Client(app)


def test_one_request_and_a_list(client, body, log):
    answer = client("POST", "/predict", json=body(id="a"))
    assert answer.status_code == 200
    assert answer.json() == {
        "id": "a", "prediction": "no", "probability": {"no": 0.5, "yes": 0.5}, "model": "delay", "version": "3"
    }  # fmt: skip
    assert answer.headers["content-type"] == "application/json"
    answers = client("POST", "/predict?features=true", json=[body(), body(entities={"origin": "XXX"})]).json()
    assert [one["features"]["congestion:delay_3h"] for one in answers] == [12.5, None]
    assert client("POST", "/predict", json=[]).json() == []
    assert len(log) == 3


def test_an_answer_says_which_features_had_no_value(client, body):
    known = client("POST", "/predict", json=body()).json()
    assert "feature_status" not in known  # a null that is known is a value
    unknown = client("POST", "/predict", json=body(entities={"origin": "XXX"})).json()
    assert unknown["feature_status"] == {"congestion:delay_3h": "missing", "weather:rain": "missing"}
    asked = client("POST", "/predict?features=true", json=body()).json()
    assert asked["feature_status"] == {"congestion:delay_3h": "present", "weather:rain": "null"}


def test_time_is_text_with_a_zone(client, body, log):
    assert client("POST", "/predict", json=body(at="2013-11-03T01:30:00-05:00")).status_code == 200
    assert log[0].at == 1_383_460_200_000_000
    assert "no time zone" in client("POST", "/predict", json=body(at="2013-11-03T01:30:00")).json()["error"]


NEGATIVE = [
    (b"", "no request"),
    (b"{", "no request"),
    (b"null", "no request"),
    (b"3", "no request"),
    (b'"text"', "no request"),
    (b"[1]", "no request"),
    (b"\xff\xfe", "no request"),
    (b'{"entities": {"origin": NaN}}', "no request"),
    (b'{"entities": {"origin": "JFK"}, "values": {"distance": NaN, "carrier": "AA", "night": true}}', "no request"),
    (
        b'{"entities": {"origin": "JFK"}, "values": {"distance": Infinity, "carrier": "AA", "night": true}}',
        "no request",
    ),
    (b'{"entities": {"origin": "JFK"}, "values": {"distance": 1e999, "carrier": "AA", "night": true}}', "no request"),
    (b'{"entities": {"origin": "JFK"}, "values": {"distance": "1", "carrier": "AA", "night": true}}', "distance"),
    (b'{"entities": {"origin": "JFK"}, "values": {"distance": 1, "carrier": 2, "night": true}}', "carrier"),
    (b'{"entities": {"origin": "JFK"}, "values": {"distance": 1, "carrier": "AA", "night": null}}', "night"),
    (b'{"entities": {"origin": "JFK"}, "values": {"distance": 1, "carrier": "AA"}}', "lacks the value 'night'"),
    (b'{"entities": {"origin": "JFK"}}', "lacks the value"),
    (b'{"entities": {}}', "lacks the entity key"),
    (b"{}", "lacks the entity key 'origin'"),
    (b'{"entities": {"origin": 1}, "values": {"distance": 1, "carrier": "AA", "night": true}}', "text or null"),
    (b'{"entities": {"origin": {}}, "values": {"distance": 1, "carrier": "AA", "night": true}}', "text or null"),
    (b'{"entities": [], "values": {}}', "no request"),
    (b'{"entites": {"origin": "JFK"}}', "unknown field `entites`"),
    (b'{"entities": {"origin": "\\ud800"}}', "no request"),
    (b'{"id": 5}', "no request"),
    (b'{"entities": {"origin": "JFK"}, "at": "soon"}', "no request"),
    (b"[" * 5000, "no request"),
    (b'{"entities":' * 1500, "no request"),
    (json.dumps([{}] * 51).encode(), "50 is the most"),
]


@pytest.mark.parametrize(("data", "says"), NEGATIVE)
def test_bad_input_gets_a_sentence_and_400(client, log, data, says):
    answer = client("POST", "/predict", content=data)
    assert answer.status_code == 400
    assert list(answer.json()) == ["error"]
    assert says in answer.json()["error"]
    assert log == []


@pytest.mark.parametrize(
    ("method", "path", "status", "says"),
    [
        ("GET", "/nothing", 404, "GET / tells"),
        ("GET", "/predict", 405, "Use POST"),
        ("PUT", "/health", 405, "Use GET, HEAD"),
        ("POST", "/metrics", 405, "Use GET, HEAD"),
        ("POST", "/v2", 405, "Use GET, HEAD"),
        ("GET", "/v2/models/delay/infer", 405, "Use POST"),
        ("POST", "/v2/models/delay", 405, "Use GET, HEAD"),
        ("GET", "/v2/models/dealy", 404, "Did you mean 'delay'?"),
        ("GET", "/v2/models/dealy/ready", 404, "Did you mean 'delay'?"),
        ("POST", "/v2/models/dealy/infer", 404, "There is no model 'dealy'"),
        ("GET", "/v2/models/delay/versions/9", 404, "There are: 2, 3"),
        ("GET", "/v2/models/", 404, "There is no model ''"),
        ("GET", "/v2/models/delay/versions", 404, "nothing at"),
        ("GET", "/v2/models/delay/other", 404, "nothing at"),
        ("GET", "/v2/models/delay/versions/3/ready/more", 404, "nothing at"),
        ("GET", "/../etc/passwd", 404, "nothing at"),
        ("POST", "/predict?verbose=1", 400, "'verbose' is no option"),
    ],
)
def test_wrong_ways_are_told_the_right_one(client, body, method, path, status, says):
    answer = client(method, path, json=body() if method == "POST" else None)
    assert answer.status_code == status
    assert list(answer.json()) == ["error"]
    assert says in answer.json()["error"]
    if status == 405:
        assert answer.headers["allow"]


def test_a_body_too_large_is_refused_with_or_without_its_length(client):
    def pieces():
        async def send():
            for _ in range(30):
                yield b" " * 1000

        return send()

    for content in (b" " * 20_001, pieces()):
        answer = client("POST", "/predict", content=content)
        assert answer.status_code == 413
        assert "20000 bytes is the most" in answer.json()["error"]
        assert answer.headers["connection"] == "close"


@pytest.mark.parametrize("error", [RuntimeError("secret detail"), ZeroDivisionError()])
def test_a_fault_of_ours_has_an_id_and_no_trace(log, body, caplog, error):
    def broken(rows):
        raise error

    app = App([Predictor(deployed(), read, broken, log)])
    with caplog.at_level(logging.ERROR, "trivet"):
        answer = Client(app)("POST", "/predict", json=body())
    assert answer.status_code == 500
    assert set(answer.json()) == {"error", "id"}
    assert "secret" not in answer.text
    assert answer.json()["id"] in caplog.text
    assert "Traceback" in caplog.text
    assert 'outcome="error"' in Client(app)("GET", "/metrics").text


def test_a_store_that_is_damaged_says_so(log, body, caplog):
    def damaged(entities, at):
        raise Corrupt("The online store is damaged.")

    answer = Client(App([Predictor(deployed(), damaged, score, log)]))("POST", "/predict", json=body())
    assert answer.status_code == 500
    assert "The online store is damaged." in answer.json()["error"]


def test_v2_answers_what_the_specification_asks(client):
    assert client("GET", "/v2").json() == client("GET", "/v2/").json()
    assert client("GET", "/v2").json()["extensions"] == ["binary_tensor_data"]
    for health in ("live", "ready"):
        assert client("GET", f"/v2/health/{health}").json() == {"live": True, "ready": True}
    for path in ("/v2/models/delay", "/v2/models/delay/", "/v2/models/delay/versions/2"):
        assert client("GET", path).json()["versions"] == ["3", "2"]
    assert client("GET", "/v2/models/cancel%2Fled/ready").json() == {"name": "cancel/led", "ready": True}


def test_v2_infers_with_the_version_asked_for(client, log):
    tensors = [
        {"name": "origin", "shape": [1, 1], "datatype": "BYTES", "data": ["JFK"]},
        {"name": "distance", "shape": [1, 1], "datatype": "FP64", "data": [900.0]},
        {"name": "carrier", "shape": [1, 1], "datatype": "BYTES", "data": ["AA"]},
        {"name": "night", "shape": [1, 1], "datatype": "BOOL", "data": [False]},
    ]
    for path, version in (("/v2/models/delay/infer", "3"), ("/v2/models/delay/versions/2/infer", "2")):
        answer = client("POST", path, json={"id": "7", "inputs": tensors}).json()
        assert (answer["id"], answer["model_version"], answer["outputs"][0]["data"]) == ("7", version, ["yes"])
    assert [record.role for record in log] == ["champion", "canary"]
    binary = client(
        "POST", "/v2/models/delay/infer", json={"inputs": tensors, "parameters": {"binary_data_output": True}}
    )
    length = int(binary.headers["inference-header-content-length"])
    assert binary.headers["content-type"] == "application/octet-stream"
    assert json.loads(binary.content[:length])["outputs"][0]["parameters"] == {"binary_data_size": 7}
    assert (
        client(
            "POST", "/v2/models/delay/infer", content=b"{}", headers={"inference-header-content-length": "x"}
        ).status_code
        == 400
    )


def test_the_first_page_health_and_head(client):
    about = client("GET", "/").json()
    assert (about["service"], [model["version"] for model in about["models"]]) == ("trivet", ["3", "2", "1"])
    assert client("GET", "/health").json()["models"] == {"delay": ["3", "2"], "cancel/led": ["1"]}
    head = client("HEAD", "/health")
    assert (head.status_code, head.content) == (200, b"")


def test_metrics_are_those_that_dashboards_expect(client, body):
    client("POST", "/predict", json=[body(), body(entities={"origin": "XXX"})])
    client("POST", "/predict", json={})
    text = client("GET", "/metrics").text
    families = {family.name: family for family in text_string_to_metric_families(text)}
    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in families.values()
        for sample in family.samples
    }
    labels = [("model", "delay"), ("role", "champion"), ("version", "3")]

    def value(name, *more):
        return samples[(name, *sorted([*labels, *more]))]

    assert value("trivet_predictions_total", ("outcome", "ok")) == 2
    assert value("trivet_predictions_total", ("outcome", "invalid")) == 1
    assert value("trivet_request_duration_seconds_count") == 1
    assert value("trivet_prediction_score_count") == 2
    assert value("trivet_model_info", ("digest", "d" * 64), ("run_id", "01RUN")) == 1
    assert value("trivet_last_prediction_timestamp_seconds") > 1_700_000_000
    for stage in ("parse", "features", "predict", "log"):
        assert value("trivet_stage_duration_seconds_count", ("stage", stage)) == 1
    assert samples[("trivet_feature_missing_total", ("feature_view", "weather"))] == 1
    assert samples[("trivet_feature_age_seconds_count", ("feature_view", "weather"))] == 1
    assert samples[("trivet_in_flight_requests",)] == 1  # this one
    assert ("trivet_prediction_log_dropped_total",) in samples
    assert ("trivet_prediction_log_backlog_rows",) in samples
    edges = {
        sample.labels["le"] for sample in families["trivet_request_duration_seconds"].samples if "le" in sample.labels
    }
    assert edges == {*map(str, BUCKETS), "+Inf"}
    assert "XXX" not in text


def test_openapi_describes_exactly_what_is_accepted(client, body):
    document = client("GET", "/openapi.json").json()
    schemas = document["components"]["schemas"]
    request = schemas["Request"]["properties"]
    assert schemas["Request"]["required"] == ["entities", "values"]
    assert request["values"]["required"] == list(body()["values"])
    assert request["values"]["properties"]["distance"] == {"type": ["number", "null"]}
    assert schemas["Prediction"]["properties"]["prediction"] == {"enum": ["no", "yes"]}
    for path, item in document["paths"].items():
        for method in item:
            assert client(method.upper(), path, content=b"{}").status_code in (200, 400), path
    references = json.dumps(document).split('"$ref": "')[1:]
    assert {reference.split('"')[0].rsplit("/", 1)[1] for reference in references} <= set(schemas)


def test_the_end_of_the_server_closes_what_is_handed_in(log):
    closed = []
    app = App([Predictor(deployed(), read, score, log)], on_close=lambda: closed.append(True))
    messages, sent = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]), []

    async def receive():
        return next(messages)

    async def send(message):
        sent.append((message["type"], list(closed)))

    asyncio.run(app({"type": "lifespan"}, receive, send))
    assert sent == [("lifespan.startup.complete", []), ("lifespan.shutdown.complete", [True])]


def test_a_service_needs_models_each_once(log):
    with pytest.raises(Invalid, match="needs a model"):
        App([])
    with pytest.raises(Invalid, match="given twice"):
        App([Predictor(deployed(), read, score, log)] * 2)


def test_a_caller_that_leaves_gets_nothing_and_breaks_nothing(app):
    async def gone():
        return {"type": "http.disconnect"}

    async def send(message):
        raise AssertionError(message)

    scope = {"type": "http", "method": "POST", "path": "/predict", "headers": [], "query_string": b""}
    asyncio.run(app(scope, gone, send))
    assert app.metrics.in_flight._value.get() == 0


def test_request_is_another_name_of_values(client):
    entities, values = {"origin": "JFK"}, {"distance": 2475, "carrier": "AA", "night": True}
    at = "2013-01-01T12:00:00Z"
    one = client("POST", "/predict", json={"entities": entities, "values": values, "at": at, "id": "a"})
    night = {"request": {"night": True}, "values": {"distance": 2475, "carrier": "AA"}}
    other = client("POST", "/predict", json={"entities": entities, **night, "at": at, "id": "b"})
    assert one.status_code == 200
    assert {**one.json(), "id": "b"} == other.json()
    twice = client("POST", "/predict", json={"entities": entities, "values": values, "request": {"night": True}})
    assert twice.status_code == 400
    assert "'night' stands in values and in request" in twice.json()["error"]

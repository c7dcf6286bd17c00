from __future__ import annotations

import signal
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial

import httpx
import pytest
from openapi_spec_validator import validate

from tests.servers import redis_server
from tests.serving.conftest import deployed, read, score
from tests.serving.test_app import Client
from trivet.clock import FixedClock
from trivet.errors import NotFound, TrivetError
from trivet.features import Entity, FeatureView, Source, count, latest, resolve
from trivet.features.online.contract import Row
from trivet.features.online.memory import MemoryStore
from trivet.features.online.redis import RedisStore
from trivet.features.served import ServedFeatures
from trivet.serving.app import App
from trivet.serving.features import FeatureRoute, FeatureService
from trivet.serving.predictor import Predictor
from trivet.serving.service import run

NOON = datetime(2013, 1, 1, 12, tzinfo=UTC)
MICROS = 1_357_041_600_000_000
HOUR = 3_600_000_000
ORIGIN, SOURCE = Entity("origin"), Source("s", event_time="t")
WEATHER = FeatureView(
    "weather", entity=ORIGIN, source=SOURCE, features={"temp": latest("temp"), "wind": latest("wind")}, ttl="2h"
)
TRAFFIC = FeatureView("traffic", entity=ORIGIN, source=SOURCE, features={"late": count("1h")})
NEVER = FeatureView("never", entity=ORIGIN, source=SOURCE, features={"filled": latest("filled")})


@pytest.fixture
def route():
    store = MemoryStore()
    store.write(WEATHER.online_name, [(("JFK",), Row(MICROS, [21.5, None], [MICROS, MICROS - 1]))], watermark=MICROS)
    store.write(TRAFFIC.online_name, [(("JFK",), Row(MICROS, [3], [MICROS]))], watermark=MICROS)
    selected = resolve([WEATHER, TRAFFIC, NEVER])
    served = ServedFeatures(selected, store, {"delays": ["weather:temp", "traffic:late"]})
    return FeatureRoute(
        served.reader,
        keys=served.keys,
        features=served.features,
        services=served.services,
        clock=FixedClock(NOON),
        most_rows=3,
    )


@pytest.fixture
def client(route):
    return Client(FeatureService(route, most_bytes=1000))


def ask(client, **body):
    return client("POST", "/features", json=body)


def test_one_entity_has_values_times_and_statuses(client):
    answer = ask(client, entities={"origin": "JFK"})
    assert answer.status_code == 200
    assert answer.json() == {
        "values": {"weather:temp": 21.5, "weather:wind": None, "traffic:late": 3, "never:filled": None},
        "times": {
            "weather:temp": "2013-01-01T12:00:00Z",
            "weather:wind": "2013-01-01T11:59:59.999999Z",
            "traffic:late": "2013-01-01T12:00:00Z",
            "never:filled": None,
        },
        "status": {
            "weather:temp": "present",
            "weather:wind": "null",
            "traffic:late": "present",
            "never:filled": "unmaterialized",
        },
    }


def test_many_entities_are_answered_in_order(client):
    answers = ask(client, entities=[{"origin": "LGA"}, {"origin": "JFK"}, {"origin": None}], features="delays").json()
    assert [one["values"] for one in answers] == [
        {"weather:temp": None, "traffic:late": 0},
        {"weather:temp": 21.5, "traffic:late": 3},
        {"weather:temp": None, "traffic:late": None},
    ]
    assert {state for one in answers[::2] for state in one["status"].values()} == {"missing"}
    assert ask(client, entities=[]).json() == []


def test_what_is_too_old_at_the_moment_asked_for_is_expired(client):
    edge = ask(client, entities={"origin": "JFK"}, features=["weather:temp"], at="2013-01-01T13:59:59.999999Z").json()
    over = ask(client, entities={"origin": "JFK"}, features=["weather:temp"], at="2013-01-01T14:00:00Z").json()
    assert (edge["status"], over["status"]) == ({"weather:temp": "present"}, {"weather:temp": "expired"})


def test_features_are_named_by_reference_by_view_and_by_set(client):
    for wanted, names in (
        (["weather:*"], ["weather:temp", "weather:wind"]),
        ("traffic:late", ["traffic:late"]),
        (["delays", "weather:wind", "delays"], ["weather:temp", "traffic:late", "weather:wind"]),
    ):
        assert sorted(ask(client, entities={"origin": "JFK"}, features=wanted).json()["values"]) == sorted(names)


@pytest.mark.parametrize(
    ("content", "status", "told"),
    [
        (b"", 400, "no request"),
        (b"\xff", 400, "no request"),
        (b'{"entities": 3}', 400, "no request"),
        (b'{"entities": {"origin": "JFK"}, "more": 1}', 400, "no request"),
        (b'{"features": ["weather:*"]}', 400, "no request"),
        (b'{"entities": {"airport": "JFK"}}', 400, "lacks the key 'origin'"),
        (b'{"entities": {"origin": ["JFK"]}}', 400, "a key is text"),
        (b'{"entities": {"origin": 99999999999999999999999}}', 400, "64 bits"),
        (b'{"entities": [{}, {}, {}, {}]}', 400, "3 is the most"),
        (b'{"entities": {"origin": "JFK"}, "at": "noon"}', 400, "not a time"),
        (b'{"entities": {"origin": "JFK"}, "at": "2013-01-01T12:00:00"}', 400, "no time zone"),
        (b'{"entities": {"origin": "JFK"}, "at": "2012-01-01T12:00:00Z"}', 400, "cannot say what was known"),
        (b'{"entities": {"origin": "JFK"}, "features": ["wether:temp"]}', 404, "Did you mean 'weather:temp'"),
        (b'{"entities": {"origin": "JFK"}, "features": ["planes:*"]}', 404, "planes:*"),
        (b" " * 2000, 413, "too large"),
    ],
)
def test_a_fault_of_the_caller_is_a_sentence(client, content, status, told):
    answer = client("POST", "/features", content=content)
    assert answer.status_code == status
    assert told in answer.json()["error"]


def test_pages_and_methods(client):
    about = client("GET", "/").json()
    assert (about["keys"], about["services"]) == (["origin"], ["delays"])
    assert client("GET", "/health").json() == {"status": "ok"}
    assert client("GET", "/features").status_code == 405
    assert client("GET", "/predict").status_code == 404
    document = client("GET", "/openapi.json").json()
    validate(document)
    assert "/features" in document["paths"]


def test_a_store_that_cannot_be_understood_is_a_fault_of_ours_with_an_id(caplog):
    class Broken:
        names = ("v:f",)

        def rows(self, entities, at, request):
            raise TrivetError("The store holds something else.")

    service = FeatureService(FeatureRoute(lambda wanted: Broken(), keys=["k"], features=["v:f"]))
    answer = ask(Client(service), entities={"k": 1})
    assert answer.status_code == 500
    assert answer.json()["error"].startswith("The store holds something else.")
    assert answer.json()["id"] in caplog.text


class TestRedis:
    """Features in a store that may go away."""

    @pytest.fixture
    def server(self):
        with redis_server() as running:
            yield running

    @pytest.fixture
    def route(self, server):
        store = RedisStore(f"redis://127.0.0.1:{server.port}/0", timeout=2)
        self.fill = partial(
            store.write, WEATHER.online_name, [(("JFK",), Row(MICROS, [21.5, 3.0], [MICROS] * 2))], watermark=MICROS
        )
        self.fill()
        served = ServedFeatures(resolve([WEATHER]), store)
        yield FeatureRoute(
            served.reader, keys=served.keys, features=served.features, clock=FixedClock(NOON), waits=served.remote
        )
        store.close()

    @pytest.fixture
    def app(self, route):
        class Reader:
            def __call__(self, entities, at):
                route._form(("weather:temp",))(entities, at, [{}] * len(entities))
                return read(entities, at)

        return App([Predictor(deployed(), Reader(), score)], features=route)

    def test_a_store_that_is_gone_is_a_503_until_it_is_back(self, server, app):
        client, entity = Client(app), {"origin": "JFK"}
        asked = {"entities": entity, "values": {"distance": 400, "carrier": "AA", "night": True}, "id": "one"}

        def statuses():
            return [client("POST", path, json=body) for path, body in paths.items()]

        paths = {"/features": {"entities": entity}, "/predict": asked}
        server.stop()
        for answer in statuses():
            assert (answer.status_code, list(answer.json())) == (503, ["error"])
            assert "does not answer" in answer.json()["error"]
        assert client("GET", "/health").status_code == 200
        server.start()
        self.fill()
        assert [answer.status_code for answer in statuses()] == [200, 200]  # under the same id

    def test_while_the_store_hangs_others_are_answered(self, server, app):
        with listening(app) as url, httpx.Client(base_url=url, timeout=20) as client:
            server.signal(signal.SIGSTOP)
            try:
                hung = []
                asking = threading.Thread(
                    target=lambda: hung.append(
                        httpx.post(f"{url}/features", json={"entities": {"origin": "JFK"}}, timeout=20)
                    )
                )
                asking.start()
                time.sleep(0.2)
                began = time.monotonic()
                assert client.get("/health").status_code == 200
                assert time.monotonic() - began < 1
                asking.join()
            finally:
                server.signal(signal.SIGCONT)
            assert hung[0].status_code == 503
            assert (
                client.post("/features", json={"entities": {"origin": "JFK"}}).json()["values"]["weather:temp"] == 21.5
            )


@contextmanager
def listening(app):
    """The address of a service in a thread of this process, for as long as the test runs."""
    ready, port = threading.Event(), []

    def answers(_, own):
        port.append(own)
        ready.set()

    threading.Thread(target=run, args=(app,), kwargs={"port": 0, "on_ready": answers}, daemon=True).start()
    assert ready.wait(20)
    yield f"http://127.0.0.1:{port[0]}"


def test_what_is_not_served_cannot_be_in_a_set():
    with pytest.raises(NotFound, match="planes:seats"):
        ServedFeatures(resolve([WEATHER]), MemoryStore(), {"all": ["planes:seats"]})


def test_beside_a_model(route, log):
    app = App([Predictor(deployed(), read, score, log)], features=route)
    client = Client(app)
    assert ask(client, entities={"origin": "JFK"}, features="weather:temp").json()["values"] == {"weather:temp": 21.5}
    assert "/features" in client("GET", "/").json()["paths"]
    document = client("GET", "/openapi.json").json()
    validate(document)
    assert {"FeatureRequest", "FeatureVector", "Request"} <= set(document["components"]["schemas"])
    alone = Client(App([Predictor(deployed(), read, score, log)]))
    assert ask(alone, entities={"origin": "JFK"}).status_code == 404


class TestPush:
    @pytest.fixture
    def pushed(self):
        return []

    @pytest.fixture
    def client(self, route, pushed):
        def push(source, events):
            if source != "flights":
                raise NotFound("table", source, ["flights"])
            pushed.extend(events)
            return {"updated": {"congestion": len(events)}}

        return Client(FeatureService(route, push=push, most_bytes=1000))

    def test_one_event_or_several(self, client, pushed):
        assert client("POST", "/push/flights", json={"n": 1}).json() == {"updated": {"congestion": 1}}
        assert client("POST", "/push/flights", json=[{"n": 2}, {"n": 3}]).json() == {"updated": {"congestion": 2}}
        assert [event["n"] for event in pushed] == [1, 2, 3]

    def test_a_missing_column_is_a_fault_of_the_body(self, route):
        def push(source, events):
            raise NotFound("column in the rows for table 'flights' called", "at", ["n"])

        answer = Client(FeatureService(route, push=push))("POST", "/push/flights", json={"n": 1})
        assert answer.status_code == 400
        assert "There is no column in the rows for table 'flights' called 'at'" in answer.text

    def test_bad_pushes_are_sentences_and_push_nothing(self, client, pushed):
        assert client("POST", "/push/orders", json={"n": 1}).status_code == 404
        for body in (b"", b"[1]", b"3", b'{"n":'):
            answer = client("POST", "/push/flights", content=body)
            assert (answer.status_code, "holds no events" in answer.json()["error"]) == (400, True)
        assert client("GET", "/push/flights").status_code == 405
        assert client("POST", "/push/flights", json={"n": "x" * 2000}).status_code == 413
        assert (
            client("POST", "/push/flights", json={"n": 1}, headers={"origin": "http://evil.example"}).status_code == 403
        )
        assert pushed == []

    def test_the_document_describes_it_where_it_is_there(self, client, route):
        document = client("GET", "/openapi.json").json()
        validate(document)
        assert "/push/{source}" in document["paths"]
        without = Client(FeatureService(route))
        assert "/push/{source}" not in without("GET", "/openapi.json").json()["paths"]
        assert without("POST", "/push/flights", json={}).status_code == 404


def test_values_and_request_are_two_names_of_the_same(client):
    from trivet.serving.features import _parsed, _sent

    bodies = [b'{"entities": {}, "values": {"m": 1}}', b'{"entities": {}, "request": {"m": 1}}']
    assert [_sent(_parsed(body), 2) for body in bodies] == [[{"m": 1}] * 2] * 2
    answer = ask(client, entities={"origin": "JFK"}, values={"m": 1}, request={"m": 1})
    assert answer.status_code == 400
    assert "two names of the same" in answer.json()["error"]

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request
from contextlib import contextmanager

import polars as pl
import pytest

import trivet as tv

_SERVE = """
import sys
import trivet as tv
with tv.open(sys.argv[1]) as project:
    project.serve_features(["delays", "weather:wind"], port=0, ready=lambda address: print(address, flush=True))
"""


@pytest.fixture
def project(tmp_path):
    rows = pl.DataFrame({"place": ["Graz"], "hour": ["2026-01-01T10:00Z"], "temp": [21.5], "wind": [3]})
    rows.write_parquet(tmp_path / "weather.parquet")
    source = tv.Source("weather", "weather.parquet", event_time="hour")
    view = tv.FeatureView("weather", entity=tv.Entity("place"), source=source, features=["temp", "wind"])
    with tv.open(tmp_path) as project:
        project.define(view, tv.FeatureService("delays", ["weather:temp"]))
        project.materialize(["weather"])
        yield project


@contextmanager
def serving(project):
    command = [sys.executable, "-c", _SERVE, str(project.root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def ask(address, **body):
    request = urllib.request.Request(f"{address}/features", json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)["values"]


def test_a_server_is_on_record_from_its_first_answer_to_its_end(project):
    assert project.feature_servers() == []
    with serving(project) as (process, address):
        assert ask(address, entities={"place": "Graz"}) == {"weather:temp": 21.5, "weather:wind": 3}
        [server] = project.feature_servers()
        assert (server.name, server.state, server.address) == ("delays, weather", "alive", address)
        assert (server.features, server.services) == (("weather:temp", "weather:wind"), ("delays",))
        assert server.to_json()["id"] == server.id
        for name in ("weather", "delays"):
            [use] = project.usage(name).of("feature_server")
            assert (use.id, use.version, use.alive) == (server.id, 1, True)
        materialized = project.runs(kind="materialize")[0].outputs["online_features"]
        assert project.context.ledger.run(server.id).inputs["online.weather"] == materialized
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    [server] = project.feature_servers()
    assert server.state == "stopped"
    assert server.ended is not None
    assert project.usage("weather").of("feature_server")[0].alive is False


def test_a_server_that_was_killed_is_not_alive(project):
    with serving(project) as (process, _):
        process.kill()
        process.wait(20)
    assert [server.state for server in project.feature_servers()] == ["stopped"]


def test_a_server_that_never_answered_is_not_on_record(project):
    with pytest.raises(tv.errors.Refused):
        project.serve_features(["weather"], host="0.0.0.0", port=0)
    assert project.feature_servers() == []

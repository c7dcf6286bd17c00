from __future__ import annotations

import json
from datetime import UTC, datetime

from click.testing import CliRunner

import trivet as tv
from trivet.cli import main


def test_events_of_a_file_are_pushed_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with tv.open(tmp_path) as project:
        project.tables.create("flights", key="flight", event_time="dep", keep="first")
    moment = datetime.now(UTC).isoformat()
    events = [{"flight": number, "origin": "JFK", "dep": moment} for number in range(3)]
    (tmp_path / "events.jsonl").write_text("\n".join(map(json.dumps, events)))

    def push(*words, code=0):
        done = CliRunner().invoke(main, ["push", *words])
        assert done.exit_code == code, done.output
        return done.output

    assert "3 rows, 3 new; online: no view reads it" in push("flights", "events.jsonl")
    with tv.open(tmp_path) as project:
        flights = project.tables.source("flights")
        view = tv.FeatureView("traffic", entity=tv.Entity("origin"), source=flights, features={"n": tv.count("1d")})
        project.define(view)
    told = json.loads(push("flights", "events.jsonl", "--json"))
    assert (told["table"]["repeated"], told["updated"]) == (3, {"traffic": 1})
    with tv.open(tmp_path) as project:
        assert project.online_features("traffic:*", {"origin": "JFK"})[0].values == {"traffic:n": 3}
    assert "no_such.jsonl" in push("flights", "no_such.jsonl", code=1)

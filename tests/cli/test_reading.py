"""The commands that only read: what people see, what machines get, and what is said to a wrong word."""

from __future__ import annotations

import json
import subprocess

import pytest

import trivet as tv
from tests.server.small_project import HOSTILE


def lines(done):
    assert done.exit_code == 0, done.output
    return done.stdout.splitlines()


def test_runs(small, trivet, answer):
    data = answer("runs", "--kind", "experiment")
    assert [run["id"] for run in data] == [small.second, small.experiment]
    assert data[0]["metrics"]["endless"] is None
    shown = lines(trivet("runs", "--kind", "experiment"))
    assert shown[0].split() == ["run", "kind", "name", "status", "started", "took", "metrics"]
    assert shown[1].startswith(f"{small.second}  experiment  try {HOSTILE}")
    assert "auc=0.74" in shown[1]
    assert all(line == line.rstrip() for line in shown)
    assert len(lines(trivet("runs", "--limit", 2))) == 3
    assert lines(trivet("runs", "--name", "nobody")) == ["No such runs."]


def test_features(small, trivet, answer):
    [view] = answer("features")
    assert (view["name"], view["version"]) == ("weather", 1)
    assert "wind_1h" in "\n".join(lines(trivet("features")))
    assert "wind_1h = mean('wind', '3h')" in "\n".join(lines(trivet("features", "weather")))
    assert answer("features", "weather")["digest"] == view["digest"]


def test_models(small, trivet, answer):
    gated, ungated = answer("models")
    assert (gated["name"], gated["aliases"], gated["gate"]) == ("delay", ["champion"], "pass")
    assert ungated["gate"] == "no gate report"
    shown = "\n".join(lines(trivet("models", "delay@champion")))
    assert "Gate delay: PASS" in shown
    assert "place=A" in shown
    assert answer("models", "delay@1")[0]["digest"] == small.model


def test_show_a_model_a_run_an_artifact(small, trivet, answer):
    shown = "\n".join(lines(trivet("show", "delay@champion")))
    assert "predicts" in shown
    assert "weather:wind_1h" in shown
    assert "{" not in shown
    assert answer("show", "delay@champion")["digest"] == small.model
    run = "\n".join(lines(trivet("show", f"run:{small.experiment}")))
    assert "depth  3" in run
    assert " UTC" in run
    assert answer("show", small.experiment)["parameters"] == {"depth": 3}
    assert answer("show", f"gate_report:{small.gate_report[:12]}")["spec"]["verdict"] == "pass"


@pytest.fixture
def uncommitted(tmp_path):
    """A run in a repository: its id, and the bytes that nobody committed."""
    git = ["git", "-C", tmp_path, "-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run([*git, *words], check=True)
    (tmp_path / "train.py").write_bytes(b"name = 'caf\xe9'\r\nend = 1")
    (tmp_path / ".env").write_text("TOKEN=hunter2")
    with tv.open(tmp_path) as project:
        with project.run("x") as run:
            pass
        return run.id


def test_show_what_was_not_committed(uncommitted, trivet, answer, tmp_path):
    patch = answer("show", f"run:{uncommitted}")["tags"]["git.patch"]
    shown = "\n".join(lines(trivet("show", uncommitted)))
    assert f"uncommitted  trivet show patch:{patch[:12]}" in shown
    assert "git.patch" not in shown
    done = trivet("show", f"patch:{patch[:12]}")
    assert done.stdout_bytes.startswith(f"# patch:{patch[:12]}: what was not committed on top of ".encode())
    assert b'# left out: ".env", may hold a secret\n' in done.stdout_bytes
    assert b"hunter2" not in done.stdout_bytes
    fresh = tmp_path / "fresh"
    subprocess.run(["git", "clone", "-q", tmp_path, fresh], check=True, capture_output=True)
    subprocess.run(["git", "-C", fresh, "apply", "-"], check=True, input=done.stdout_bytes)
    assert (fresh / "train.py").read_bytes() == (tmp_path / "train.py").read_bytes()
    assert answer("show", f"patch:{patch}")["spec"]["left_out"] == [{"name": ".env", "why": "may hold a secret"}]


def test_show_a_prediction(small, trivet, answer):
    name = f"prediction:{small.predictions[0]}"
    shown = lines(trivet("show", name))
    assert shown[0] == name
    [wind] = [line for line in shown if line.startswith("weather:wind_1h")]
    assert wind.endswith("present")
    assert "feature" in wind
    assert "UTC" in wind
    assert "+00:00" not in "\n".join(shown)
    data = answer("show", name)
    assert data["id"] == small.predictions[0]
    assert set(data["features"]) == {"weather:wind_1h"}


def test_lineage_both_ways(small, trivet, answer):
    tree = lines(trivet("lineage", f"training_set:{small.training_set[:12]}"))
    assert tree[0].startswith("training_set:")
    assert any("sources.readings: source:" in line and "(readings.parquet)" in line for line in tree)
    down = answer("lineage", "delay@champion", "--down")
    assert small.deployment in down["runs"]
    assert len(answer("lineage", f"training_set:{small.training_set}", "--depth", 0)["artifacts"]) == 1


def test_lineage_of_a_prediction_names_the_deployment_the_gate_and_the_model(small, trivet, answer):
    name = f"prediction:{small.predictions[0]}"
    tree = "\n".join(lines(trivet("lineage", name)))
    for word in (name, f"run:{small.deployment}", f"gate_report:{small.gate_report[:12]}", f"model:{small.model[:12]}"):
        assert word in tree
    data = answer("lineage", name)
    assert (data["prediction"], data["deployment"]) == (small.predictions[0], small.deployment)


def test_compare_and_diff(small, trivet, answer):
    assert "depth" in "\n".join(lines(trivet("compare", small.experiment, small.second)))
    assert answer("compare", small.experiment, small.second)
    assert answer("diff", "delay@1", "ungated@1")
    assert lines(trivet("diff", "delay@1", "ungated@1"))


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["modles"], 2, "Did you mean 'models'"),
        (["show"], 2, "Missing argument"),
        (["runs", "--status", "done"], 2, "is not one of"),
        (["runs", "--limit", "-1"], 2, "-1"),
        (["models", "dely"], 1, "Did you mean 'delay'"),
        (["models", "delay@7"], 1, "delay@1"),
        (["features", "wether"], 1, "Did you mean 'weather'"),
        (["show", "prediction:nothing"], 1, "There is no prediction 'nothing'"),
        (["show", "prediction:"], 1, "A shortened id needs 6 characters"),
        (["show", "!!"], 1, "is not a reference"),
        (["lineage", "zzzzzzz"], 1, "There is no"),
        (["compare", "delay@1"], 1, "only runs are compared"),
        (["diff", "delay@1"], 2, "Missing argument"),
        (["monitor", "nobody"], 1, "There is no deployment 'nobody'"),
        (["why", "nobody"], 1, "nobody"),
        (["promote", "delay", "9"], 1, "delay@1"),
        (["promote", "delay", "nine"], 2, "not a valid integer"),
        (["runs", "--project", "/nowhere/at/all"], 1, "There is no folder"),
        (["serve", "ungated@1"], 1, "gate report"),
        (["server", "--host", "0.0.0.0"], 1, "reachable from other machines"),
    ],
)
def test_wrong_words_get_a_sentence(small, trivet, words, code, said):
    done = trivet(*words)
    assert done.exit_code == code, done.output
    assert said in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    if code == 1:
        told = trivet(*words, "--json")
        assert told.exit_code == 1
        assert said in json.loads(told.stdout)["message"]
        assert told.stderr == ""


def test_markup_in_a_message_is_left_alone(small, trivet):
    done = trivet("models", "[bold]x[/bold]")
    assert "[bold]x[/bold]" in done.stderr


def test_outside_a_project_nothing_is_wrong(trivet):
    assert "".join(lines(trivet("runs"))).startswith("Nothing is recorded yet in /")
    assert lines(trivet("models")) == ["No model is registered yet."]
    assert lines(trivet("features")) == ["No features are defined yet."]
    assert lines(trivet("monitor")) == ["Nothing is deployed."]


def test_runs_are_searched_counted_and_exported(small, trivet, answer, tmp_path):
    query = f"params.depth is not null and id = '{small.experiment}'"
    assert [run["id"] for run in answer("runs", query)] == [small.experiment]
    assert answer("runs", "kind = 'experiment'", "--count")["count"] == len(answer("runs", "--kind", "experiment"))
    first = answer("runs", "--order", "started", "--columns", "id,params.depth", "--limit", 1)
    assert list(first[0]) == ["id", "params.depth"]
    file = tmp_path / "runs.csv"
    assert answer("runs", query, "--export", file)["runs"] == 1
    assert small.experiment in file.read_text()
    shown = trivet("compare", "--where", "params.depth is not null", "--order", "started")
    assert "depth" in "\n".join(lines(shown))


@pytest.mark.parametrize("words", [["runs", "nmae = 'x'"], ["runs", "--order", "nmae"]])
def test_a_mistake_in_a_query_is_pointed_at(trivet, words):
    done = trivet(*words)
    assert done.exit_code == 1
    assert "Did you mean 'name'" in done.output
    assert "^^^^" in done.output

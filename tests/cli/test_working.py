"""The commands that do something: make a project, run a pipeline, promote, monitor, serve, make again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest

import trivet as tv
from tests.server.small_project import PIPELINE, START
from trivet.features.skew.report import FeatureSkew, SkewReport

SOURCE = Path(__file__).parents[2] / "src"


@pytest.fixture
def started(small):
    """Start a command that goes on until it is stopped, and answer its process and its first JSON object."""
    processes = []

    def start(*words: str):
        process = subprocess.Popen(
            [sys.executable, "-m", "trivet", *words, "--json"], cwd=small.root, text=True,
            env=os.environ | {"PYTHONPATH": str(SOURCE)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        processes.append(process)
        text = ""
        for line in process.stdout:
            text += line
            if line == "}\n":
                break
        return process, json.loads(text)

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def test_init(trivet, answer, tmp_path):
    done = trivet("init", "flights")
    assert done.exit_code == 0
    assert "A project in" in done.stdout
    assert (tmp_path / "flights/trivet.toml").read_text().startswith("# A Trivet project.")
    assert ".trivet/" in (tmp_path / "flights/.gitignore").read_text()
    again = trivet("init", "flights")
    assert (again.exit_code, again.stdout) == (1, "")
    assert "exists already" in again.stderr
    assert answer("init", "other")["project"] == str(tmp_path / "other")


def test_init_keeps_what_git_ignores_already(trivet, tmp_path):
    (tmp_path / ".gitignore").write_text("data/\n")
    trivet("init")
    assert (tmp_path / ".gitignore").read_text() == "data/\n.trivet/\n"


def test_run_then_run_again_from_the_cache_then_why(trivet, answer, tmp_path):
    (tmp_path / "pipeline.py").write_text(PIPELINE)
    done = trivet("run", ".", "--number", "4")
    assert done.exit_code == 0, done.output
    assert "double" in done.stdout
    assert "doubled=8" in done.stdout
    assert "twice finished as run:" in done.stdout
    assert [line.partition(" in ")[0] for line in done.stderr.splitlines()] == [
        "[0/1] double started",
        "[1/1] double finished",
    ]
    data = answer("run", "pipeline.py", "twice", "--number=4")
    assert data["steps"]["double"]["status"] == "cached"
    assert "double" in trivet("why", "double").stdout
    assert answer("why", "double")
    forced = answer("run", ".", "twice", "--force", "double", "--number", 4)
    assert forced["steps"]["double"]["status"] == "finished"


def test_a_run_that_is_interrupted_says_so_and_leaves_with_130(trivet, tmp_path):
    text = PIPELINE.replace("return {", "import time; time.sleep(60); return {")
    (tmp_path / "pipeline.py").write_text(text)
    process = subprocess.Popen(
        [sys.executable, "-m", "trivet", "run", "."], text=True, env=os.environ | {"PYTHONPATH": str(SOURCE)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    first = process.stderr.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert first == "[0/1] double started\n"
    assert (process.returncode, out) == (130, "")
    assert err.splitlines()[-1].startswith("Interrupted.")
    assert "Traceback" not in err
    assert {run.status for run in tv.open(tmp_path).runs()} == {"killed"}


def test_a_step_that_fails_says_what_it_raised(trivet, tmp_path):
    text = PIPELINE.replace("return {", "raise ValueError('no [bold]flight[/bold]'); return {")
    (tmp_path / "pipeline.py").write_text(text)
    done = trivet("run", ".")
    assert done.exit_code == 1
    assert "Step 'double' of pipeline 'twice' failed" in done.stderr
    assert "no [bold]flight[/bold]" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["nowhere"], 2, "does not exist"),
        ([".", "thrice"], 1, "There is no pipeline 'thrice'"),
        ([".", "--numbr", "4"], 1, "number"),
        ([".", "--number"], 1, "--number needs a value"),
        ([".", "twice", "4"], 1, "is no option"),
        ([".", "--number", "four"], 1, "number"),
    ],
)
def test_run_with_wrong_words(trivet, tmp_path, words, code, said):
    (tmp_path / "pipeline.py").write_text(PIPELINE)
    done = trivet("run", *words)
    assert done.exit_code == code, done.output
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_promote_moves_an_alias_with_its_reason(small, trivet, answer):
    assert (
        "delay@staging is now version 1" in trivet("promote", "delay", 1, "--alias", "staging", "--why", "try").stdout
    )
    with tv.open(small.root) as project:
        assert project.model("delay@staging").version == 1
    assert answer("promote", "delay", 1, "--alias", "staging")["aliases"] == ["champion", "staging"]


def test_monitor_leaves_with_1_while_an_alarm_is_open(small, trivet, answer):
    done = trivet("monitor", "delay")
    assert done.exit_code == 1, done.output
    assert "ALARM" in done.stdout
    assert done.stdout.splitlines()[0].startswith("delay@1 at ")
    [report] = answer("monitor", "delay", code=1)
    assert report["predictions"] == 120


def test_the_pages_are_served_until_ctrl_c(started):
    process, said = started("server", "--port", "0")
    with urlopen(f"{said['address']}/health", timeout=30) as response:
        assert json.load(response)["status"] == "ok"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (0, "", "")


def test_a_model_without_evidence_is_served_for_a_reason_that_is_kept(small, started, trivet, answer):
    process, said = started("serve", "ungated@1", "--port", "0", "--allow-ungated", "a test of the harness")
    with urlopen(f"{said['address']}/v2/health/ready", timeout=30) as response:
        assert response.status == 200
    done = trivet("retire", said["deployment"], "--why", "the test is over")
    assert (done.exit_code, "still answers" in done.stderr) == (1, True)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (0, "", "")
    with tv.open(small.root) as project:
        deployment = project.deployment(said["deployment"])
        assert (deployment.gate, deployment.state) == ("ungated", "stopped")
        reason = project.context.ledger.run(deployment.override)
        assert "a test of the harness" in str(reason)
        assert reason.user == project.context.user
    assert trivet("retire", said["deployment"]).exit_code == 2
    assert answer("retire", said["deployment"], "--why", "the test is over")["state"] == "retired"


def test_reproduce_a_prediction_here(small, trivet, answer):
    name = f"prediction:{small.predictions[0]}"
    done = trivet("reproduce", name, "--environment", "current")
    assert done.exit_code == 0, done.output
    assert "bytes" in done.stdout
    assert trivet("reproduce", name, "--environment", "other").exit_code == 2


def test_an_audit_compares_what_was_served(small, trivet, answer):
    assert "never audited" in trivet("monitor", "delay").stdout
    done = trivet("features", "audit", "delay", "--rows", 30)
    assert done.exit_code == 0, done.output
    assert "30 served predictions computed again, 30 values: no skew" in done.stdout
    [report] = answer("features", "audit", "--rows", 20, "--seed", 1)
    assert (report["ok"], report["cells"], report["features"][0]["feature"]) == (True, 20, "weather:wind_1h")
    [report] = answer("monitor", "delay", "--audit", code=1)
    assert report["skew"]["rows"] == 20  # it was not due
    assert "0 of 20 values differ, audited" in trivet("monitor", "delay").stdout
    assert trivet("features", "audit", "nobody").exit_code == 1


def test_an_audit_that_finds_skew_leaves_with_1(small, trivet, monkeypatch):
    skew = FeatureSkew(feature="weather:wind_1h", rows=120, mismatches=3, causes={"unknown": 3})
    found = SkewReport(deployment=small.deployment, model="delay@1", at=START, rows=120, features=[skew])
    monkeypatch.setattr(tv.Project, "audit", lambda *_, **__: found)
    done = trivet("features", "audit", "delay")
    assert done.exit_code == 1
    assert "3 DIFFERENT" in done.stdout


def test_why_two_pipelines_differ(trivet, answer, tmp_path):
    (tmp_path / "pipeline.py").write_text(PIPELINE)
    one, other = (answer("run", ".", "--number", number)["run"]["id"] for number in (4, 7))
    said = trivet("why", f"run:{one}", f"run:{other}", "--environment", "current", "--budget", "10m").stdout
    assert "parameters" in said
    assert "number: 4 -> 7" in said
    assert "Exact: all 2 combinations were measured." in said
    found = answer("why", f"run:{one}", f"run:{other}", "--environment", "current")
    (measure,) = found["measures"]
    assert (measure["name"], measure["split"]["shares"][0]["amount"]) == ("doubled", 6.0)
    assert answer("diff", f"run:{one}", f"run:{other}")["parameters"] == [{"name": "number", "before": 4, "after": 7}]
    assert "Error: There is no" in trivet("why", f"run:{one}", "nobody@1").stderr

import os
import subprocess
import sys

import msgspec
import pytest

from tests.pipelines.workshop import build, tidy
from trivet.errors import Conflict, Invalid
from trivet.pipelines import values
from trivet.pipelines.recording import begin, project_folders, record, settle_abandoned, variables

SOURCE = """
def joined(spine, sources, label: str = "late"):
    return {"rows": len(spine), "tables": len(sources)}

def broken(spine):
    raise ValueError("no rows")

def interrupted():
    raise KeyboardInterrupt

@tv.task(outputs=("low", "high"))
def halves(values):
    return values[: len(values) // 2], values[len(values) // 2 :]
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    built = build(tmp_path_factory.mktemp("recording"), SOURCE)
    yield built
    tidy(built)


def test_a_call_in_process_is_recorded_like_a_task(shop):
    spine = values.save([1, 2], shop.context)
    flights = values.save([3], shop.context)
    parent = begin(shop.context, kind="experiment", name="outer")
    run, outputs, value = record(
        shop.context,
        "training_set",
        "late",
        shop.module.joined,
        inputs={"spine": spine, "sources.flights": flights},
        parameters={"label": "late"},
        parent=parent.id,
        tags={"asked": "by hand"},
    )
    assert value == {"rows": 2, "tables": 1}
    assert run == shop.context.ledger.run(run.id)
    assert (run.kind, run.name, run.status, run.parent) == ("training_set", "late", "finished", parent.id)
    assert run.inputs == {"spine": spine.digest, "sources.flights": flights.digest}
    assert run.outputs == {"result": outputs["result"].digest}
    assert values.load(outputs["result"], shop.context.blobs) == value
    assert run.metrics == {"rows": 2.0, "tables": 1.0}
    assert run.recipe.entry == f"{shop.name}:joined"
    assert run.recipe.threads >= 1
    assert run.recipe.active["python"] == ".".join(map(str, sys.version_info[:3]))
    assert (run.tags["asked"], run.tags["pid"]) == ("by hand", str(os.getpid()))
    assert shop.context.ledger.artifact(run.recipe.code).kind == "code"


def test_a_task_keeps_its_outputs(shop):
    numbers = values.save([1, 2, 3, 4], shop.context)
    run, outputs, _ = record(
        shop.context, "task", "halves", shop.module.halves, inputs={"values": numbers}, parameters={}
    )
    assert list(outputs) == ["low", "high"]
    assert run.outputs.keys() == {"low", "high"}


@pytest.mark.parametrize(
    ("name", "inputs", "error", "status", "said"),
    [
        ("broken", {"spine": [1]}, ValueError, "failed", "ValueError: no rows"),
        ("interrupted", {}, KeyboardInterrupt, "killed", "KeyboardInterrupt"),
    ],
)
def test_what_it_raises_is_recorded_and_raised(shop, name, inputs, error, status, said):
    given = {slot: values.save(value, shop.context) for slot, value in inputs.items()}
    with pytest.raises(error):
        record(shop.context, "task", name, getattr(shop.module, name), inputs=given, parameters={})
    (run,) = shop.runs(name=name)
    assert (run.status, run.error) == (status, said)


def test_a_function_without_a_name_is_refused_and_not_recorded(shop):
    with pytest.raises(Invalid, match="lambda"):
        record(shop.context, "task", "nameless", lambda: 1, inputs={}, parameters={})
    assert not shop.runs(name="nameless")


def test_runs_of_dead_processes_are_settled_with_their_steps(shop):
    gone = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True
    ).stdout.strip()
    dead = begin(shop.context, kind="pipeline", name="p", tags={"pid": gone})
    step = begin(shop.context, kind="task", name="s", parent=dead.id, tags={"pid": gone})
    reused = begin(shop.context, kind="pipeline", name="p", tags={"pid_started": "1"})
    living = begin(shop.context, kind="pipeline", name="p")
    unknown = begin(shop.context, kind="pipeline", name="p", tags={"pid": ""})
    other = begin(shop.context, kind="pipeline", name="q", tags={"pid": gone})
    far = msgspec.structs.replace(begin(shop.context, kind="pipeline", name="p", tags={"pid": gone}), host="elsewhere")
    shop.context.ledger.write(far)
    settled = settle_abandoned(shop.context, kind="pipeline", name="p")
    assert {run.id for run in settled} == {dead.id, step.id, reused.id}
    status = {run.id: run.status for run in shop.runs(limit=1000)}
    assert [status[run.id] for run in (dead, step, reused)] == ["killed"] * 3
    assert [status[run.id] for run in (living, unknown, other, far)] == ["running"] * 4


def test_a_settled_run_cannot_come_back(shop):
    run = begin(shop.context, kind="task", name="late")
    shop.context.ledger.write(msgspec.structs.replace(run, status="killed", ended=run.started))
    with pytest.raises(Conflict):
        shop.context.ledger.write(run)


def test_the_folders_of_a_project(shop, tmp_path):
    from trivet.pipelines.entry import Entry

    root = shop.context.root
    entries = [Entry("a:f", root / "src"), Entry("json:loads", None), Entry("b:f", tmp_path), Entry("c:f", tmp_path)]
    assert project_folders(shop.context, entries) == (root, tmp_path)


def test_variables_that_change_results(monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    monkeypatch.delenv("MKL_CBWR", raising=False)
    assert variables()["OPENBLAS_CORETYPE"] == "Haswell"
    assert "MKL_CBWR" not in variables()

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.pipelines.workshop import build, tidy
from trivet.config import Blobs
from trivet.errors import Invalid, NotFound, StepFailed
from trivet.pipelines.execution import Event, execute

FLOW = """
import random

@tv.task
def numbers(count: int = 4):
    return list(range(count))

@tv.task(outputs=("low", "high"))
def split(values, at: int = 2):
    return [v for v in values if v < at], [v for v in values if v >= at]

FACTOR = 1

def scaled(values):
    return [FACTOR * value for value in values]  # a helper

@tv.task
def total(values):
    print("adding", values)
    return {"total": sum(scaled(values))}

@tv.task(seed=7)
def draw(seed: int = 0):
    return [seed, random.random()]

@tv.task(cache=False)
def fresh():
    return 1

@tv.pipeline
def flow(count: int = 4, at: int = 2):
    low, high = split(numbers(count), at)
    fresh()
    return {"low": total(low), "high": total(high), "drawn": draw()}
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    built = build(tmp_path_factory.mktemp("flow"), FLOW)
    yield built
    tidy(built)


@pytest.fixture(scope="module")
def events():
    return []


@pytest.fixture(scope="module")
def first(shop, events):
    return execute(shop.context, shop.module.flow, {"count": 5}, progress=events.append)


def statuses(execution):
    return {name: run.status for name, run in execution.steps.items()}


# one run that goes well


def test_what_comes_out(first):
    assert first.value("total") == {"total": 1}
    assert first.value("total_2") == {"total": 9}
    assert first.value("split.high") == [2, 3, 4]
    assert first.artifact("numbers").kind == "json"
    assert list(first.steps) == ["numbers", "split", "fresh", "total", "total_2", "draw"]
    assert set(statuses(first).values()) == {"finished"}


def test_what_is_recorded(shop, first):
    ledger = shop.context.ledger
    pipeline = ledger.run(first.run.id)
    assert (pipeline.kind, pipeline.name, pipeline.status, pipeline.user) == ("pipeline", "flow", "finished", "ada")
    assert pipeline.parameters == {"count": 5}
    assert set(pipeline.outputs) == {"low", "high", "drawn"}
    step = ledger.run(first.steps["total_2"].id)
    assert step.parent == pipeline.id
    assert step.inputs == {"values": first.artifact("split.high").digest}
    assert step.outputs == {"result": first.artifact("total_2").digest}
    assert step.metrics == {"total": 9.0}
    assert [(metric.name, metric.value) for metric in ledger.metrics(step.id)] == [("total", 9.0)]
    assert step.recipe.entry == f"{shop.name}:total"
    assert ledger.artifact(step.recipe.code).kind == "code"
    assert ledger.artifact(step.recipe.environment).kind == "environment"
    assert step.recipe.active["python"] == ".".join(map(str, sys.version_info[:3]))
    assert step.key
    assert step.key_parts["threads"] == "1"
    log = ledger.artifact(step.tags["log"])
    assert shop.context.blobs.read(log.files["log.txt"].digest) == b"adding [2, 3, 4]\n"


def test_the_seed_reaches_the_function_and_the_generators(first):
    import random

    assert first.value("draw") == [7, random.Random(7).random()]
    assert first.steps["draw"].parameters == {"seed": 7}


def test_progress_is_told(first, events):
    assert all(isinstance(event, Event) for event in events)
    assert next(event.step for event in events if event.kind == "started") in ("numbers", "fresh", "draw")
    assert (events[-1].done, events[-1].total) == (6, 6)


def test_unknown_outputs_offer_the_nearest(first):
    with pytest.raises(NotFound, match=r"no output 'split'. Did you mean 'split.low'"):
        first.artifact("split")


# the cache


def test_again_nothing_runs_but_what_is_never_cached(shop, first):
    again = execute(shop.context, shop.module.flow, {"count": 5})
    assert statuses(again) == dict.fromkeys(first.steps, "cached") | {"fresh": "finished"}
    assert again.run.outputs == first.run.outputs
    assert again.steps["total"].tags["cached_from"] == first.steps["total"].id
    assert again.steps["total"].metrics == {"total": 1.0}
    third = execute(shop.context, shop.module.flow, {"count": 5})
    assert third.steps["total"].tags["cached_from"] == first.steps["total"].id


def test_a_parameter_runs_what_depends_on_it(shop, first):
    again = execute(shop.context, shop.module.flow, {"count": 5, "at": 3})
    assert statuses(again)["numbers"] == "cached"
    assert statuses(again)["split"] == "finished"
    assert again.value("total") == {"total": 3}


def test_force_runs_a_step_and_equal_content_stops_there(shop, first):
    again = execute(shop.context, shop.module.flow, {"count": 5}, force={"split"})
    assert statuses(again)["split"] == "finished"
    assert statuses(again)["total"] == "cached"
    with pytest.raises(NotFound, match="Did you mean 'split'"):
        execute(shop.context, shop.module.flow, {"count": 5}, force={"splti"})


def test_the_cache_can_be_left_aside(shop, first):
    assert "cached" not in statuses(execute(shop.context, shop.module.flow, {"count": 1}, cache=False)).values()
    assert "cached" not in statuses(execute(shop.context, shop.module.flow, {"count": 1}, cache=False)).values()


def test_lost_content_is_made_again(shop, first):
    execute(shop.context, shop.module.flow, {"count": 6})
    lost = execute(shop.context, shop.module.flow, {"count": 6}).artifact("numbers")
    digest = next(iter(lost.files.values())).digest
    for file in (shop.context.root / ".trivet" / "blobs").rglob(f"*{digest[4:]}*"):
        file.unlink()
    assert shop.context.blobs.missing([digest]) == {digest}
    again = execute(shop.context, shop.module.flow, {"count": 6})
    assert statuses(again)["numbers"] == "finished"
    assert again.steps["numbers"].tags["reason"] == "gone"
    assert again.value("numbers") == list(range(6))


def test_code_behind_a_task_counts_and_comments_do_not(tmp_path):
    shop = build(tmp_path, FLOW)
    try:
        flow = shop.module.flow
        execute(shop.context, flow, {})
        shop.edit("# a helper", "# the helper")
        assert statuses(execute(shop.context, flow, {}))["total"] == "cached"
        shop.edit("FACTOR = 1", "FACTOR = 10")
        changed = execute(shop.context, flow, {})
        assert statuses(changed)["total"] == "finished"
        assert statuses(changed)["split"] == "cached"
        assert changed.value("total_2") == {"total": 50}
    finally:
        tidy(shop)


# what goes wrong

TROUBLE = """
import os, signal, sys, time
from pathlib import Path

@tv.task
def good(value: int = 1):
    return value

@tv.task
def bad(how: str, value):
    print("about to", how)
    match how:
        case "raise": raise ValueError("no rows in train")
        case "kill": os.kill(os.getpid(), signal.SIGKILL)
        case "crash": os.abort()
        case "full": Path("/dev/full").write_text("x")
        case "memory": raise MemoryError
        case "exit": sys.exit(3)
        case "vanish": os._exit(0)
        case "object": return object()
        case "read": return sys.stdin.read()
    return value

@tv.task(outputs=("a", "b"))
def three():
    return 1, 2, 3

@tv.task
def after(value):
    return value

@tv.pipeline
def trouble(how: str):
    after(bad(how, good()))
    time_out = good(2)
    return after(time_out)

@tv.pipeline
def count_wrong():
    a, b = three()
    return a
"""


@pytest.fixture(scope="module")
def trouble(tmp_path_factory):
    built = build(tmp_path_factory.mktemp("trouble"), TROUBLE)
    yield built
    tidy(built)


@pytest.mark.parametrize(
    ("how", "status", "sentence"),
    [
        ("raise", "failed", "ValueError: no rows in train"),
        ("kill", "killed", "ended by SIGKILL. The system does that when memory runs out"),
        ("crash", "killed", "ended by SIGABRT. A library crashed"),
        ("full", "failed", "The disk is full"),
        ("memory", "failed", "The memory is used up"),
        ("exit", "failed", "sys.exit(3)"),
        ("vanish", "failed", "status 0 and left no result"),
        ("object", "failed", "object"),
    ],
)
def test_a_step_that_fails(trouble, how, status, sentence):
    events = []
    with pytest.raises(StepFailed) as caught:
        execute(trouble.context, trouble.module.trouble, {"how": how}, progress=events.append)
    failed = trouble.context.ledger.run(caught.value.run)
    assert (failed.name, failed.status) == ("bad", status)
    assert sentence in failed.error
    text = str(caught.value)
    assert (
        f"Step 'bad' of pipeline 'trouble' {'was killed' if status == 'killed' else 'failed'} (run {failed.id})" in text
    )
    assert sentence in text
    assert f"about to {how}" in text or how == "crash"  # the stack of the crash fills what is shown
    pipeline = trouble.context.ledger.run(failed.parent)
    assert pipeline.status == "failed"
    assert "\n" not in pipeline.error
    others = {run.name: run.status for run in trouble.runs(parent=pipeline.id) if run.name != "bad"}
    assert set(others) == {"good", "good_2", "after_2"}
    assert set(others.values()) <= {"finished", "cached"}
    assert [event.step for event in events if event.kind == "skipped"] == ["after"]


def test_the_log_holds_the_traceback_of_the_task_only(trouble):
    with pytest.raises(StepFailed) as caught:
        execute(trouble.context, trouble.module.trouble, {"how": "raise"})
    log = trouble.context.ledger.artifact(trouble.context.ledger.run(caught.value.run).tags["log"])
    text = trouble.context.blobs.read(log.files["log.txt"].digest).decode()
    assert "ValueError: no rows in train" in text
    assert f'{trouble.name}.py", line' in text
    assert "worker.py" not in text


def test_a_failure_is_never_cached(trouble):
    keys = set()
    for _ in range(2):
        with pytest.raises(StepFailed) as caught:
            execute(trouble.context, trouble.module.trouble, {"how": "raise"})
        keys.add(trouble.context.ledger.run(caught.value.run).key)
    assert len(keys) == 1


def test_standard_input_is_empty(trouble):
    assert execute(trouble.context, trouble.module.trouble, {"how": "read"}).value("bad") == ""


def test_a_wrong_number_of_outputs(trouble):
    with pytest.raises(StepFailed, match=r"declares the outputs a, b and returned a tuple of 3. Return a tuple of 2"):
        execute(trouble.context, trouble.module.count_wrong, {})


def test_what_is_refused_before_anything_runs(trouble):
    before = len(trouble.runs(limit=1000))
    with pytest.raises(Invalid, match="is no pipeline"):
        execute(trouble.context, trouble.module.good, {})
    with pytest.raises(Invalid, match="also needs 'how'"):
        execute(trouble.context, trouble.module.trouble, {})
    from dataclasses import replace

    import msgspec

    settings = msgspec.structs.replace(trouble.context.settings, blobs=Blobs("memory:"))
    with pytest.raises(Invalid, match="cannot reach blobs kept in memory"):
        execute(replace(trouble.context, settings=settings), trouble.module.trouble, {"how": "x"})
    assert len(trouble.runs(limit=1000)) == before


# side by side, interruptions, other processes

SLOW = """
import os, time
from pathlib import Path

@tv.task
def first():
    return 1

@tv.task
def nap(seconds: float, after):
    Path(f"started-{seconds}").write_text(str(os.getpid()))
    time.sleep(seconds)
    return seconds

@tv.pipeline
def naps(one: float = 0.5, two: float = 0.51):
    start = first()
    return nap(one, start), nap(two, start)

def main():
    import MODULE
    from tests.pipelines.workshop import open_context
    from trivet.pipelines.execution import execute
    context = open_context(Path.cwd())
    done = execute(context, MODULE.naps, {"one": 0.2, "two": float(os.environ["NAP"])})
    print(sorted(done.run.outputs.values()))

if __name__ == "__main__":
    main()
"""


@pytest.fixture(scope="module")
def slow(tmp_path_factory):
    built = build(tmp_path_factory.mktemp("slow"), SLOW)
    yield built
    tidy(built)


def start(shop, nap: str) -> subprocess.Popen:
    environment = os.environ | {"NAP": nap, "PYTHONPATH": os.pathsep.join(["src", "."])}
    environment["PYTHONPATH"] = os.pathsep.join(str(Path(folder).resolve()) for folder in ("src", "."))
    return subprocess.Popen(
        [sys.executable, str(shop.file)],
        cwd=shop.context.root,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for(condition, seconds: float = 20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def nap_until_started(shop, nap: str) -> tuple[subprocess.Popen, int]:
    mark = shop.context.root / f"started-{nap}"
    process = start(shop, nap)
    wait_for(lambda: mark.exists() and mark.read_text())
    pipeline = shop.runs(kind="pipeline", limit=1)[0]
    wait_for(lambda: any(run.status in ("finished", "cached") for run in shop.runs(parent=pipeline.id, name="nap")))
    return process, int(mark.read_text())


def test_steps_run_side_by_side(slow):
    done = execute(slow.context, slow.module.naps, {})
    one, two = done.steps["nap"], done.steps["nap_2"]
    assert max(one.started, two.started) < min(one.ended, two.ended)


def test_no_more_at_once_than_workers(tmp_path):
    shop = build(tmp_path, SLOW, workers=1)
    try:
        done = execute(shop.context, shop.module.naps, {"one": 0.01, "two": 0.02})
        one, two = done.steps["nap"], done.steps["nap_2"]
        assert one.ended <= two.started
    finally:
        tidy(shop)


@pytest.mark.parametrize(("number", "nap"), [(signal.SIGINT, "60.0"), (signal.SIGKILL, "61.0")])
def test_interrupted_and_run_again(slow, number, nap):
    process, worker = nap_until_started(slow, nap)
    assert is_alive(worker)
    process.send_signal(number)
    process.communicate(timeout=20)
    wait_for(lambda: not is_alive(worker))
    left = slow.runs(kind="pipeline", limit=1)[0]
    assert left.status == ("killed" if number == signal.SIGINT else "running")
    again = execute(slow.context, slow.module.naps, {"one": 0.2, "two": 0.3})
    assert (again.steps["first"].status, again.steps["nap"].status) == ("cached", "cached")
    assert slow.context.ledger.run(left.id).status == "killed"
    assert {run.status for run in slow.runs(parent=left.id)} <= {"finished", "cached", "killed"}
    assert not slow.runs(status="running")


def test_runs_of_another_host_are_left_alone(slow):
    from trivet.pipelines.recording import begin

    far = begin(slow.context, kind="pipeline", name="naps", tags={"pid": "1", "pid_started": "x"})
    import msgspec

    far = msgspec.structs.replace(far, host="elsewhere")
    slow.context.ledger.write(far)
    execute(slow.context, slow.module.naps, {"one": 0.2, "two": 0.3})
    assert slow.context.ledger.run(far.id).status == "running"


def test_two_processes_at_once_agree(slow):
    both = [start(slow, "0.4") for _ in range(2)]
    said = [process.communicate(timeout=60)[0] for process in both]
    assert said[0] == said[1]
    assert said[0].startswith("['")


def test_an_edit_while_it_runs_does_not_reach_later_steps(tmp_path):
    shop = build(
        tmp_path,
        """
        import time
        from pathlib import Path
        ANSWER = "old"

        @tv.task
        def wait(folder: str):
            Path(folder, "waiting").touch()
            while not Path(folder, "go").exists():
                time.sleep(0.01)

        @tv.task
        def answer(after):
            return [ANSWER, __file__]

        @tv.pipeline
        def both(folder: str):
            return answer(wait(folder))
        """,
    )
    try:

        def edit(event):
            if (event.kind, event.step) == ("started", "wait"):
                shop.edit('"old"', '"new"')
                (tmp_path / "go").touch()

        done = execute(shop.context, shop.module.both, {"folder": str(tmp_path)}, progress=edit)
        assert done.value("answer")[0] == "old"
        assert str(tmp_path / ".trivet" / "code") in done.value("answer")[1]
        again = execute(shop.context, shop.module.both, {"folder": str(tmp_path)})
        assert again.value("answer") == ["new", str(shop.file)]
    finally:
        tidy(shop)


def test_a_module_that_runs_its_pipeline_when_imported(tmp_path):
    shop = build(
        tmp_path,
        """
        from pathlib import Path

        @tv.task
        def one():
            return 1

        @tv.pipeline
        def single():
            return one()

        from tests.pipelines.workshop import open_context
        from trivet.pipelines.execution import execute
        import MODULE
        execute(open_context(Path.cwd()), MODULE.single, {})
        """,
    )
    tidy(shop)
    process = start(shop, "0")
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert 'Put that call under if __name__ == "__main__":' in said


def test_an_error_of_the_caller_ends_the_run(shop, first):
    def refuse(event):
        raise ZeroDivisionError("the bar broke")

    with pytest.raises(ZeroDivisionError):
        execute(shop.context, shop.module.flow, {"count": 5}, progress=refuse)
    newest = shop.runs(kind="pipeline", limit=1)[0]
    assert (newest.status, newest.error) == ("failed", "The execution broke off: the bar broke")
    assert not shop.runs(status="running")


# values of other kinds


def test_frames_folders_and_artifacts_go_in_and_out(tmp_path):
    import polars as pl

    shop = build(
        tmp_path,
        """
        @tv.task
        def rows(frame):
            return {"rows": frame.height}

        @tv.task
        def gather(parts, frame):
            return {"parts": sorted(parts), "rows": frame.height}

        @tv.pipeline
        def measure(frame, given):
            return gather({"a": rows(frame), "b": given, "c": rows(frame)}, frame)
        """,
    )
    try:
        from trivet.pipelines import values

        frame = pl.DataFrame({"x": [1, 2, 3]})
        given = values.save({"n": 1}, shop.context)
        done = execute(shop.context, shop.module.measure, {"frame": frame, "given": given})
        assert done.value("gather") == {"parts": ["a", "b", "c"], "rows": 3}
        assert set(done.steps["gather"].inputs) == {"parts.a", "parts.b", "parts.c", "frame"}
        assert done.run.inputs == {"frame": done.steps["gather"].inputs["frame"], "given": given.digest}
        frame_again = pl.DataFrame({"x": [1, 2, 3]})
        again = execute(shop.context, shop.module.measure, {"frame": frame_again, "given": given})
        assert set(statuses(again).values()) == {"cached"}
    finally:
        tidy(shop)

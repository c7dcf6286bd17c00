import asyncio
import contextvars
import threading
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression

from tests.tracking.project import OPENED, open_context, run_script
from trivet.errors import Conflict, Invalid, NotFound, TrivetError
from trivet.ledger import RunQuery
from trivet.ledger.stores.memory import MemoryStore
from trivet.pipelines import values
from trivet.tracking.processes import is_stale
from trivet.tracking.registry import Registry
from trivet.tracking.runs import start


def stored(context, run):
    return context.ledger.run(run.id)


def test_a_run_says_everything_about_itself(context):
    with start(context, "deeper trees", tags={"team": "delays", "try": 3}) as run:
        assert run.params(max_iter=100, rate=np.float64(0.1)) == {"max_iter": 100, "rate": 0.1}
        run.log(auc=0.74, loss=float("nan"))
        run.tag(team="planes")
        run.note("The winter is missing.")
        run.note("Added the winter.")
        assert run.status == "running"
    record = stored(context, run)
    assert (record.kind, record.name, record.status, record.error) == ("experiment", "deeper trees", "finished", "")
    assert (record.user, record.host, record.parent) == ("ada", "here", None)
    assert record.parameters == {"max_iter": 100, "rate": 0.1}
    assert record.metrics["auc"] == 0.74
    assert np.isnan(record.metrics["loss"])
    assert record.tags["team"] == "planes"
    assert record.tags["try"] == "3"
    assert record.tags["note"] == "The winter is missing.\n\nAdded the winter."
    assert timedelta() <= record.ended - record.started < timedelta(minutes=1)


def test_parameters_are_passed_on_as_they_were_given(memory):
    weights = {0: 1.0, 1: 5.0}
    with start(memory, "x") as run:
        given = run.params({"class_weight": weights}, tol=1e-3)
        assert given["class_weight"] is weights
        LogisticRegression(**given)


def test_a_parameter_may_be_said_twice_and_not_changed(memory):
    with start(memory, "x") as run:
        run.params(max_iter=100)
        run.params(max_iter=100, seed=1)
        with pytest.raises(Conflict, match=r"'max_iter' of run 'x' is 100 and cannot become 200\. Open another run"):
            run.params(max_iter=200, depth=3)
        assert run.record.parameters == {"max_iter": 100, "seed": 1}


def test_steps_are_counted_for_each_name_and_repeated_ones_are_further_points(context):
    with start(context, "x") as run:
        for loss in (3.0, 2.0, 1.0):
            run.log(loss=loss)
        run.log({"val/auc": 0.5}, step=10)
        run.log({"val/auc": 0.6}, step=10)
        run.log({"val/auc": 0.4}, step=9)
        run.log({"val/auc": 0.7})
    points = [(metric.name, metric.step, metric.value) for metric in context.ledger.metrics(run.id)]
    assert points == [
        ("loss", 0, 3.0), ("loss", 1, 2.0), ("loss", 2, 1.0),
        ("val/auc", 9, 0.4), ("val/auc", 10, 0.5), ("val/auc", 10, 0.6), ("val/auc", 11, 0.7),
    ]  # fmt: skip
    assert stored(context, run).metrics == {"loss": 1.0, "val/auc": 0.7}


def test_a_refused_metric_takes_the_others_of_its_call_with_it(memory):
    with start(memory, "x") as run:
        with pytest.raises(Invalid, match="'auc'"):
            run.log(loss=1.0, auc="high")
        with pytest.raises(Invalid, match="step"):
            run.log(step=-1, loss=1.0)
    assert stored(memory, run).metrics == {}


def test_runs_nest_where_they_are_opened_inside_one_another(memory):
    with start(memory, "outer") as outer, start(memory, "inner") as inner, inner.child("innermost") as innermost:
        loose = start(memory, "without with")
        beside = start(memory, "beside", parent=outer)
    assert [inner.record.parent, innermost.record.parent] == [outer.id, inner.id]
    assert [loose.record.parent, beside.record.parent] == [innermost.id, outer.id]
    assert start(memory, "after").record.parent is None
    assert start(memory, "by id", parent=outer.id).record.parent == outer.id
    assert {run.name for run in memory.ledger.runs(RunQuery(parent=outer.id))} == {"inner", "beside", "by id"}


def test_a_run_without_with_takes_no_children_by_itself(memory):
    start(memory, "cell 1")
    assert start(memory, "cell 2").record.parent is None


def test_an_unknown_parent_is_said_so(memory):
    with pytest.raises(NotFound, match="run"):
        start(memory, "x", parent="01NOSUCHRUN")


def test_another_thread_has_its_own_nesting_and_may_be_told(memory):
    with start(memory, "outer") as outer:
        found, here = [], contextvars.copy_context()
        for call in (
            lambda: found.append(start(memory, "a").record.parent),
            lambda: found.append(outer.child("b").record.parent),
            lambda: found.append(here.run(start, memory, "c").record.parent),
        ):
            thread = threading.Thread(target=call)
            thread.start()
            thread.join()
    assert found == [None, outer.id, outer.id]


def test_tasks_of_asyncio_do_not_mix_their_runs(memory):
    async def fold(number):
        with start(memory, f"fold {number}") as run:
            await asyncio.sleep(0.001)
            return run.id, start(memory, "inside").record.parent

    async def folds():
        return await asyncio.gather(*(fold(number) for number in range(5)))

    assert all(run == parent for run, parent in asyncio.run(folds()))


def test_another_project_is_no_parent(memory, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    with start(memory, "here"):
        assert start(open_context(tmp_path / "elsewhere", "memory:"), "there").record.parent is None


def test_threads_share_a_run(context):
    with start(context, "x") as run:

        def work(number):
            for step in range(200):
                run.log({f"loss {number}": step}, step=step)
            run.tag({f"thread {number}": "done"})

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(context.ledger.metrics(run.id)) == 800
    assert stored(context, run).metrics == {f"loss {number}": 199.0 for number in range(4)}


class TestEnds:
    def test_an_exception_is_kept_with_its_traceback(self, context):
        with pytest.raises(ValueError, match="Input contains NaN"), start(context, "x") as run:  # noqa: PT012
            run.log(auc=0.5)
            raise ValueError("Input contains NaN.")
        record = stored(context, run)
        assert (record.status, record.error) == ("failed", "ValueError: Input contains NaN.")
        assert record.metrics == {"auc": 0.5}
        path = values.load(context.ledger.artifact(record.outputs["traceback.txt"]), context.blobs)
        assert 'raise ValueError("Input contains NaN.")' in path.read_text()

    @pytest.mark.parametrize(
        ("exception", "status", "error"),
        [
            (KeyboardInterrupt(), "killed", "Interrupted from the keyboard."),
            (SystemExit(), "finished", ""),
            (SystemExit(0), "finished", ""),
            (SystemExit(3), "failed", "Left with exit status 3."),
            (Invalid("No rows."), "failed", "No rows."),
            (RuntimeError(), "failed", "RuntimeError"),
            (asyncio.CancelledError(), "killed", "Stopped by CancelledError."),
        ],
    )
    def test_the_way_a_block_is_left_is_the_way_the_run_ends(self, memory, exception, status, error):
        with pytest.raises(type(exception)), start(memory, "x") as run:
            raise exception
        assert (stored(memory, run).status, stored(memory, run).error) == (status, error)
        assert start(memory, "after").record.parent is None

    def test_by_hand(self, memory):
        run = start(memory, "x")
        run.log(auc=0.5)
        assert run.end().status == "finished"
        first = stored(memory, run)
        run.end("failed")
        assert stored(memory, run) == first
        with pytest.raises(Conflict, match="has ended"):
            run.params(depth=3)
        with pytest.raises(Conflict, match="has ended"), run:
            pass
        run.log(auc=0.6)  # a score that is known later
        run.flush()
        assert stored(memory, run).metrics == {"auc": 0.6}
        assert stored(memory, run).status == "finished"

    def test_a_ledger_that_fails_at_the_end_does_not_hide_the_error_of_the_block(self, memory, monkeypatch):
        monkeypatch.setattr("trivet.tracking.journal.ATTEMPTS", 1)
        with pytest.raises(ValueError, match="mine") as caught, start(memory, "x") as run:  # noqa: PT012
            monkeypatch.setattr(memory.ledger, "write", unreachable)
            raise ValueError("mine")
        assert "could not be written: The ledger is away" in caught.value.__notes__[0]
        monkeypatch.undo()
        run.end()
        assert stored(memory, run).status == "finished"

    def test_a_ledger_that_fails_at_the_end_is_said(self, memory, monkeypatch):
        monkeypatch.setattr("trivet.tracking.journal.ATTEMPTS", 1)
        with pytest.raises(TrivetError, match="The ledger is away"), start(memory, "x") as run:
            monkeypatch.setattr(memory.ledger, "write", unreachable)
        monkeypatch.undo()
        assert run.end().status == "finished"


def unreachable(*records):
    raise TrivetError("The ledger is away.")


class TestThings:
    def test_values_tables_files_and_folders(self, context, tmp_path):
        folder = tmp_path / "plots"
        folder.mkdir()
        (folder / "a.svg").write_text("<svg/>")
        with start(context, "x") as run:
            run.output("summary", {"rows": 3})
            run.table(pl.DataFrame({"x": [1, 2]}), "errors")
            run.file(folder / "a.svg")
            run.file(str(folder), "all plots")
            run.file(b"text", "notes/readme.txt")
        outputs = stored(context, run).outputs
        loaded = {slot: values.load(context.ledger.artifact(digest), context.blobs) for slot, digest in outputs.items()}
        assert list(outputs) == ["summary", "errors", "a.svg", "all plots", "notes/readme.txt"]
        assert loaded["summary"] == {"rows": 3}
        assert loaded["errors"].equals(pl.DataFrame({"x": [1, 2]}))
        assert loaded["a.svg"].read_text() == (loaded["all plots"] / "a.svg").read_text() == "<svg/>"
        assert loaded["notes/readme.txt"].read_bytes() == b"text"

    def test_an_output_is_in_the_ledger_when_the_call_returns(self, context):
        with start(context, "x") as run:
            artifact = run.output("summary", [1])
            assert stored(context, run).outputs == {"summary": artifact.digest}

    def test_a_second_output_of_a_name_does_not_replace_the_first(self, memory):
        with start(memory, "x") as run:
            first, again, second = run.output("m", 1), run.output("m", 1), run.output("m", 2)
        assert first.digest == again.digest
        assert stored(memory, run).outputs == {"m": first.digest, "m-2": second.digest}

    def test_a_figure_has_its_ending(self, memory):
        figure = type("Figure", (), {"savefig": lambda self, stream, **options: stream.write(b"png")})()
        with start(memory, "x") as run:
            run.figure(figure, "roc")
            run.figure(figure, "roc.png")
        assert list(stored(memory, run).outputs) == ["roc.png"]

    def test_inputs_are_answered_and_recorded(self, memory):
        frame = pl.DataFrame({"x": [1]})
        artifact = values.save([1, 2], memory)
        training_set = type("TrainingSet", (), {"artifact": artifact})()
        with start(memory, "x") as run:
            assert run.input(frame, "spine") is frame
            assert run.input(training_set) is training_set
            assert run.input(artifact) is artifact
        inputs = stored(memory, run).inputs
        assert list(inputs) == ["spine", "json"]
        assert inputs["json"] == artifact.digest
        assert [found.id for found in memory.ledger.runs(RunQuery(input=artifact.digest))] == [run.id]

    def test_missing_files_and_nameless_bytes_are_sentences(self, memory, tmp_path):
        (tmp_path / "report.html").touch()
        with start(memory, "x") as run:
            with pytest.raises(NotFound, match=r"There is no file .*reprot\.html.*Did you mean .*report\.html"):
                run.file(tmp_path / "reprot.html")
            with pytest.raises(Invalid, match="Bytes have no name"):
                run.file(b"x")
            with pytest.raises(Invalid, match="relative path"):
                run.file(b"x", "../x")
        assert stored(memory, run).outputs == {}

    def test_an_estimator_becomes_a_model_and_a_version(self, context):
        fitted = LogisticRegression().fit(np.array([[0.0], [1.0], [2.0]]), [0, 0, 1])
        with start(context, "x") as run:
            first = run.model(fitted, "delay")
            run.model(fitted)
        version = Registry(context).get("delay")
        assert first.kind == "model"
        assert (version.version, version.digest) == (1, first.digest)
        assert version.why == f"run 'x' ({run.id[:12]})"
        assert stored(context, run).outputs == {"delay": first.digest, "model": first.digest}
        loaded = values.load(version.artifact, context.blobs)
        assert (loaded.estimator.coef_ == fitted.coef_).all()

    def test_a_model_with_a_bad_name_is_refused_before_anything_is_stored(self, memory):
        with start(memory, "x") as run, pytest.raises(Invalid, match="cannot name a model"):
            run.model(LogisticRegression().fit([[0.0], [1.0]], [0, 1]), "a/b")
        assert stored(memory, run).outputs == {}

    def test_the_training_set_of_a_model_is_an_input(self, memory):
        from trivet.pipelines.values.model import Model

        train = values.save(pl.DataFrame({"x": [0.0, 1.0], "late": [0, 1]}), memory)
        model = Model.wrap(LogisticRegression().fit([[0.0], [1.0]], [0, 1]))
        model.training_set = train.digest
        with start(memory, "x") as run:
            run.model(model)
        assert stored(memory, run).inputs == {"training_set": train.digest}


class TestProcesses:
    def test_a_killed_process_keeps_what_it_said_and_is_known_to_be_dead(self, root):
        done = run_script(
            root,
            OPENED
            + """
run = start(context, "doomed").__enter__()
run.params(depth=3)
for step in range(500): run.log(loss=step)
deadline = time.monotonic() + 60
while len(context.ledger.metrics(run.id)) < 500 and time.monotonic() < deadline: time.sleep(0.05)
for step in range(500): run.log(loss=step)
os.kill(os.getpid(), signal.SIGKILL)
""",
        )
        assert done.returncode == -9, done.stderr
        context = open_context(root)
        (run,) = context.ledger.runs()
        assert run.status == "running"
        assert is_stale(run, host=context.host)
        assert run.parameters == {"depth": 3}
        assert [metric.step for metric in context.ledger.metrics(run.id)][:500] == list(range(500))
        with start(context, "next") as following:  # nothing is blocked by the dead
            following.log(loss=1)
        assert stored(context, following).status == "finished"
        context.ledger.close()

    def test_a_process_that_ends_ends_its_runs(self, root):
        done = run_script(
            root,
            OPENED
            + """
left = start(context, "left open"); left.log(loss=1); left.params(a=1)
with start(context, "exit"):
    sys.exit(0)
""",
        )
        assert (done.returncode, done.stderr) == (0, "")
        context = open_context(root)
        ended, left = context.ledger.runs()
        assert (ended.name, ended.status) == ("exit", "finished")
        assert (left.name, left.status, left.metrics, left.parameters) == ("left open", "killed", {"loss": 1}, {"a": 1})
        assert left.error == "The process ended without run.end(); what was recorded until then is here."
        context.ledger.close()

    def test_a_fork_is_told_to_open_its_own_and_leaves_the_run_alone(self, root):
        done = run_script(
            root,
            "import warnings; warnings.simplefilter('ignore')\n"
            + OPENED
            + """
with start(context, "parent") as run:
    run.log(loss=1)
    child = os.fork()
    if not child:
        try: run.log(loss=2)
        except Exception as exc: print(exc, flush=True)
        import atexit; atexit._run_exitfuncs()
        os._exit(0)
    os.waitpid(child, 0)
    run.log(loss=3)
""",
        )
        assert done.returncode == 0, done.stderr
        assert "from which this one was forked. Open one here, with parent=" in done.stdout
        context = open_context(root)
        (run,) = context.ledger.runs()
        assert (run.status, run.metrics) == ("finished", {"loss": 3.0})
        assert len(context.ledger.metrics(run.id)) == 2
        context.ledger.close()


def test_bad_names_are_sentences(memory):
    for name in ("", "a\nb", None):
        with pytest.raises(Invalid, match="cannot name a run"):
            start(memory, name)
    with start(memory, "x") as run, pytest.raises(Invalid, match="cannot name a metric"):
        run.log({"": 1.0})


def test_it_reads_well(memory):
    with start(memory, "deeper trees") as run:
        run.log(auc=1 / 3)
        assert repr(run) == f"<run 'deeper trees' {run.id[:12]} running, auc=0.333333>"
    assert "finished" in repr(run)


def test_a_ledger_that_is_away_shows_when_the_run_is_opened(memory, monkeypatch):
    monkeypatch.setattr(MemoryStore, "write", lambda self, *records: unreachable())
    with pytest.raises(TrivetError, match="The ledger is away"):
        start(memory, "x")

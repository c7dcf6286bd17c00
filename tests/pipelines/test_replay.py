import json

import msgspec
import pytest

from tests.pipelines.workshop import build, tidy
from trivet.clock import system_clock
from trivet.errors import Corrupt, Invalid, NotFound, StepFailed
from trivet.ledger import Artifact
from trivet.pipelines import values
from trivet.pipelines.execution import execute
from trivet.pipelines.recording import begin, record
from trivet.pipelines.replay import reproduce

SOURCE = """
import os, random, time
from pathlib import Path

BASE = 10

@tv.task
def numbers(count: int = 3, seed: int = 4):
    return {"sum": BASE + sum(range(count)), "draw": random.random(), "set": list({"a", "b", "c", "d"})}

@tv.task
def frame(values):
    import polars as pl
    return pl.DataFrame({"x": [1.5, None, values["sum"]], "name": ["a", "b", None]})

@tv.task(outputs=("steady", "clock"))
def timed(values):
    return values["sum"], {"at": time.time_ns(), "name": "clock"}

@tv.task
def nearly(values):
    return {"auc": 0.7 * (1 + 1e-13 * (time.time_ns() % 1000 + 1)), "rows": 3}

@tv.task
def surroundings(values):
    kept = [name for name in os.environ if name.startswith("SECRET")]
    return {"threads": os.environ["OMP_NUM_THREADS"], "kept": kept}

@tv.task
def undeclared(values):
    return Path("beside.txt").read_text()

@tv.pipeline
def flow():
    values = numbers(seed=11)
    frame(values)
    timed(values)
    nearly(values)
    surroundings(values)
    undeclared(values)

def counted(values, factor: int = 2):
    return {"n": values["sum"] * factor}

@tv.pipeline
def steady():
    return frame(numbers())
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    built = build(tmp_path_factory.mktemp("replay"), SOURCE)
    (built.context.root / "beside.txt").write_text("undeclared")
    yield built
    tidy(built)


@pytest.fixture(scope="module")
def done(shop):
    return execute(shop.context, shop.module.flow, {})


@pytest.fixture(scope="module")
def edited(shop, done):
    """From here on the file on the disk says something else; every test below uses the archive."""
    shop.edit("BASE = 10", "BASE = 99")
    return done


def again(shop, run, **options):
    return reproduce(shop.context, run, environment="current", **options)


@pytest.mark.parametrize("step", ["numbers", "frame"])
def test_the_same_bytes_from_the_archive_although_the_code_was_edited(shop, edited, step):
    result = again(shop, edited.steps[step])
    assert (result.level, result.ok, result.first_difference, result.causes) == ("bytes", True, None, ())
    comparison = result.outputs["result"]
    assert comparison.recorded.digest == comparison.repeated.digest == edited.artifact(step).digest
    assert "was reproduced. Level: bytes." in str(result)


def test_the_attempt_is_on_record(shop, edited):
    result = again(shop, edited.steps["numbers"])
    attempt = shop.context.ledger.run(result.attempt.id)
    assert (attempt.kind, attempt.name, attempt.status) == ("reproduce", "numbers", "finished")
    assert attempt.inputs == edited.steps["numbers"].outputs
    assert attempt.parameters == {"run": edited.steps["numbers"].id, "environment": "current"}
    assert attempt.tags["level"] == "bytes"


def test_a_clock_is_reported_with_its_slot(shop, edited):
    result = again(shop, edited.steps["timed"])
    assert (result.level, result.ok) == ("different", False)
    assert result.outputs["steady"].level == "bytes"
    assert result.outputs["clock"].level == "different"
    assert result.first_difference.startswith("clock: at was ")
    assert "was not reproduced" in str(result)
    assert "First difference: clock: at was" in str(result)
    assert shop.context.ledger.run(result.attempt.id).tags["level"] == "different"


def test_numbers_within_the_tolerance(shop, edited):
    result = again(shop, edited.steps["nearly"])
    assert result.level == "metrics"
    assert result.first_difference.startswith("result: auc was 0.7")
    assert again(shop, edited.steps["nearly"], tolerance=0.0).level == "different"


def test_the_environment_is_clean_and_the_threads_are_the_recorded(shop, edited, monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "x")
    run = edited.steps["surroundings"]
    assert again(shop, run).level == "bytes"
    other = msgspec.structs.replace(run, recipe=msgspec.structs.replace(run.recipe, threads=2))
    assert again(shop, other).first_difference == 'result: threads was "1" and is "2".'


def test_a_file_that_was_never_declared_is_not_there(shop, edited):
    with pytest.raises(
        StepFailed, match=r"'undeclared' \(run \w+\) could not be run again: FileNotFoundError"
    ) as caught:
        again(shop, edited.steps["undeclared"])
    assert caught.value.run == edited.steps["undeclared"].id
    attempt = shop.runs(kind="reproduce", name="undeclared", limit=1)[0]
    assert (attempt.status, "could not be run again" in attempt.error) == ("failed", True)


def test_a_pipeline_step_by_step_and_cached_steps_by_their_origin(shop, edited):
    first = execute(shop.context, shop.module.steady, {})
    second = execute(shop.context, shop.module.steady, {})
    assert {run.status for run in second.steps.values()} == {"cached"}
    said = []
    result = again(shop, second.run, progress=said.append)
    assert set(result.outputs) == {"numbers.result", "frame.result"}
    assert result.level == "bytes"
    assert said == ["Running the task 'numbers' again.", "Running the task 'frame' again."]
    assert again(shop, second.steps["frame"]).run.id == second.steps["frame"].id
    assert first.run.outputs == second.run.outputs


def test_a_call_recorded_in_process(shop, edited):
    given = edited.artifact("numbers")
    run, _, value = record(
        shop.context, "measure", "counted", shop.module.counted, inputs={"values": given}, parameters={"factor": 3}
    )
    assert value["n"] == 3 * 13
    assert again(shop, run).level == "bytes"


def test_likely_causes_are_named(shop, edited):
    run = edited.steps["timed"]
    libraries = [{"library": "openblas", "version": "0.3", "architecture": "Zen", "num_threads": 1}]
    recipe = msgspec.structs.replace(run.recipe, active={"python": "3.9.1", "libraries": libraries})
    result = again(shop, msgspec.structs.replace(run, recipe=recipe))
    assert any(cause.startswith("the interpreter was 3.9.1 and is 3.") for cause in result.causes)
    assert "Likely cause: the interpreter was 3.9.1" in str(result)


def test_what_cannot_be_made_again(shop, edited):
    by_hand = begin(shop.context, kind="experiment", name="by hand")
    with pytest.raises(Invalid, match="has no recipe"):
        again(shop, by_hand)
    running = begin(shop.context, kind="task", name="running", recipe=edited.steps["frame"].recipe)
    with pytest.raises(Invalid, match="is running, so there are no outputs"):
        again(shop, running)
    empty = begin(shop.context, kind="pipeline", name="empty", recipe=edited.steps["frame"].recipe)
    with pytest.raises(Invalid, match="has no steps on record"):
        again(shop, empty)


def test_lost_and_damaged_inputs(shop, edited):
    run = edited.steps["frame"]
    lost = Artifact.of(
        "json", {}, {"value.json": msgspec.structs.replace(_file(edited), digest="0" * 64)}, created=system_clock()
    )
    shop.context.ledger.write(lost)
    with pytest.raises(NotFound):
        again(shop, msgspec.structs.replace(run, inputs={"values": lost.digest}))
    damaged = values.save({"sum": 12345}, shop.context)
    digest = next(iter(damaged.files.values())).digest
    (place,) = (shop.context.root / ".trivet" / "blobs").rglob(f"*{digest[4:]}*")
    place.chmod(0o644)
    place.write_bytes(json.dumps({"sum": 54321}).encode())
    with pytest.raises(Corrupt):
        again(shop, msgspec.structs.replace(run, inputs={"values": damaged.digest}))


def _file(execution):
    return next(iter(execution.artifact("numbers").files.values()))


def test_nothing_is_left_behind_and_the_blobs_are_only_read(shop, edited, tmp_path, monkeypatch):
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = sorted(path.name for path in (shop.context.root / ".trivet" / "blobs").rglob("*"))
    again(shop, edited.steps["timed"])
    assert sorted(path.name for path in (shop.context.root / ".trivet" / "blobs").rglob("*")) == before
    assert list(tmp_path.iterdir()) == []


MODELS = """
import time

@tv.task(outputs=("train", "other"))
def rows():
    import polars as pl
    frame = pl.DataFrame({"x": [0.0, 1.0, 2.0, 3.0, 4.0], "y": [0, 0, 1, 1, 1]})
    return frame, frame.head(2)

@tv.task
def fit(other, train):
    from sklearn.linear_model import LogisticRegression
    unlike = 100 + time.time_ns() % 1000  # it converges long before, so the coefficients are the same
    return LogisticRegression(max_iter=unlike).fit(train.select("x").to_pandas(), train["y"].to_numpy())

@tv.pipeline
def training():
    train, other = rows()
    fit(other, train)
"""


@pytest.mark.slow
def test_models_are_compared_by_content_and_then_by_predictions(tmp_path):
    shop = build(tmp_path, MODELS)
    try:
        done = execute(shop.context, shop.module.training, {})
        assert done.steps["fit"].recipe.active["libraries"]
        result = again(shop, done.steps["fit"])
        assert result.level == "predictions", str(result)
        assert "Predictions on 5 rows are the same to the bit." in result.first_difference
        asked = again(shop, done.steps["fit"], data=done.artifact("rows.other"))
        assert "Predictions on 2 rows" in asked.first_difference
    finally:
        tidy(shop)


@pytest.mark.slow
def test_the_locked_environment(shop, edited):
    """One clean environment from the lock, kept for the next time."""
    result = reproduce(shop.context, edited.steps["frame"])
    assert result.level == "bytes", str(result)
    homes = list((shop.context.root / ".trivet" / "environments").iterdir())
    assert len(homes) == 1
    said = []
    assert reproduce(shop.context, edited.steps["numbers"], progress=said.append).level == "bytes"
    assert said == ["Running the task 'numbers' again."]

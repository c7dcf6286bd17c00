import msgspec
import numpy as np
import polars as pl
import pytest
from msgspec import UNSET
from msgspec.structs import replace
from sklearn.linear_model import LogisticRegression

from trivet.clock import new_id
from trivet.errors import Invalid, NotFound
from trivet.ledger import Artifact
from trivet.pipelines import values
from trivet.tracking.difference import Change, DefinitionChange, diff
from trivet.tracking.registry import Registry
from trivet.tracking.runs import start


def a_fit(context, name, depth, rows, *, code="x = 1\n"):
    """A run that trains on a table of ``rows`` rows, with ``code`` in the project."""
    (context.root / "features.py").write_text(code)
    x = np.arange(rows, dtype=float)[:, None]
    with start(context, name) as run:
        run.input(pl.DataFrame({"x": x[:, 0], "late": [0, 1] * (rows // 2)}), "train")
        run.params(depth=depth, seed=0)
        run.model(LogisticRegression(C=float(depth)).fit(x, [0, 1] * (rows // 2)), "delay")
        run.log(auc=0.5 + depth / 100)
    return context.ledger.run(run.id)


def changes(entries):
    return {change.name: (change.before, change.after) for change in entries}


def test_two_runs_down_to_the_lines_of_code(context):
    a = a_fit(context, "shallow", 2, 4)
    (context.root / "old.py").write_text("gone = True\n")
    b = a_fit(context, "deep", 8, 6, code="x = 1\ny = 2\n")
    found = diff(context, a, b)
    assert changes(found.parameters) == {"depth": (2, 8)}
    assert changes(found.metrics) == {"auc": (0.52, 0.58)}
    assert set(changes(found.inputs)) == {"train"}
    assert changes(found.contents)["inputs.train.rows"] == (4, 6)
    assert [(change.how, change.file.rpartition("/")[2]) for change in found.code] == [
        ("changed", "features.py"),
        ("added", "old.py"),
    ]
    assert "+y = 2\n" in found.code[0].patch
    assert found.code[1].patch.startswith("--- /dev/null\n+++ b/")
    assert not found.environment
    assert not found.unknown


def test_the_other_way_round_everything_is_mirrored(memory):
    a, b = a_fit(memory, "a", 2, 4), a_fit(memory, "b", 8, 4, code="y = 2\n")
    there, back = diff(memory, a, b), diff(memory, b, a)
    assert changes(there.parameters) == {name: (y, x) for name, (x, y) in changes(back.parameters).items()}
    assert [change.how for change in there.code] == [change.how for change in back.code] == ["changed"]


def test_two_models_lead_to_the_runs_that_made_them(context):
    a, b = a_fit(context, "a", 2, 4), a_fit(context, "b", 8, 4)
    registry = Registry(context)
    found = diff(context, registry.get("delay@1"), registry.get("delay@2"))
    assert (found.a, found.b) == ("delay@1", "delay@2")
    assert changes(found.parameters) == {"depth": (2, 8)}
    assert found.contents
    artifacts = [context.ledger.artifact(run.outputs["delay"]) for run in (a, b)]
    assert diff(context, *artifacts).parameters == found.parameters


def test_a_run_answered_from_the_cache_did_not_make_it(memory):
    a, b = a_fit(memory, "a", 2, 4), a_fit(memory, "b", 8, 4)
    for status, kind in (("cached", "task"), ("finished", "reproduce")):
        memory.ledger.write(replace(a, id=new_id(), status=status, kind=kind, parameters={"depth": -1}))
    artifacts = [memory.ledger.artifact(run.outputs["delay"]) for run in (a, b)]
    assert changes(diff(memory, *artifacts).parameters) == {"depth": (2, 8)}


def test_columns_of_two_tables(memory):
    a = values.save(pl.DataFrame({"x": [1, 2], "y": [0.5, 1.0]}), memory)
    b = values.save(pl.DataFrame({"x": [1.0], "z": ["a"]}), memory)
    found = diff(memory, a, b)
    names = " ".join(changes(found.contents))
    assert changes(found.contents)["rows"] == (2, 1)
    assert all(f".{column}" in names for column in "xyz")
    assert found.unknown == (f"No run on record made {a.id}.", f"No run on record made {b.id}.")


def test_equal_declarations_with_other_content_differ_by_content(memory):
    a, b = (values.save(pl.DataFrame({"x": [number]}), memory) for number in (1, 2))
    assert changes(diff(memory, a, b).contents) == {"content": (a.content[:12], b.content[:12])}


def test_references_are_read(context):
    a, b = a_fit(context, "a", 2, 4), a_fit(context, "b", 8, 4)
    found = diff(context, "delay@1", "delay@2")
    assert (found.a, found.b) == ("delay@1", "delay@2")
    assert found.parameters == diff(context, f"run:{a.id}", f"run:{b.id}").parameters != ()
    with pytest.raises(NotFound, match="delay@3"):
        diff(context, "delay@1", "delay@3")


def environment(context, lock, **spec):
    file = context.blobs.put(lock.encode())
    artifact = Artifact.of("environment", spec, {"requirements.lock": file}, created=context.clock())
    context.ledger.write(artifact)
    return artifact.digest


def test_packages_up_down_added_and_removed(memory):
    run = a_fit(memory, "a", 2, 4)
    a = environment(
        memory, "numpy==2.4.6 --hash=sha256:aa\npolars==2.1.0 --hash=sha256:bb\nsix==1.0\n", python="3.11.9"
    )
    b = environment(memory, "numpy==2.5.0 --hash=sha256:cc\npolars==2.0.0\nscipy==1.2\n", python="3.12.1")
    runs = [replace(run, id=new_id(), recipe=replace(run.recipe, environment=digest)) for digest in (a, b)]
    assert changes(diff(memory, *runs).environment) == {
        "numpy": ("2.4.6", "2.5.0"),
        "polars": ("2.1.0", "2.0.0"),
        "python": ("3.11.9", "3.12.1"),
        "scipy": (UNSET, "1.2"),
        "six": ("1.0", UNSET),
    }


@pytest.mark.parametrize("content", [b"\x89PNG\xff", b"x\n" * 150_000])
def test_files_that_are_no_text_or_very_long_are_named_without_a_patch(memory, content):
    a = a_fit(memory, "a", 2, 4)
    (memory.root / "logo.png").write_bytes(content)
    b = a_fit(memory, "b", 2, 4)
    (change,) = diff(memory, a, b).code
    assert (change.how, change.patch) == ("added", "")


def test_it_reads_well_and_is_json(memory):
    a, b = a_fit(memory, "a", 2, 4), a_fit(memory, "b", 8, 4, code="y = 2")
    found = diff(memory, a, b)
    text = str(found)
    assert text.startswith("a  ->  b\n\nparameters\n  depth  2  ->  8\n\nmetrics\n  auc  0.52  ->  0.58\n")
    assert "-x = 1\n+y = 2\n\\ No newline at end of file" in text
    answer = found.as_dict()
    assert answer["parameters"] == [{"name": "depth", "before": 2, "after": 8}]
    assert msgspec.json.decode(msgspec.json.encode(answer)) == answer
    assert str(Change("six", before="1.0")) == "six: removed 1.0"
    assert str(Change("six", after="1.0")) == "six: added 1.0"


def test_the_same_thing_does_not_differ(memory):
    run = a_fit(memory, "a", 2, 4)
    found = diff(memory, run, run)
    assert not found
    assert str(found).endswith("Nothing differs.")


def test_a_run_without_a_record_of_its_code_is_said_so(memory):
    run = a_fit(memory, "a", 2, 4)
    found = diff(memory, run, replace(run, id=new_id(), name="b", recipe=None))
    assert found.unknown == ("b has no code and environment on record.",)


def test_a_run_and_an_artifact_cannot_be_compared(memory):
    run = a_fit(memory, "a", 2, 4)
    with pytest.raises(Invalid, match="give two runs, or two artifacts"):
        diff(memory, run, memory.ledger.artifact(run.outputs["delay"]))


def test_rows_of_the_inputs_by_key_and_how_far_columns_moved(memory):
    made = []
    for name, shift in (("a", 0.0), ("b", 50.0)):
        with start(memory, name) as run:
            rows = pl.DataFrame({"id": range(int(shift), 500 + int(shift)), "x": [i % 100 + shift for i in range(500)]})
            run.input(rows, "train")
        made.append(memory.ledger.run(run.id))
    (rows,) = diff(memory, *made).data
    assert (rows.name, rows.key, rows.summary) == ("inputs.train", ("id",), "50 added, 50 removed, 200 changed")
    (column,) = [column for column in rows.columns if column.name == "x"]
    assert column.moved
    text = str(diff(memory, *made))
    assert "inputs.train: 500 -> 500 rows; by id: 50 added, 50 removed, 200 changed" in text
    assert diff(memory, *made, key=["x"]).data[0].key == ("x",)


def test_json_values_entry_by_entry(memory):
    a, b = (values.save({"rate": rate, "by": {"JFK": 1}}, memory) for rate in (1, 2))
    assert changes(diff(memory, a, b).contents) == {"value.rate": (1, 2)}


def test_steps_are_compared_with_the_metrics_of_their_pipeline(memory):
    made = []
    for name, auc in (("a", 0.7), ("b", 0.8)):
        around = replace(a_fit(memory, name, 2, 4), id=new_id(), kind="pipeline", metrics={})
        fit, test, other = (
            replace(around, id=new_id(), kind="task", name=step, parent=around.id, metrics=metrics)
            for step, metrics in (("fit", {}), ("evaluate", {"auc": auc, "rows": auc}), ("check", {"rows": 1.0}))
        )
        memory.ledger.write(around, fit, test, other)
        made.append((around, fit))
    for one, other in zip(*made, strict=True):
        found = changes(diff(memory, one, other).metrics)
        assert found == {"auc": (0.7, 0.8), "evaluate.rows": (0.7, 0.8)}


def test_seeds_and_the_machine(memory):
    run = a_fit(memory, "a", 2, 4)
    here = {"cpu": ["avx2"], "libraries": [{"library": "openblas", "architecture": "Haswell", "num_threads": 1}]}
    there = {
        "cpu": ["avx2", "avx512f"],
        "libraries": [{"library": "openblas", "architecture": "SkylakeX", "num_threads": 1}],
    }
    recipes = (replace(run.recipe, seed=seed, active=active) for seed, active in ((0, here), (5, there)))
    runs = [
        replace(run, id=new_id(), recipe=recipe, host=host) for recipe, host in zip(recipes, ("x", "y"), strict=True)
    ]
    found = diff(memory, *runs)
    assert changes(found.seeds) == {"seed": (0, 5)}
    assert changes(found.hardware) == {
        "host": ("x", "y"),
        "cpu": ("avx2", "avx2 avx512f"),
        "openblas.architecture": ("Haswell", "SkylakeX"),
    }
    assert found.in_a_line() == {"seed": "seed: 0 -> 5"}


def test_definitions_by_their_declaration_or_in_the_words_of_who_knows_them(memory):
    views = [
        Artifact.of("feature_view", {"name": "weather", "window": window}, created=memory.clock())
        for window in ("1h", "3h")
    ]
    sets = [
        Artifact.of(
            "training_set",
            {"features": [{"name": "w", "feature": "weather:w", "view": view.digest}]},
            created=memory.clock(),
        )
        for view in views
    ]
    memory.ledger.write(*views, *sets)
    for pair in (views, sets):
        (change,) = diff(memory, *pair).features
        assert (change.name, change.what) == ("weather", "window: 1h -> 3h")
    told = diff(
        memory, *sets, describe=lambda a, b: [DefinitionChange("weather", f"{a.spec['window']} no more", "safe")]
    )
    assert [str(change) for change in told.features] == ["weather: 1h no more"]


def test_in_a_line_for_each_cause(memory):
    a = a_fit(memory, "a", 2, 4)
    b = a_fit(memory, "b", 8, 6, code="x = 1\ny = 2\n")
    said = diff(memory, a, b).in_a_line()
    assert said["parameters"] == "depth: 2 -> 8"
    assert "features.py +1 -0" in said["code"]
    assert said["data"] == "train: 2 added, 0 removed"
    assert "environment" not in said

"""Tiny pipelines whose truth is known: what was changed by hand is what gets the blame, to the last bit."""

import json
import math
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.pipelines.workshop import build, tidy
from trivet.clock import new_id
from trivet.errors import Invalid, NotFound, StepFailed
from trivet.ledger import Artifact, RunQuery
from trivet.pipelines import values
from trivet.pipelines.execution import execute
from trivet.pipelines.recording import begin, record
from trivet.tracking.attribution import Attribution
from trivet.tracking.why import attribute, earlier

SOURCE = """
FACTOR = 2

@tv.task
def total(rows):
    return {"sum": sum(rows["values"])}

@tv.task
def score(found, bonus: int, seed: int):
    return {"score": FACTOR * found["sum"] + bonus + seed, "rows": 3}

@tv.pipeline
def flow(rows, bonus: int = 0, seed: int = 0):
    return score(total(rows), bonus, seed)

@tv.task
def alone(rows, bonus: int = 1):
    return {"score": sum(rows["values"]) * bonus}
"""


class Shop:
    """A project whose one pipeline is run, edited and run again."""

    def __init__(self, folder, source=SOURCE):
        self.built = build(folder, source)
        self.context = self.built.context

    def run(self, values_, **arguments):
        rows = values.save({"values": values_}, self.context)
        return self.fresh("flow", rows=rows, **arguments)

    def fresh(self, name, **arguments):
        """Executed by what the file says now: in a process of its own, because modules are imported once."""
        plain = {key: value.digest if hasattr(value, "digest") else value for key, value in arguments.items()}
        program = (
            "import importlib, json, sys\n"
            "from pathlib import Path\n"
            "from tests.pipelines.workshop import open_context\n"
            "from trivet.pipelines.execution import execute\n"
            f"context = open_context(Path({str(self.context.root)!r}))\n"
            f"found = getattr(importlib.import_module({self.built.name!r}), {name!r})\n"
            f"given = json.loads({json.dumps(plain)!r})\n"
            "given = {k: context.ledger.artifact(v) if k == 'rows' else v for k, v in given.items()}\n"
            "print(execute(context, found, given).run.id)\n"
        )
        here = Path(__file__).parents[2]
        path = os.pathsep.join([str(self.context.root), str(here / "src"), str(here)])
        done = subprocess.run(
            [sys.executable, "-c", program], env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True,
            check=False, cwd=self.context.root,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return self.context.ledger.run(done.stdout.split()[-1])

    def why(self, a, b, **options):
        options = {"environment": "current", "labels": ("a", "b"), "details": {}} | options
        return attribute(self.context, a, b, **options)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    made = Shop(tmp_path_factory.mktemp("why"))
    yield made
    tidy(made.built)


@pytest.fixture(scope="module")
def runs(shop):
    """By what is different from the first."""
    found = {"nothing": shop.run([1, 2, 3])}
    found["data"] = shop.run([1, 2, 10])
    found["parameters"] = shop.run([1, 2, 3], bonus=5)
    found["seed"] = shop.run([1, 2, 3], seed=4)
    shop.built.edit("FACTOR = 2", "FACTOR = 3")
    found["code"] = shop.run([1, 2, 3])
    found["everything"] = shop.run([1, 2, 10], bonus=5, seed=4)
    shop.built.edit("FACTOR = 3", "FACTOR = 3  # as agreed")
    found["comment"] = shop.run([1, 2, 10], bonus=5, seed=4)
    return found


@pytest.mark.parametrize(("cause", "amount"), [("data", 14.0), ("parameters", 5.0), ("seed", 4.0), ("code", 6.0)])
def test_one_changed_thing_gets_all_of_it(shop, runs, cause, amount):
    found = shop.why(runs["nothing"], runs[cause])
    assert found.contributions("score") == {cause: amount}
    assert found.contributions("rows") == {cause: 0.0}
    assert found.exact
    assert len(found.mixtures) == 2


def test_causes_that_interact_share_what_they_do_together(shop, runs):
    found = shop.why(runs["nothing"], runs["everything"])
    # 2*6 -> 3*13 + 5 + 4: the factor alone 6, the rows alone 14, together 7 more
    assert found.contributions("score") == {"code": 9.5, "data": 17.5, "parameters": 5.0, "seed": 4.0}
    measure = found.measure("score")
    assert (measure.a, measure.b, measure.recorded_a, measure.recorded_b) == (12, 48, 12, 48)
    assert math.fsum(found.contributions("score").values()) == measure.split.total == 36
    pairs = {(pair.first, pair.second): pair.amount for pair in measure.split.pairs}
    assert pairs.pop(("code", "data")) == 7.0
    assert set(pairs.values()) == {0.0}
    assert len(found.mixtures) == 16
    assert "code and data do more together than apart: score +7" in str(found)
    assert "Exact: all 16 combinations were measured." in str(found)


def test_the_other_way_round_it_is_mirrored_and_nothing_is_executed_again(shop, runs):
    there, back = (
        shop.why(*ends) for ends in [(runs["nothing"], runs["everything"]), (runs["everything"], runs["nothing"])]
    )
    assert back.contributions("score") == {cause: -value for cause, value in there.contributions("score").items()}
    assert all(mixture.reused for mixture in back.mixtures)


def test_every_combination_is_on_record_with_its_lineage(shop, runs):
    found = shop.why(runs["nothing"], runs["everything"])
    asked = shop.context.ledger.run(found.run)
    assert (asked.kind, asked.status, asked.parameters["a"]) == ("why", "finished", runs["nothing"].id)
    assert asked.inputs["b.result"] == runs["everything"].outputs["result"]
    assert (
        Attribution.from_json(
            values.load(shop.context.ledger.artifact(asked.outputs["attribution"]), shop.context.blobs)
        )
        == found
    )
    assert earlier(shop.context, runs["nothing"], runs["everything"]) == found
    assert earlier(shop.context, runs["seed"], runs["everything"]) is None
    one = shop.context.ledger.run(next(each.run for each in found.mixtures if each.swapped == ("data", "seed")))
    assert (one.kind, one.name, one.tags["swapped"]) == ("why", "A with B's data, seed", "data seed")
    assert one.inputs == runs["everything"].inputs
    assert one.recipe.code == runs["nothing"].recipe.code
    assert one.metrics["score.score"] == 30


def test_an_edit_that_changes_nothing_that_is_reached_is_no_cause(shop, runs):
    found = shop.why(runs["everything"], runs["comment"])
    assert (found.causes, found.measures, found.run) == ((), (), "")
    assert "the same, so there is nothing to swap" in str(found)


def test_a_budget_that_is_used_up_leaves_estimates_with_bounds(shop):
    shop.built.edit("FACTOR = 3", "FACTOR = 7")
    a = shop.run([1, 1, 1])
    shop.built.edit("FACTOR = 7", "FACTOR = 8")
    b = shop.run([2, 2, 2], bonus=9, seed=1)
    found = shop.why(a, b, budget="0s")
    measure = found.measure("score")
    assert len(found.mixtures) == 2
    assert not found.exact
    assert math.fsum(found.contributions("score").values()) == measure.split.total
    truth = shop.why(a, b).contributions("score")
    for share in measure.split.shares:
        assert share.low <= truth[share.player] <= share.high
        assert share.low < share.amount < share.high
    assert "2 of 16 combinations were measured before the time was up" in str(found)


def test_it_tells_how_far_it_is(shop, runs):
    said = []
    shop.why(runs["nothing"], runs["seed"], seed=1, progress=lambda *told: said.append(told))
    assert said
    assert {total for _, _, total in said} == {2}


def test_a_task_alone(shop):
    rows = values.save({"values": [1, 2]}, shop.context)
    a, b = (
        record(
            shop.context, "task", "alone", shop.built.module.alone, inputs={"rows": rows}, parameters={"bonus": bonus}
        )[0]
        for bonus in (2, 5)
    )
    assert shop.why(a, b).contributions("score") == {"parameters": 9.0}


def test_a_pipeline_and_a_task_have_no_parts_in_common(shop, runs):
    step = shop.built.runs(parent=runs["nothing"].id)[0]
    with pytest.raises(Invalid, match="Give two pipelines"):
        shop.why(runs["nothing"], step)


def test_what_was_logged_by_hand_cannot_be_executed(shop, runs):
    by_hand = begin(shop.context, kind="experiment", name="notebook")
    with pytest.raises(Invalid, match="has no recipe"):
        shop.why(by_hand, runs["nothing"])
    with pytest.raises(NotFound, match="environment to execute in"):
        shop.why(runs["nothing"], runs["seed"], environment="nowhere")


NARROW = """
@tv.task
def score(rows, **options):
    return {"score": float(sum(rows["values"]))}

@tv.pipeline
def flow(rows, old: int = 1):
    return score(rows, old=old)
"""


def test_what_does_not_run_apart_is_one_cause(tmp_path):
    shop = Shop(tmp_path, NARROW)
    try:
        a = shop.run([1, 2], old=3)
        shop.built.edit(
            "old: int = 1):\n    return score(rows, old=old)", "new: int = 1):\n    return score(rows, new=new)"
        )
        shop.built.edit('float(sum(rows["values"]))', 'sum(rows["values"]) + options["new"]')
        b = shop.run([1, 5], new=10)
        found = shop.why(a, b, details={"code": "lines", "parameters": "old is new"})
        assert [cause.name for cause in found.causes] == ["code + parameters", "data"]
        assert found.causes[0].members == ("code", "parameters")
        assert found.causes[0].differs == "lines; old is new"
        assert found.contributions("score") == {"code + parameters": 10.0, "data": 3.0}
        assert found.exact
        assert "code and parameters count as one cause, because they do not run apart: There is no parameter" in str(
            found
        )
        failed = shop.context.ledger.run(next(each.run for each in found.mixtures if each.error))
        assert (failed.kind, failed.status) == ("why", "failed")
    finally:
        tidy(shop.built)


CLOCK = """
from pathlib import Path

@tv.task
def score(rows, bonus: int):
    beside = Path(ROOT) / "beside.txt"
    return {"score": len(beside.read_text()) + bonus}

@tv.pipeline
def flow(rows, bonus: int = 0):
    return score(rows, bonus)
"""


def test_what_is_not_made_again_is_said_and_not_blamed_on_a_cause(tmp_path):
    (tmp_path / "beside.txt").write_text("1234")
    shop = Shop(tmp_path, CLOCK.replace("ROOT", repr(str(tmp_path.resolve()))))
    try:
        a, b = shop.run([1]), shop.run([1], bonus=7)
        (tmp_path / "beside.txt").write_text("123456")
        found = shop.why(a, b)
        assert found.contributions("score") == {"parameters": 7.0}
        assert (found.measure("score").recorded_a, found.measure("score").a) == (4, 6)
        assert "A had score.score 4 when it ran and has 6 now. The rest, -2," in str(found)
        (tmp_path / "beside.txt").unlink()
        c = shop_run_gone(shop)
        with pytest.raises(StepFailed, match="does not run any more as it was: score: FileNotFoundError"):
            shop.why(a, c)
        asked = shop.context.ledger.runs(RunQuery(kind="why", status="failed", limit=1))
        assert asked
    finally:
        tidy(shop.built)


def shop_run_gone(shop):
    """A run whose undeclared file is there only while it runs."""
    beside = shop.context.root / "beside.txt"
    beside.write_text("x")
    try:
        return shop.run([1], bonus=8)
    finally:
        beside.unlink()


PINNED = """
from importlib.metadata import version

@tv.task
def minor(rows):
    return {"minor": float(version("six").split(".")[1])}
"""


@pytest.mark.slow
def test_a_package_that_is_pinned_otherwise(tmp_path):
    """Two environments are built, because the code imports what differs in them; the one that does not is no cause."""
    shop = Shop(tmp_path, PINNED)
    try:
        rows = values.save([1], shop.context)
        run = record(shop.context, "task", "minor", shop.built.module.minor, inputs={"rows": rows}, parameters={})[0]
        a, b = (a_run_in(shop.context, run, f"six=={pin}") for pin in ("1.16.0", "1.17.0"))
        found = shop.why(a, b, environment="locked")
        assert found.contributions("minor") == {"environment": 1.0}
        assert len(list((tmp_path / ".trivet" / "environments").iterdir())) == 2
        other = a_run_in(shop.context, run, "six==1.17.0", "wheel==0.45.1")
        assert shop.why(b, other, environment="auto").causes == ()
    finally:
        tidy(shop.built)


def a_run_in(context, run, *pins):
    """The run as if it had been made where these were installed; its code imports ``six``."""
    pins = (f"msgspec=={version('msgspec')}", *pins)
    spec = {"python": platform.python_version(), "hashes": "record", "distributions": len(pins)}
    lock = context.blobs.put("".join(f"{pin}\n" for pin in pins).encode())
    artifact = Artifact.of("environment", spec, {"requirements.lock": lock}, created=context.clock())
    recipe = replace(run.recipe, environment=artifact.digest)
    made = replace(run, id=new_id(), recipe=recipe, key_parts={"distribution six": "x", "distribution msgspec": "x"})
    context.ledger.write(artifact, made)
    return made


SPREAD = """
@tv.task
def score(rows, by):
    return {"score": sum(by["left"]) + sum(by["right"]) + sum(rows["values"])}

@tv.pipeline
def flow(rows, by):
    return score(rows, by=by)
"""


def test_inputs_by_name_are_swapped_too(tmp_path):
    shop = Shop(tmp_path, SPREAD)
    try:
        ends = []
        for left in ([1], [5]):
            by = {"left": values.save(left, shop.context), "right": values.save([10], shop.context)}
            rows = values.save({"values": [0]}, shop.context)
            ends.append(execute(shop.context, shop.built.module.flow, {"rows": rows, "by": by}).run)
        assert set(ends[0].inputs) == {"rows", "by.left", "by.right"}
        assert shop.why(*ends).contributions("score") == {"data": 4.0}
    finally:
        tidy(shop.built)

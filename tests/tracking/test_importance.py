import random
from datetime import UTC, datetime

import pytest
from scipy.stats import spearmanr

from trivet.errors import Invalid
from trivet.ledger import Run
from trivet.tracking.importance import importance_of

NOW = datetime(2026, 11, 20, tzinfo=UTC)


def tried(count: int) -> list[Run]:
    draw = random.Random(7)
    made = []
    for number in range(count):
        given = {"rate": draw.random(), "noise": draw.random(), "loss": draw.choice(["l1", "l2"]), "seed": 0}
        score = 3 * given["rate"] + (given["loss"] == "l2") + 0.01 * draw.random()
        made.append(Run(f"01{number:05}", "experiment", "t", "finished", NOW, parameters=given, metrics={"auc": score}))
    return made


@pytest.mark.parametrize(("count", "method"), [(20, "rank correlation"), (120, "permutation importance")])
def test_what_matters_comes_first_and_it_says_on_how_many_runs_it_rests(count, method):
    found = importance_of(tried(count), "auc")
    assert (found.runs, found.method.startswith(method)) == (count, True)
    assert found.weights[0].name == "rate"
    assert found.weights[-1].name == "noise"
    assert sum(weight.importance for weight in found.weights) == pytest.approx(1)
    assert "seed" not in str(found)
    assert f"over {count} runs" in str(found)


def test_the_correlation_is_spearmans():
    runs = tried(25)
    found = {weight.name: weight.correlation for weight in importance_of(runs, "auc").weights}
    theirs = spearmanr([run.parameters["rate"] for run in runs], [run.metrics["auc"] for run in runs]).statistic
    assert found["rate"] == pytest.approx(theirs)
    assert found["loss"] is None


def test_too_few_runs_are_refused():
    with pytest.raises(Invalid, match=r"2 of 2 runs have the metric 'auc'\. It takes 3"):
        importance_of(tried(2), "auc")
    with pytest.raises(Invalid, match="0 of 5 runs have the metric 'none'"):
        importance_of(tried(5), "none")

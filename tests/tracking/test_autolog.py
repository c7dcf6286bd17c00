import logging
import subprocess
import sys
from types import ModuleType

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.ensemble import RandomForestClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tests.tracking.project import process_environment
from trivet.ledger import RunQuery
from trivet.tracking import autolog
from trivet.tracking.runs import start

X = np.random.default_rng(0).normal(size=(60, 3))
Y = (X[:, 0] > 0).astype(int)


@pytest.fixture
def recording(memory, monkeypatch):
    monkeypatch.setattr(autolog, "_warned", False)
    autolog.enable(memory)
    yield memory
    autolog.disable()


def runs(context, **conditions):
    return list(context.ledger.runs(RunQuery(kind="experiment", **conditions)))


def test_a_fit_leaves_a_run_with_parameters_score_and_model(recording):
    model = LogisticRegression(C=0.5)
    assert model.fit(X, Y) is model
    (run,) = runs(recording)
    assert (run.name, run.status, run.tags["trivet.autolog"]) == ("LogisticRegression", "finished", "sklearn")
    assert run.parameters["C"] == 0.5
    assert run.metrics["training/score"] == model.score(X, Y)
    assert run.metrics["fit_seconds"] >= 0
    assert "model" in run.outputs


def test_only_the_outermost_fit_is_recorded_and_no_transformer(recording):
    make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y)
    RandomForestClassifier(5, n_jobs=2).fit(X, Y)
    VotingClassifier([("a", LogisticRegression()), ("b", RandomForestClassifier(2))], n_jobs=1).fit(X, y=Y)
    StandardScaler().fit(X)
    assert [run.name for run in runs(recording)] == ["VotingClassifier", "RandomForestClassifier", "Pipeline"]
    pipeline = runs(recording)[-1]
    assert pipeline.parameters["logisticregression__C"] == 1.0
    assert "StandardScaler" in pipeline.parameters["steps"]


def test_the_first_fit_goes_into_the_open_run_and_the_next_become_its_children(recording):
    with start(recording, "mine") as run:
        LogisticRegression(C=0.1).fit(X, Y)
        LogisticRegression(C=0.2).fit(X, Y)
    assert recording.ledger.run(run.id).parameters["C"] == 0.1
    (child,) = runs(recording, parent=run.id)
    assert child.parameters["C"] == 0.2


def test_a_search_leaves_its_candidates_as_children(recording):
    search = GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0, 10.0]}, cv=2).fit(X, Y)
    (run,) = [run for run in runs(recording) if run.parent is None]
    assert run.parameters["best/C"] == search.best_params_["C"]
    assert run.metrics["best_score"] == search.best_score_
    children = runs(recording, parent=run.id)
    assert sorted(child.parameters["C"] for child in children) == [0.1, 1.0, 10.0]
    assert all(0 <= child.metrics["mean_test_score"] <= 1 for child in children)


def test_a_fit_that_fails_fails_as_before_and_says_so(recording):
    with pytest.raises(ValueError, match="one class") as raised:
        LogisticRegression().fit(X, Y * 0)
    (run,) = runs(recording)
    assert run.status == "failed"
    assert str(raised.value)[:30] in run.error


def test_what_cannot_be_recorded_breaks_no_fit_and_warns_once(recording, monkeypatch, caplog):
    class Own(BaseEstimator):  # of no type that is trusted, and with a score that raises
        def fit(self, X, y=None):
            self.fitted_ = True
            return self

        def predict(self, X):
            return X

        def score(self, X, y):
            raise ZeroDivisionError

    with caplog.at_level(logging.WARNING):
        assert Own().fit(X, Y).fitted_
        Own().fit(X, Y)
        monkeypatch.setattr(autolog, "start", lambda *_, **__: 1 / 0)
        assert LogisticRegression().fit(X, Y).coef_.shape == (1, 3)
    assert sum("could not be recorded" in record.message for record in caplog.records) == 1
    assert [run.status for run in runs(recording)] == ["finished", "finished"]


def test_after_it_is_off_nothing_is_recorded(recording):
    autolog.disable()
    LogisticRegression().fit(X, Y)
    assert runs(recording) == []


def test_boosting_by_its_own_function_leaves_its_curves(recording):
    class Booster:
        def save_raw(self, raw_format):
            return bytearray(b'{"trees": []}')

    def train(params, data, num_boost_round=10, *, evals_result=None):
        evals_result["test"] = {"auc": [0.5, 0.6, 0.7]}
        return Booster()

    module = ModuleType("xgboost")
    module.train = train
    autolog._HOOKS["xgboost"](module)
    autolog._HOOKS["xgboost"](module)  # once is enough
    assert isinstance(module.train({"eta": 0.3}, None, 3), Booster)
    (run,) = runs(recording)
    assert run.parameters == {"eta": 0.3, "num_boost_round": 3}
    assert set(run.outputs) == {"model.json"}
    assert [one.value for one in recording.ledger.metrics(run.id, "test/auc")] == [0.5, 0.6, 0.7]


def test_an_optimizer_tells_its_parameters_once(recording):
    hooks = []
    module = ModuleType("torch.optim.optimizer")
    module.register_optimizer_step_pre_hook = hooks.append
    autolog._HOOKS["torch.optim.optimizer"](module)
    optimizer = type("Adam", (), {"defaults": {"lr": 0.01, "betas": (0.9, 0.99)}})()
    with start(recording, "net") as run:
        for _ in range(3):
            hooks[0](optimizer, (), {})
    hooks[0](optimizer, (), {})  # outside of a run
    stored = recording.ledger.run(run.id).parameters
    assert stored == {"optimizer": "Adam", "optimizer/lr": 0.01, "optimizer/betas": [0.9, 0.99]}
    assert len(hooks) == 1


LATER = """
import sys
from pathlib import Path
from tests.tracking.project import open_context
from trivet.ledger import RunQuery
from trivet.tracking.autolog import enable
context = open_context(Path(sys.argv[1]))
enable(context)
assert "sklearn" not in sys.modules and "numpy" not in sys.modules
from sklearn.linear_model import LinearRegression
LinearRegression().fit([[1.0], [2.0]], [1.0, 2.0])
print([run.name for run in context.ledger.runs(RunQuery(kind="experiment"))])
"""


def test_a_library_that_is_imported_later_is_recorded_and_none_is_imported_for_it(tmp_path):
    command = [sys.executable, "-c", LATER, str(tmp_path)]
    done = subprocess.run(command, env=process_environment(), capture_output=True, text=True, check=False)
    assert done.stdout == "['LinearRegression']\n", done.stderr

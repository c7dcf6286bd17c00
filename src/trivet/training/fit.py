"""Fitting one of scikit-learn's estimators by name, so that a pipeline's parameters can say which.

Names come from a list: text from a parameter file or a request never imports anything else. Invariant: the same
rows, name, parameters and seed make the same model.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from trivet.errors import Invalid, NotFound

if TYPE_CHECKING:
    from trivet.pipelines.values.model import Model

__all__ = ["ESTIMATORS", "estimator_of", "fit"]

_TAKES_GAPS = {
    "ensemble": (
        "HistGradientBoostingClassifier", "HistGradientBoostingRegressor", "RandomForestClassifier",
        "RandomForestRegressor", "ExtraTreesClassifier", "ExtraTreesRegressor",
    ),
    "tree": ("DecisionTreeClassifier", "DecisionTreeRegressor"),
    "dummy": ("DummyClassifier", "DummyRegressor"),
}  # fmt: skip
_NEEDS_FILLING = {
    "ensemble": ("GradientBoostingClassifier", "GradientBoostingRegressor", "AdaBoostClassifier", "AdaBoostRegressor"),
    "linear_model": (
        "LogisticRegression", "LinearRegression", "Ridge", "Lasso", "ElasticNet", "PoissonRegressor", "SGDClassifier",
        "SGDRegressor",
    ),
    "naive_bayes": ("GaussianNB",),
    "neighbors": ("KNeighborsClassifier", "KNeighborsRegressor"),
    "neural_network": ("MLPClassifier", "MLPRegressor"),
    "svm": ("LinearSVC", "LinearSVR", "SVC", "SVR"),
}  # fmt: skip

ESTIMATORS: dict[str, str] = {
    name: f"sklearn.{module}"
    for table in (_TAKES_GAPS, _NEEDS_FILLING)
    for module, names in table.items()
    for name in names
}
"""The estimators that can be asked for by name, and the module each is in."""


def fit(
    train: Any,
    estimator: str | Any = "HistGradientBoostingClassifier",
    *,
    features: Sequence[str] | None = None,
    label: str | None = None,
    seed: int = 0,
    **parameters: Any,
) -> Model:
    """A model fitted to a training set or a data frame.

    Args:
        train: a training set, or any data frame together with ``label``.
        estimator: a name of ``ESTIMATORS`` (``sklearn.ensemble.`` and so on may stand before it), or an unfitted
            estimator. A name of one that cannot take missing values is put behind filling with the median and
            scaling.
        features: the columns to learn from; all features where left out.
        label: the column to predict; a training set knows it.
        seed: the estimator's ``random_state``, where it has one and none is among the parameters.
        parameters: of the estimator.

    Raises:
        NotFound: the name or a parameter does not exist; the nearest are named.

    Example:
        >>> import polars as pl
        >>> rows = pl.DataFrame({"x": [0.0, 1.0, 2.0], "y": [1.0, 3.0, 5.0]})
        >>> round(fit(rows, "LinearRegression", label="y").score([{"x": 3}])[0]["prediction"], 6)
        7.0
    """
    from trivet.pipelines.values.model import Model

    chosen = estimator_of(estimator, seed=seed, **parameters)
    return Model.fit(chosen, train, features=features, label=label)


def estimator_of(estimator: str | Any, *, seed: int = 0, **parameters: Any) -> Any:
    """The unfitted estimator that ``fit`` would use.

    Example:
        >>> estimator_of("RandomForestClassifier", n_estimators=10).random_state
        0
    """
    if not isinstance(estimator, str):
        if not hasattr(estimator, "fit") or not hasattr(estimator, "get_params"):
            raise Invalid(f"An estimator has fit() and get_params(), as scikit-learn's do; got {estimator!r}.")
        from sklearn.base import clone

        return _with(clone(estimator), type(estimator).__name__, parameters)
    name = estimator.rpartition(".")[2]
    if name not in ESTIMATORS or not f"{ESTIMATORS[name]}.{name}".endswith(estimator):
        raise NotFound("estimator", estimator, ESTIMATORS, hint="Or give an estimator object.")
    made = getattr(import_module(ESTIMATORS[name]), name)()
    if "random_state" in made.get_params():
        parameters.setdefault("random_state", seed)
    made = _with(made, name, parameters)
    return made if any(name in names for names in _TAKES_GAPS.values()) else _filled(made)


def _with(estimator: Any, name: str, parameters: dict[str, Any]) -> Any:
    known = estimator.get_params()
    for parameter in parameters:
        if parameter not in known:
            raise NotFound(f"parameter of {name}", parameter, known)
    return estimator.set_params(**parameters)


def _filled(estimator: Any) -> Any:
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler(), estimator)

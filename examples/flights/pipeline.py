"""The pipeline of the flights model: split by time, fit a static and a full model, evaluate both.

Plain functions: each can be called and tested as it is. As steps they are recorded, each in its own process:
``trivet run examples/flights train --flights training_set:ID``.
"""

from __future__ import annotations

import trivet as tv

ASKED = ["weekday", "distance", "carrier", "origin", "dest"]
"""What the model takes as the caller says it. No month: the tested months are never among the trained ones."""
STATIC = ["minute_of_day", *ASKED, "age", "seats"]


@tv.task(outputs=("train", "test"))
def split(flights: tv.TrainingSet, at: str) -> tuple[tv.TrainingSet, tv.TrainingSet]:
    """Never shuffle what happened over time: the past trains, the future tests."""
    return flights.before(at), flights.since(at)


@tv.task
def fit(train: tv.TrainingSet, features: list[str] | None, max_iter: int, seed: int) -> tv.Model:
    """Gradient boosting on the columns named, or on what is asked and all features."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    features = features or [*ASKED, *(column.name for column in train.columns_of_features)]
    # airports and airlines as numbers: as categories, the 105 destinations fit to noise
    settings = {"early_stopping": False, "categorical_features": None}
    estimator = HistGradientBoostingClassifier(max_iter=max_iter, random_state=seed, **settings)
    return tv.Model.fit(estimator, train, features=features)


@tv.task
def evaluate(model: tv.Model, test: tv.TrainingSet) -> dict[str, float]:
    """The standard measures; a flat dict of numbers also becomes the run's metrics."""
    return tv.evaluate(model, test)


@tv.pipeline
def train(flights: tv.TrainingSet, at: str = "2013-10-01T04:00:00Z", max_iter: int = 100, seed: int = 0) -> tv.Model:
    """From a training set to a static baseline and the full model, both measured on October to December."""
    past, future = split(flights, at=at)
    baseline = fit.named("fit_static")(past, features=STATIC, max_iter=max_iter, seed=seed)
    model = fit(past, features=None, max_iter=max_iter, seed=seed)
    evaluate.named("evaluate_static")(baseline, future)
    evaluate(model, future)
    return model

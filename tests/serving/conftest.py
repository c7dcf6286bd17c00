from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from trivet.clock import FixedClock
from trivet.serving.metrics import Metrics
from trivet.serving.predictor import Deployed, Predictor
from trivet.types import to_micros

NOW = datetime(2013, 11, 3, 12, tzinfo=UTC)


class Column(msgspec.Struct, frozen=True):
    name: str
    type: str
    categories: tuple[str, ...] | None = None
    feature: str | None = None
    view: str | None = None


class Signature(msgspec.Struct, frozen=True):
    inputs: tuple[Column, ...]
    target: str = "late"
    classes: tuple[Any, ...] | None = ("no", "yes")


class Vector(msgspec.Struct):
    values: dict[str, Any]
    times: dict[str, int | None]
    status: dict[str, str]


SIGNATURE = Signature(
    (
        Column("distance", "number"),
        Column("delay_3h", "number", feature="congestion:delay_3h"),
        Column("carrier", "category", ("AA", "UA")),
        Column("rain", "number", feature="weather:rain"),
        Column("night", "boolean"),
    )
)
STORE = {
    "JFK": {"congestion:delay_3h": 12.5, "weather:rain": None},
    "LGA": {"congestion:delay_3h": 3, "weather:rain": 0.5},
}


def read(entities, at):
    """A reader over STORE: the event time of everything is an hour before it is asked for."""
    vectors = []
    for entity in entities:
        known = STORE.get(entity["origin"])
        vectors.append(
            Vector(dict.fromkeys(STORE["JFK"]), dict.fromkeys(STORE["JFK"]),
                   dict.fromkeys(STORE["JFK"], "missing"))
            if known is None
            else Vector(dict(known), dict.fromkeys(known, at - 3_600_000_000),
                        {name: "null" if value is None else "present" for name, value in known.items()})
        )  # fmt: skip
    return vectors


def score(rows):
    """A classifier that anyone can work out by hand: p(yes) = distance / 1000, plus a tenth at night."""
    outputs = []
    for row in rows:
        assert list(row) == ["distance", "delay_3h", "carrier", "rain", "night"]
        p = min(1.0, (row["distance"] or 0) / 1000 + 0.1 * row["night"])
        outputs.append({"prediction": "yes" if p > 0.5 else "no", "probability": {"no": 1 - p, "yes": p}})
    return outputs


def deployed(**changes):
    fields: dict[str, Any] = {
        "name": "delay", "version": "3", "digest": "d" * 64, "signature": SIGNATURE,
        "entity_keys": {"origin": "text"}, "deployment": "01RUN",
    }  # fmt: skip
    return Deployed(**fields | changes)


class Log(list):
    def __call__(self, records):
        self.extend(records)


@pytest.fixture
def log():
    return Log()


@pytest.fixture
def metrics():
    return Metrics()


@pytest.fixture
def make(log, metrics):
    def build(*, reader=read, scorer=score, **changes) -> Predictor:
        model = deployed(**changes)
        return Predictor(model, reader, scorer, log, metrics=metrics.of(model), clock=FixedClock(NOW))

    return build


@pytest.fixture
def body():
    def build(**changes: Any) -> Mapping[str, Any]:
        values = {"distance": 400, "carrier": "AA", "night": True}
        return {"entities": {"origin": "JFK"}, "values": values} | changes

    return build


@pytest.fixture
def now():
    return to_micros(NOW)

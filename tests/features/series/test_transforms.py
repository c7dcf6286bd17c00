from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from tests.features.series.test_store import at, frame, values
from trivet.errors import Invalid, NotFound
from trivet.features.aggregates import latest, mean
from trivet.features.series import TimeSeries
from trivet.features.tables import EventTables


@pytest.fixture
def energy(series):
    series.write("energy", frame((0, 10.0), (2, 20.0)))
    series.write("energy", frame((0, 1), (1, 2), (2, None), name="load"))
    return series


@pytest.fixture
def project(energy):
    return SimpleNamespace(series=energy)


def test_a_computed_series_is_read_like_any_other_and_chained(project, energy):
    @project.series.transform("energy:cost", ["energy:price", "energy:load"])
    def cost(price, load):
        "What it costs."
        return price * load

    @project.series.transform("energy:change", {"now": "energy:cost", "mean": mean("energy:price", "2h")})
    def change(now, mean):
        return now - np.nan_to_num(mean)

    assert cost(2, 3) == 6
    table = energy.read(["energy:price", "energy:cost", "energy:change"], freq="1h")
    assert table.columns == ["time", "price", "cost", "change"]
    assert table.rows() == [(at(0), 10.0, 10.0, 10.0), (at(1), 10.0, 20.0, 10.0), (at(2), 20.0, None, None)]
    assert values(energy.read({"c": "energy:cost"}, freq="1h", as_known_at=at(-9), start=at(0), end=at(1)), "c") == [
        None
    ]
    assert energy.transforms()["energy:cost"].description == "What it costs."


def test_another_process_computes_it_too(project, energy, context):
    @project.series.transform("energy:twice", "energy:price")
    def twice(price):
        return 2 * price

    again = TimeSeries(context, EventTables(context))
    assert values(again.read("energy:twice"), "twice") == [20.0, 40.0]

    @project.series.transform("energy:twice", "energy:price")
    def thrice(price):
        return 3 * price

    assert values(energy.read("energy:twice"), "twice") == [30.0, 60.0]
    assert len({each.label for each in context.ledger.pointers(name="series/energy.twice")}) == 3


def test_what_looks_at_other_rows_is_refused(project, energy):
    @project.series.transform("energy:rank", "energy:price")
    def rank(price):
        return price - price.mean() if len(price) else price

    with pytest.raises(Invalid, match="asked for that moment alone"):
        energy.read("energy:rank")


def test_transforms_that_are_none(energy):
    def one(price):
        return price

    def other(cost):
        return cost

    with pytest.raises(NotFound, match="parameter"):
        energy.transform("energy:x", ["energy:load"])(one)
    with pytest.raises(NotFound, match="energy:oil"):
        energy.transform("energy:x", ["energy:oil"])
    with pytest.raises(Invalid, match="a name that no series has"):
        energy.transform("energy:load", ["energy:price"])
    energy.transform("energy:x", ["energy:price"])(one)
    with pytest.raises(Invalid, match="computed from itself"):
        energy.transform("energy:x", {"price": "energy:x"})(one)
    with pytest.raises(Invalid, match="cannot be written"):
        energy.write("energy", frame((0, 1), name="x"))
    with pytest.raises(Invalid, match="fails"):
        energy.transform("energy:y", {"cost": latest("energy:price", lag="1h")})(lambda_like)
    with pytest.raises(Invalid, match="one number for each"):
        energy.transform("energy:z", {"cost": "energy:price"})(constant)


def lambda_like(cost):
    return cost.nothing


def constant(cost):
    return 1.0

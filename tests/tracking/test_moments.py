"""What a name meant at a moment."""

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from tests.tracking.project import a_model
from trivet.errors import Invalid, NotFound
from trivet.tracking.moments import moment_of, resolve_at

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Backdated:
    """A ledger whose pointers were put on other days: by their order, the days given."""

    def __init__(self, ledger, days):
        self._ledger, self._days = ledger, days

    def __getattr__(self, name):
        return getattr(self._ledger, name)

    def pointers(self, **asked):
        order = [one.at for one in self._ledger.pointers(history=True)]
        moved = {at: START + timedelta(days=day) for at, day in zip(sorted(order), self._days, strict=True)}
        return [replace(one, at=moved[one.at]) for one in self._ledger.pointers(**asked)]


@pytest.fixture
def models(context):
    return [a_model(context, number) for number in (1, 2)]


@pytest.fixture
def ledger(context, models):
    """delay: version 1 on the first day, champion a day later; version 2 and champion a week later, then none."""
    moves = [(None, 0, 0), ("champion", 0, 1), (None, 1, 7), ("champion", 1, 8), ("champion", None, 9)]
    for label, place, _ in moves:
        digest = None if place is None else models[place].digest
        context.ledger.point("model/delay", label, digest, by="ada")
    return Backdated(context.ledger, [day for *_, day in moves])


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("delay@2026-03-02", 0),  # no champion yet: the newest version
        ("delay@2026-03-05", 0),
        ("delay@2026-03-09", 0),  # version 2 is there, the champion is not it yet
        ("delay@2026-03-10", 1),
        ("delay@2026-03-09T12:00:00Z", 1),  # to the second
        ("delay@2026-03-09T11:59:59Z", 0),
        ("model/delay@champion@2026-03-10", 1),
        ("delay@2026-03-20", 1),  # no champion any more: the newest version
        ("delay@1", 0),
        ("delay@2", 1),
    ],
)
def test_a_name_at_a_moment(ledger, models, reference, expected):
    assert resolve_at(ledger, reference) == models[expected]


def test_other_kinds_by_their_name(context):
    view = a_model(context, 7, "feature_view")
    for label in (None, "current"):
        context.ledger.point("feature_view/congestion", label, view.digest, by="ada")
    ledger = Backdated(context.ledger, [0, 0.5])
    assert resolve_at(ledger, "congestion@2026-04-01") == view
    assert resolve_at(ledger, "feature_view/congestion@2026-04-01") == view


def test_before_the_first_it_says_since_when(ledger):
    with pytest.raises(
        NotFound, match=r"no version of delay '2026-02-01 00:00 UTC'. The first was named on 2026-03-01 12:00"
    ):
        resolve_at(ledger, "delay@2026-02-01")
    with pytest.raises(NotFound, match=r"champion of delay.* The first was named on 2026-03-02"):
        resolve_at(ledger, "delay@champion@2026-03-02")
    with pytest.raises(NotFound, match="It was never named"):
        resolve_at(ledger, "nobody@2026-03-02")


def test_what_is_no_moment(ledger):
    with pytest.raises(Invalid, match="not a day"):
        moment_of("2026-02-30")
    with pytest.raises(Invalid, match="time zone"):
        resolve_at(ledger, "delay@2026-03-09T12:00:00")

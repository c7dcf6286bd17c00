"""Questions to the table of predictions, against answers from all of its rows."""

from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.serving.test_records import record
from trivet.errors import Ambiguous, NotFound
from trivet.ledger.tables import Tables
from trivet.serving.history import History
from trivet.serving.records import TABLE, to_arrow
from trivet.types import to_micros

NOW = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = 3_600_000_000


def row(number, *, hours, deployment="a", **changes):
    return record(number, received=to_micros(NOW) - hours * HOUR, deployment=deployment, **changes)


@pytest.fixture
def tables(tmp_path):
    return Tables(tmp_path)


@pytest.fixture
def history(tables):
    return History(tables.read)


def test_nothing_was_predicted(history):
    assert history.served() == {}
    assert history.latest(10, now=NOW).height == 0
    assert "received" in history.latest(10, now=NOW).columns
    with pytest.raises(NotFound):
        history.one("01JCZ8ABC")


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-2, 3000), st.sampled_from("ab")), min_size=1, max_size=12),
    st.integers(1, 14),
    st.sampled_from([None, "a", "b", "c"]),
    st.none() | st.integers(-1, 3000),
    st.sampled_from([None, "received"]),
)
def test_the_latest_are_those_of_all(tmp_path_factory, rows, limit, deployment, since, day_of):
    tables = Tables(tmp_path_factory.mktemp("tables"))
    made = [row(number, hours=hours, deployment=name) for number, (hours, name) in enumerate(rows)]
    for each in made:
        tables.append(TABLE, to_arrow([each]), day_of=day_of)
    earliest = None if since is None else NOW - timedelta(hours=since)
    found = History(tables.read).latest(limit, now=NOW, deployment=deployment, since=earliest)
    mine = [
        each
        for each in made
        if deployment in (None, each.deployment) and (earliest is None or each.received >= to_micros(earliest))
    ]
    mine.sort(key=lambda each: (each.received, each.id), reverse=True)
    assert found["id"].to_list() == [each.id for each in mine[:limit]]
    counted = {name: (count, to_micros(last)) for name, (count, last) in History(tables.read).served().items()}
    assert counted == {
        name: (len(received), max(received))
        for name in {each.deployment for each in made}
        if (received := [each.received for each in made if each.deployment == name])
    }


def test_one_by_the_start_of_its_id(tables, history):
    ids = ["flight-1", "flight-12", "ab", "x" * 127 + "y", "x" * 127 + "z"]
    tables.append(TABLE, to_arrow([row(0, hours=5, id=each) for each in ids]), day_of="received")
    tables.append(TABLE, to_arrow([row(0, hours=30, id="flight-2")]), day_of="received")
    for asked, meant in [("flight-1", "flight-1"), ("flight-12", "flight-12"), ("flight-2", "flight-2"), ("ab", "ab")]:
        assert history.one(asked)["id"] == meant
    assert history.one("x" * 127 + "z")["id"].endswith("z")
    with pytest.raises(Ambiguous, match="flight-1, flight-12, flight-2"):
        history.one("flight-")
    for asked in ("a", "fligh", ""):
        with pytest.raises(NotFound, match="6 characters at least"):
            history.one(asked)
    with pytest.raises(NotFound, match="lists the latest"):
        history.one("flight-9")


def test_of_equal_ids_the_last_one_counts(tables, history):
    for hours, deployment in ((3, "a"), (1, "b"), (2, "c")):
        tables.append(TABLE, to_arrow([row(0, hours=hours, deployment=deployment, id="the-same")]))
    assert history.one("the-same")["deployment"] == "b"


def test_other_days_are_not_opened(tables, tmp_path):
    append = partial(tables.append, TABLE, day_of="received")
    for days in range(4):
        append(to_arrow([row(days, hours=24 * days + 1)]))
    for path in (tmp_path / TABLE).glob("day=*/*.parquet"):
        if "day=2026-02-28" not in str(path):
            path.write_bytes(b"opened")
    history = History(tables.read)
    assert history.latest(1, now=NOW)["id"].to_list() == [record(0).id]
    assert history.one(record(0).id)["id"] == record(0).id

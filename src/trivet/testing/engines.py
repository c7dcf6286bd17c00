"""What every point-in-time engine must pass. An engine's tests inherit ``EngineContract`` and name its opener::

    class TestMyEngine(EngineContract):
        def open(self):
            return MyEngine()

Random tables full of ties, duplicates, nulls, late and early knowledge are compared with the plain loop of
``trivet.features.point_in_time``; named cases keep what went wrong elsewhere. Needs ``hypothesis``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from random import Random
from time import process_time
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trivet.errors import Invalid, NotFound
from trivet.features import aggregates as agg
from trivet.features.definitions import Entity, FeatureView, Source, Times
from trivet.features.engines.contract import Engine, Joined
from trivet.features.materialize import Materializer
from trivet.features.online.contract import OnlineStore
from trivet.features.online.memory import MemoryStore
from trivet.features.point_in_time import Row, agree, recompute
from trivet.features.reader import FeatureReader
from trivet.features.references import Selected, select_all
from trivet.types import to_micros

__all__ = ["EngineContract", "assert_same", "moments", "tables", "views"]

START = datetime(2013, 3, 1, tzinfo=UTC)
SCHEMA: dict[str, Any] = {
    "a": pl.Int64,
    "b": pl.Int64,
    "e": pl.Datetime("us", "UTC"),
    "k": pl.Datetime("us", "UTC"),
    "c": pl.Datetime("us", "UTC"),
    "x": pl.Float64,
    "i": pl.Int64,
    "s": pl.String,
}
SPINE: dict[str, Any] = {"a": pl.Int64, "b": pl.Int64, "t": pl.Datetime("us", "UTC")}
PLAIN = Entity("plain", key="a")
PAIR = Entity("pair", keys=("a", "b"))

moments = st.integers(0, 16).map(lambda hour: START + timedelta(hours=hour))
"""Whole hours of one day: few enough that ties are common."""
_keys = st.sampled_from([1, 1, 1, 1, 1, 2, 11, 12])  # mostly one key, so that its rows meet
_floats = st.one_of(
    st.sampled_from([0.0, -0.0, 0.1, -2.5, 1e16, -1e16, 1e-9, 3.0]),
    st.floats(-1e6, 1e6, allow_nan=False),
    st.sampled_from([float("nan"), float("inf"), float("-inf")]),
)


def tables(max_size: int = 30) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Tables with keys ``a`` and ``b``, times ``e``, ``k`` and ``c``, and values ``x``, ``i`` and ``s``."""
    row = st.fixed_dictionaries(
        {
            "a": st.one_of(_keys, _keys, _keys, st.none()),
            "b": _keys,
            "e": st.one_of(moments, moments, moments, st.none()),
            "k": st.one_of(moments, moments, moments, st.none()),
            "c": moments,
            "x": st.one_of(_floats, st.none()),
            "i": st.one_of(st.integers(-5, 5), st.none()),
            "s": st.sampled_from(["red", "green", "Zoë", None]),
        }
    )
    dense = st.integers(0, 2**32).map(lambda seed: _dense_table(Random(seed), max_size))
    return st.one_of(st.lists(row, max_size=max_size), dense, dense)


def _dense_table(random: Random, size: int) -> list[dict[str, Any]]:
    """Rows that meet: few keys, few nulls, known within hours of the event. Hypothesis alone draws too sparsely."""

    def row() -> dict[str, Any]:
        hour = random.randrange(16)
        gap = random.random() < 0.1
        return {
            "a": random.choice([1, 1, 1, 1, 2, 11, None]),
            "b": random.choice([1, 1, 12]),
            "e": START + timedelta(hours=hour) if random.random() < 0.95 else None,
            "k": START + timedelta(hours=hour + random.randrange(-2, 5)) if random.random() < 0.95 else None,
            "c": START + timedelta(hours=hour + random.choice([0, 0, 1, 3, 6])),
            "x": None if gap else random.choice([0.0, 0.1, -2.5, 1e16, 1e-9, random.gauss(0, 1), random.gauss(0, 1)]),
            "i": None if gap else random.randrange(-5, 6),
            "s": random.choice(["red", "green", "Zoë", None]),
        }

    return [row() for _ in range(random.randrange(size // 2, size))]


def _dense_spine(random: Random) -> list[dict[str, Any]]:
    def row() -> dict[str, Any]:
        return {
            "a": random.choice([1, 1, 1, 2, 11]),
            "b": random.choice([1, 1, 12]),
            "t": START + timedelta(hours=random.randrange(2, 24)),
        }

    return [row() for _ in range(12)]


_sparse_spines = st.lists(
    st.fixed_dictionaries(
        {"a": st.one_of(_keys, _keys, st.just(7), st.none()), "b": _keys, "t": st.one_of(moments, moments, st.none())}
    ),
    max_size=8,
)
_spines = st.one_of(_sparse_spines, st.integers(0, 2**32).map(lambda seed: _dense_spine(Random(seed))))
_sources = st.builds(
    lambda known, after, created, own: Source(
        "events",
        event_time="e",
        known_at="k" if known else None,
        known_after=f"{after}h",
        created="c" if created else None,
        column_times=own,
    ),
    st.booleans(),
    st.integers(0, 3),
    st.booleans(),
    st.sampled_from([{}, {}, {"x": "k"}, {"i": Times("k", "c"), "s": Times("c", after="2h")}]),
)
_ttls = st.one_of(st.none(), st.integers(1, 12).map(lambda hours: f"{hours}h"))
_windows = st.integers(1, 12).map(lambda hours: f"{hours}h")
_conditions = st.sampled_from(
    [
        "x > 0",
        "x <= i or s is null",
        "i between -2 and 2.5 and not s = 'red'",
        "s in ('red', 'Zoë')",
        "k >= e",
        "e < TIMESTAMP '2013-03-01T06:00:00Z' or a = 1",
    ]
)
_none: st.SearchStrategy[Any] = st.none()
_options = st.builds(
    lambda where, lag, bucket: {"where": where, "lag": lag, **bucket},
    st.one_of(_none, _none, _conditions),
    st.one_of(_none, _none, st.integers(1, 6).map(lambda hours: f"{hours}h")),
    st.sampled_from([{}, {}, {"by": "s", "values": {"red": "r", "Zoë": "z"}}]),
)


def _windowed(operations: Sequence[str], columns: str) -> st.SearchStrategy[agg.Feature]:
    return st.builds(
        lambda operation, column, window, options: getattr(agg, operation)(column, window, **options),
        st.sampled_from(operations),
        st.sampled_from(columns),
        st.one_of(_windows, st.just(["1h", "7h"])),
        _options,
    )


_features: st.SearchStrategy[agg.Feature] = st.one_of(
    st.builds(
        lambda column, ttl, skip, options: agg.latest(column, ttl=ttl, skip_nulls=skip, **options),
        st.sampled_from("xis"),
        _ttls,
        st.booleans(),
        _options,
    ),
    st.builds(lambda window, options: agg.count(window, **options), _windows, _options),
    _windowed(["count", "min", "max", "first", "last", "nunique"], "xis"),
    _windowed(["sum", "mean", "std"], "xi"),
    st.builds(
        lambda column, q, window, options: agg.quantile(column, q, window, **options),
        st.sampled_from("xi"),
        st.sampled_from([0.0, 0.25, 0.5, 0.9, 1.0]),
        _windows,
        _options,
    ),
)


_static_views = st.builds(
    lambda entity, columns, where: FeatureView(
        "view", entity=entity, source=Source("events"), features={c: agg.latest(c, where=where) for c in columns}
    ),
    st.sampled_from([PLAIN, PAIR]),
    st.lists(st.sampled_from("xis"), min_size=1, unique=True),
    st.one_of(_none, _conditions),
)


def views(sources: st.SearchStrategy[Source] = _sources) -> st.SearchStrategy[FeatureView]:
    """Views of those tables, with any of the aggregates."""
    return st.builds(
        lambda entity, source, features, ttl: FeatureView(
            "view", entity=entity, source=source, features={f"f{i}": f for i, f in enumerate(features)}, ttl=ttl
        ),
        st.sampled_from([PLAIN, PAIR]),
        sources,
        st.lists(_features, min_size=1, max_size=5),
        _ttls,
    )


def assert_same(features: Sequence[Selected], answer: pl.DataFrame, expected: Sequence[Mapping[str, Any]]) -> None:
    """The features of ``answer`` are those of ``expected``; all bit for bit but the standard deviation."""
    assert answer.height == len(expected)
    for each in features:
        digits = 9 if each.aggregate.operation == "std" else None
        for row, (got, want) in enumerate(
            zip(answer[each.column].to_list(), [w[each.column] for w in expected], strict=True)
        ):
            assert agree(got, want, digits=digits), f"row {row}, {each.aggregate}: {got!r} is not {want!r}"


class EngineContract:
    """The obligations of ``trivet.features.engines.contract.Engine``."""

    examples = 300

    def open(self) -> Engine:
        """The engine under test."""
        raise NotImplementedError

    def ask(
        self, spine: list[dict[str, Any]], view: FeatureView, rows: list[dict[str, Any]], *, strict: bool = False
    ) -> pl.DataFrame:
        """One question over the tables of this module."""
        joined = self.open().point_in_time(
            pl.DataFrame(spine, SPINE),
            select_all([view]),
            {"events": pl.DataFrame(rows, SCHEMA)},
            time="t",
            strict=strict,
        )
        return _polars(joined)

    def check(self, spine: list[dict[str, Any]], view: FeatureView, rows: list[dict[str, Any]], strict: bool) -> None:
        """The engine and the plain loop agree."""
        features = select_all([view])
        answer = self.ask(spine, view, rows, strict=strict)
        assert answer.select("a", "b", "t").rows() == [(r["a"], r["b"], r["t"]) for r in spine]
        expected: Sequence[Row] = recompute(spine, features, {"events": rows}, time="t", strict=strict)
        assert_same(features, answer, expected)

    def test_it_agrees_with_the_plain_loop(self) -> None:
        """Any table, any view, any spine."""

        @settings(
            max_examples=self.examples, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
        )
        @given(_spines, views(), tables(), st.booleans())
        def check(spine: list[dict[str, Any]], view: FeatureView, rows: list[dict[str, Any]], strict: bool) -> None:
            self.check(spine, view, rows, strict)

        check()

    def test_static_sources_agree_with_the_plain_loop(self) -> None:
        """Sources without times."""

        @settings(max_examples=self.examples // 4, deadline=None, database=None)
        @given(_spines, _static_views, tables())
        def check(spine: list[dict[str, Any]], view: FeatureView, rows: list[dict[str, Any]]) -> None:
            self.check(spine, view, rows, strict=False)

        check()

    def test_an_online_store_is_filled_with_the_same_values(self) -> None:
        """Any table, after any steps, the last of which may find another past: rows that came late, ties swapped."""

        @settings(max_examples=self.examples // 3, deadline=None, database=None)
        @given(views(), tables(), tables(), st.booleans(), st.lists(moments, min_size=2, max_size=3))
        def check(
            view: FeatureView,
            rows: list[dict[str, Any]],
            others: list[dict[str, Any]],
            swapped: bool,
            steps: list[datetime],
        ) -> None:
            store, changed = MemoryStore(), [*(rows[::-1] if swapped else rows), *others]
            filled = self.fill(view, rows, store)
            for step in sorted(steps)[:-1]:
                filled.advance(step)
                self.check_filled(store, view, rows, step)
            self.fill(view, changed, store).advance(max(steps))
            self.check_filled(store, view, changed, max(steps))

        check()

    def fill(self, view: FeatureView, rows: list[dict[str, Any]], store: OnlineStore) -> Materializer:
        """What fills a store with one view by the engine."""
        return Materializer([view], {"events": pl.DataFrame(rows, SCHEMA)}, store, self.open())

    def check_filled(self, store: OnlineStore, view: FeatureView, rows: list[dict[str, Any]], at: datetime) -> None:
        """The store and the plain loop agree."""
        features = select_all([view])
        keys = [{"a": a, "b": b} for a in (1, 2, 11, 12, 7) for b in (1, 12)]
        expected = recompute([{**key, "t": at} for key in keys], features, {"events": rows}, time="t", strict=False)
        answers = FeatureReader(features, store)(keys, to_micros(at))
        values = [{each.column: answer.values[each.reference] for each in features} for answer in answers]
        answer = pl.DataFrame([pl.Series(f.column, [row[f.column] for row in values], strict=False) for f in features])
        assert_same(features, answer, expected)

    def test_only_what_changed_is_put_into_an_online_store(self) -> None:
        """A step writes the keys that changed, and all of them where the past is another one; going back, nothing."""
        view, store = _latest("x"), MemoryStore()
        rows = [_row(0, a=a, x=1.0) for a in range(30)] + [_row(2, a=3, x=2.0)]
        filled = self.fill(view, rows, store)
        steps = [filled.advance(START + timedelta(hours=hour)) for hour in (1, 1, 3, 0)]
        assert [step["view"] for step in steps] == [30, 0, 1, 0]
        later = self.fill(view, [*rows, _row(4, a=99, x=3.0)], store)
        assert later.advance(START + timedelta(hours=5)) == {"view": 1}
        rewritten = self.fill(view, [*rows[1:], _row(0, a=0, x=7.0)], store)
        assert rewritten.advance(START + timedelta(hours=6)) == {"view": 30}

    def test_composite_keys_never_collide(self) -> None:
        """Composite keys never collide."""
        rows = [_row(0, a=1, b=12, x=1.0), _row(0, a=11, b=2, x=2.0)]
        spine = [_at(1, a=11, b=2), _at(1, a=1, b=12), _at(1, a=1, b=2)]
        assert self.ask(spine, _latest("x", PAIR), rows)["f"].to_list() == [2.0, 1.0, None]

    def test_rows_of_the_spine_that_are_equal_are_all_answered(self) -> None:
        """Rows of the spine that are equal are all answered."""
        answer = self.ask([_at(3), _at(1), _at(3), _at(3)], _latest("x"), [_row(2, x=1.0)])
        assert answer["f"].to_list() == [1.0, None, 1.0, 1.0]

    def test_the_last_of_equal_rows_wins(self) -> None:
        """The last of equal rows wins."""
        rows = [_row(1, x=1.0), _row(2, x=2.0), _row(2, x=3.0), _row(0, x=4.0)]
        assert self.ask([_at(2)], _latest("x"), rows)["f"].to_list() == [3.0]

    def test_time_to_live_ends_with_its_last_moment(self) -> None:
        """Time to live ends with its last moment."""
        rows, tick = [_row(0, x=1.0)], timedelta(microseconds=1)
        view = _latest("x", ttl="2h")
        spine = [{"a": 1, "b": 1, "t": START + timedelta(hours=2) + shift} for shift in (-tick, 0 * tick, tick)]
        assert self.ask(spine, view, rows)["f"].to_list() == [1.0, None, None]

    def test_windows_hold_their_beginning_and_not_their_end(self) -> None:
        """Windows hold their beginning and not their end."""
        rows = [_row(hour) for hour in (0, 1, 2, 3)]
        view = FeatureView("view", entity=PLAIN, source=_SOURCE, features={"f": agg.count("2h")})
        assert self.ask([_at(0), _at(2), _at(3), _at(9)], view, rows)["f"].to_list() == [0, 2, 2, 0]

    def test_strict_looks_only_at_what_was_known_before(self) -> None:
        """Strict looks only at what was known before."""
        rows = [_row(0, x=1.0), _row(1, x=2.0)]
        assert self.ask([_at(1)], _latest("x"), rows)["f"].to_list() == [2.0]
        assert self.ask([_at(1)], _latest("x"), rows, strict=True)["f"].to_list() == [1.0]

    def test_a_null_is_a_value_and_not_a_gap(self) -> None:
        """A null is a value and not a gap."""
        rows = [_row(0, x=1.0), _row(1, x=None)]
        assert self.ask([_at(2)], _latest("x"), rows)["f"].to_list() == [None]
        assert self.ask([_at(2)], _latest("x", skip_nulls=True), rows)["f"].to_list() == [1.0]

    def test_columns_with_times_of_their_own_resolve_to_rows_of_their_own(self) -> None:
        """Columns with times of their own resolve to rows of their own."""
        source = Source("events", event_time="e", column_times={"x": "k"})
        view = FeatureView("view", entity=PLAIN, source=source, features=["x", "i"])
        rows = [{**_row(0, x=1.0), "i": 1, "k": START}, {**_row(1, x=2.0), "i": 2, "k": START + timedelta(hours=9)}]
        answer = self.ask([_at(2)], view, rows)
        assert (answer["x"].to_list(), answer["i"].to_list()) == ([1.0], [2])

    def test_views_of_different_keys_answer_the_same_rows(self) -> None:
        """Rows that share one view's key and time, and not the other's, are two rows."""
        views = [_latest("x", PLAIN), FeatureView("pair", entity=PAIR, source=_SOURCE, features=["x"])]
        rows = [_row(0, b=1, x=1.0), _row(1, b=12, x=2.0)]
        spine = pl.DataFrame([_at(3, b=1), _at(3, b=12), _at(3, b=1)], SPINE)
        data = {"events": pl.DataFrame(rows, SCHEMA)}
        answer = _polars(self.open().point_in_time(spine, select_all(views), data, time="t"))
        assert answer.select("f", "x").rows() == [(2.0, 1.0), (2.0, 2.0), (2.0, 1.0)]

    def test_what_is_only_in_the_future_is_no_reason_to_drop_a_row(self) -> None:
        """Keys with only future rows, only expired rows and no rows at all keep their rows in the answer."""
        rows = [_row(9, a=1, x=1.0), _row(0, a=2, x=2.0), _row(3, a=11, x=3.0)]
        features = {"f": agg.latest("x", ttl="2h"), "n": agg.count("2h"), "m": agg.mean("x", "2h")}
        view = FeatureView("view", entity=PLAIN, source=_SOURCE, features=features)
        answer = self.ask([_at(4, a=a) for a in (1, 2, 11, 7, None)], view, rows)
        assert answer.select("f", "n", "m").rows() == [
            (None, 0, None),
            (None, 0, None),
            (3.0, 1, 3.0),
            (None, 0, None),
            (None, None, None),
        ]

    def test_the_order_of_the_source_decides_nothing_but_ties(self) -> None:
        """Readings every five minutes, some of them twice and one stretch delivered late, in any order."""
        minutes = [*range(0, 60, 5), *range(90, 150, 5), *range(60, 90, 5), 20, 25, 70]
        rows = [{**_row(0, x=float(place)), "e": START + timedelta(minutes=m)} for place, m in enumerate(minutes)]
        features = {"f": agg.latest("x"), "n": agg.count("1h"), "s": agg.sum("x", "1h"), "l": agg.last("x", "1h")}
        view = FeatureView("view", entity=PLAIN, source=_SOURCE, features=features)
        spine = [{"a": 1, "b": 1, "t": START + timedelta(minutes=m)} for m in range(0, 180, 7)]
        self.check(spine, view, rows, strict=False)
        moved = sorted(rows, key=lambda row: (row["e"].minute, row["x"]))  # rows of one time keep their order
        assert self.ask(spine, view, moved).equals(self.ask(spine, view, rows))

    def test_times_may_be_written_in_many_ways(self) -> None:
        """Zones mix, and text and nanoseconds are times, in the spine and in the source."""
        tokyo = [START.astimezone(timezone(timedelta(hours=9))) + timedelta(hours=hour) for hour in range(4)]
        text = [moment.isoformat() for moment in tokyo[:2]] + ["2013-03-01T02:00:00Z", "2013-02-28T22:00:00-05:00"]
        exact = pl.Series(tokyo, dtype=pl.Datetime("us", "Asia/Tokyo"))
        written = [exact, exact.dt.cast_time_unit("ns"), exact.dt.cast_time_unit("ms"), pl.Series(text)]
        features = {"f": agg.latest("x"), "n": agg.count("2h")}
        view = FeatureView("view", entity=PLAIN, source=_SOURCE, features=features)
        for own in written:
            data = pl.DataFrame({"a": [1] * 4, "e": own, "x": [0.0, 1.0, 2.0, 3.0]})
            for asked in [*written, exact.dt.convert_time_zone("America/New_York")]:
                spine = pl.DataFrame({"a": [1] * 4, "t": asked})
                joined = self.open().point_in_time(spine, select_all([view]), {"events": data}, time="t")
                assert _polars(joined).select("f", "n").rows() == [(0.0, 0), (1.0, 1), (2.0, 2), (3.0, 2)]

    def test_local_days_have_23_or_25_hours(self) -> None:
        """A window of one day is 24 hours, whatever the clocks on the wall do; unclear local times are refused."""
        view = FeatureView("view", entity=PLAIN, source=_local(), features={"n": agg.count("1d")})
        for day, hours, there in (("2013-03-10", 23, 23), ("2013-11-03", 25, 24), ("2013-07-01", 24, 24)):
            midnight = datetime.fromisoformat(f"{day}T00:00:00").replace(tzinfo=ZoneInfo("America/New_York"))
            moments = [midnight.astimezone(UTC) + timedelta(hours=hour) for hour in range(hours)]
            walls = [moment.astimezone(midnight.tzinfo).replace(tzinfo=None) for moment in moments]
            spine = pl.DataFrame({"a": [1], "t": [moments[-1] + timedelta(hours=1)]})
            utc = pl.DataFrame({"a": [1] * hours, "e": moments})
            joined = self.open().point_in_time(spine, select_all([view]), {"events": utc}, time="t")
            assert _polars(joined)["n"].to_list() == [there]
            naive = pl.DataFrame({"a": [1] * hours, "e": walls})
            if hours == 25:
                with pytest.raises(Invalid, match=r"2 of 25 times in column 'e'.*happened twice"):
                    self.open().point_in_time(spine, select_all([view]), {"events": naive}, time="t")
            else:
                joined = self.open().point_in_time(spine, select_all([view]), {"events": naive}, time="t")
                assert _polars(joined)["n"].to_list() == [there]
        never = pl.DataFrame({"a": [1], "e": [datetime(2013, 3, 10, 2, 30)]})  # noqa: DTZ001 - the wall's
        with pytest.raises(Invalid, match="never happened"):
            self.open().point_in_time(spine, select_all([view]), {"events": never}, time="t")

    def test_empty_sources_are_sources_that_know_nothing(self) -> None:
        """No rows, with types or without them, and an empty spine."""
        features = {"f": agg.latest("x"), "n": agg.count("2h", where="i > 2"), "s": agg.sum("x", ["1h", "2h"])}
        view = FeatureView("view", entity=PLAIN, source=_SOURCE, features=features)
        untyped = pl.DataFrame({name: [] for name in SCHEMA})
        for data in (pl.DataFrame([], SCHEMA), untyped, pl.DataFrame([_row(0)], SCHEMA).clear()):
            spine = pl.DataFrame([_at(1), _at(2, a=None)], SPINE)
            joined = self.open().point_in_time(spine, select_all([view]), {"events": data}, time="t")
            assert _polars(joined).select("f", "n", "s_1h", "s_2h").rows() == [(None, 0, None, None), (None,) * 4]
        assert self.ask([], view, [_row(0)]).select("f", "n").rows() == []

    def test_the_width_of_a_source_costs_what_it_is(self) -> None:
        """Ten thousand columns take about ten times as long as a thousand, and not a hundred times."""
        self._wide(100)  # what is made once is not counted
        thousand, ten_thousand = min(self._wide(1_000) for _ in range(2)), self._wide(10_000)
        assert ten_thousand < 40 * thousand

    def _wide(self, width: int) -> float:
        """The CPU seconds that all columns of a source of some width take."""
        names = [f"c{number}" for number in range(width)]
        data = pl.DataFrame(
            {"a": [1, 1], "e": [START, START + timedelta(hours=1)], **{name: [1.0, 2.0] for name in names}}
        )
        spine = pl.DataFrame([_at(3)], SPINE)
        features = {name: agg.latest(name) if place % 2 else agg.sum(name, "3h") for place, name in enumerate(names)}
        begun = process_time()
        view = FeatureView("view", entity=PLAIN, source=_SOURCE, features=features)
        joined = self.open().point_in_time(spine, select_all([view]), {"events": data}, time="t")
        answer = _polars(joined)
        spent = process_time() - begun
        assert answer.select(names).row(0) == (3.0, 2.0) * (width // 2)
        return spent

    def test_values_come_out_as_they_went_in(self) -> None:
        """Wide text, infinities, NaN and the sign of zero."""
        wide = "Zoë" * 300_000
        rows = [
            {**_row(hour, x=x), "s": f"{hour}{wide}"} for hour, x in enumerate([-0.0, math.inf, -math.inf, math.nan])
        ]
        features = {
            "x": agg.latest("x"),
            "s": agg.latest("s"),
            "last": agg.last("s", "9h"),
            "total": agg.sum("x", "9h"),
            "top": agg.max("x", "9h"),
            "n": agg.count("9h", where="x > 1e300"),
        }
        view = FeatureView("view", entity=PLAIN, source=_SOURCE, features=features)
        spine = [_at(hour) for hour in range(5)]
        answer = self.ask(spine, view, rows)
        assert [str(x) for x in answer["x"].to_list()] == ["-0.0", "inf", "-inf", "nan", "nan"]
        assert answer["s"].to_list() == [f"{hour}{wide}" for hour in (0, 1, 2, 3, 3)]
        assert answer["last"].to_list() == [None, *(f"{hour}{wide}" for hour in range(4))]
        assert answer["n"].to_list() == [0, 0, 1, 1, 2]
        self.check(spine, view, rows, strict=True)

    def test_a_value_is_known_when_all_that_it_reads_is(self) -> None:
        """A condition on a column that is known later makes the whole feature wait for it."""
        source = Source("events", event_time="e", column_times={"i": "k"})
        features = {"n": agg.count("9h", where="i > 0"), "all": agg.count("9h"), "f": agg.latest("x", where="i > 0")}
        view = FeatureView("view", entity=PLAIN, source=source, features=features)
        rows = [{**_row(0, x=1.0), "i": 1, "k": START + timedelta(hours=3)}, {**_row(1, x=2.0), "i": 0}]
        answer = self.ask([_at(2), _at(3), _at(4)], view, rows)
        assert answer.select("n", "all", "f").rows() == [(0, 2, None), (1, 2, 1.0), (1, 2, 1.0)]
        answer = self.ask([_at(2), _at(3), _at(4)], view, rows, strict=True)
        assert answer["n"].to_list() == [0, 0, 1]

    def test_lag_asks_the_same_question_earlier(self) -> None:
        """Lag moves the moment of asking, and with it what is visible, in the window and expired."""
        rows = [_row(hour, x=float(hour)) for hour in (0, 1, 5)]
        plain = {"f": agg.latest("x", ttl="2h"), "n": agg.count("2h"), "m": agg.mean("x", "2h")}
        lagged = {
            "f": agg.latest("x", ttl="2h", lag="3h"),
            "n": agg.count("2h", lag="3h"),
            "m": agg.mean("x", "2h", lag="3h"),
        }
        now, then = (FeatureView("view", entity=PLAIN, source=_SOURCE, features=each) for each in (plain, lagged))
        early, late = [_at(hour) for hour in range(9)], [_at(hour + 3) for hour in range(9)]
        for strict in (False, True):
            one, other = self.ask(early, now, rows, strict=strict), self.ask(late, then, rows, strict=strict)
            assert one.select("f", "n", "m").equals(other.select("f", "n", "m"))

    def test_a_condition_that_does_not_fit_names_the_column(self) -> None:
        """A condition on a column of another kind, or on none that exists."""
        for where, error, sentence in (("s > 3", Invalid, "column 's'"), ("missing > 3", NotFound, "'missing'")):
            view = FeatureView("view", entity=PLAIN, source=_SOURCE, features={"f": agg.count("1h", where=where)})
            with pytest.raises(error, match=sentence):
                self.ask([_at(1)], view, [_row(0)])

    def test_text_never_equals_a_number(self) -> None:
        """Text never equals a number."""
        spine = pl.DataFrame({"a": ["1"], "t": [START]})
        with pytest.raises(Invalid, match="String in the spine and Int64 in source 'events'"):
            self.open().point_in_time(
                spine, select_all([_latest("x")]), {"events": pl.DataFrame([_row(0)], SCHEMA)}, time="t"
            )
        texts = pl.DataFrame([_row(0)], SCHEMA).with_columns(pl.col("a").cast(pl.String))
        for keys in ([1], [1.0], [True]):
            spine = pl.DataFrame({"a": keys, "t": [START]})
            with pytest.raises(Invalid, match="in the spine and String in source 'events'"):
                self.open().point_in_time(spine, select_all([_latest("x")]), {"events": texts}, time="t")

    def test_what_does_not_exist_is_named(self) -> None:
        """What does not exist is named."""
        data = {"events": pl.DataFrame([_row(0)], SCHEMA)}
        spine = pl.DataFrame([_at(0)], SPINE)
        with pytest.raises(NotFound, match="'xx'"):
            self.open().point_in_time(spine, select_all([_latest("xx")]), data, time="t")
        with pytest.raises(NotFound, match="'tt'"):
            self.open().point_in_time(spine, select_all([_latest("x")]), data, time="tt")

    def test_the_columns_of_the_spine_are_untouched(self) -> None:
        """The columns of the spine are untouched."""
        spine = pl.DataFrame(
            {"z": [3, 1], "a": pl.Series([1, 2], dtype=pl.Int8), "t": [START, START], "y": ["b", None]}
        )
        frame = (
            self.open()
            .point_in_time(spine, select_all([_latest("x")]), {"events": pl.DataFrame([_row(0)], SCHEMA)}, time="t")
            .frame
        )
        assert frame.drop("f").equals(spine)
        assert frame.columns == [*spine.columns, "f"]


_SOURCE = Source("events", event_time="e")


def _polars(joined: Joined) -> pl.DataFrame:
    answer = joined.frame if isinstance(joined.frame, pl.DataFrame) else pl.from_arrow(joined.frame)
    assert isinstance(answer, pl.DataFrame)
    return answer


def _local() -> Source:
    return Source("events", event_time="e", timezone="America/New_York")


def _latest(column: str, entity: Entity = PLAIN, **options: Any) -> FeatureView:
    return FeatureView("view", entity=entity, source=_SOURCE, features={"f": agg.latest(column, **options)})


def _row(hour: int, *, a: int = 1, b: int = 1, x: float | None = 0.0) -> dict[str, Any]:
    when = START + timedelta(hours=hour)
    return {"a": a, "b": b, "e": when, "k": when, "c": when, "x": x, "i": 0, "s": "red"}


def _at(hour: int, *, a: int | None = 1, b: int = 1) -> dict[str, Any]:
    return {"a": a, "b": b, "t": START + timedelta(hours=hour)}

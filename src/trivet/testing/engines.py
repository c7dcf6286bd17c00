"""What every point-in-time engine must pass. An engine's tests inherit ``EngineContract`` and name its opener::

    class TestMyEngine(EngineContract):
        def open(self):
            return MyEngine()

Random tables full of ties, duplicates, nulls, late and early knowledge are compared with the plain loop of
``trivet.features.point_in_time``; named cases keep what went wrong elsewhere. Needs ``hypothesis``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trivet.errors import Invalid, NotFound
from trivet.features import aggregates as agg
from trivet.features.definitions import Entity, FeatureView, Source, Times
from trivet.features.engines.contract import Engine
from trivet.features.point_in_time import Row, agree, recompute
from trivet.features.references import Selected, select_all

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
_options = st.fixed_dictionaries(
    {
        "where": st.one_of(_none, _none, _conditions),
        "lag": st.one_of(_none, _none, st.integers(1, 6).map(lambda hours: f"{hours}h")),
        "bucket": st.sampled_from([{}, {}, {"by": "s", "values": {"red": "r", "Zoë": "z"}}]),
    }
).map(lambda found: {**found.pop("bucket"), **found})


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
    lambda entity, columns: FeatureView("view", entity=entity, source=Source("events"), features=columns),
    st.sampled_from([PLAIN, PAIR]),
    st.lists(st.sampled_from("xis"), min_size=1, unique=True),
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
        answer = joined.frame if isinstance(joined.frame, pl.DataFrame) else pl.from_arrow(joined.frame)
        assert isinstance(answer, pl.DataFrame)
        return answer

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

    def test_text_never_equals_a_number(self) -> None:
        """Text never equals a number."""
        spine = pl.DataFrame({"a": ["1"], "t": [START]})
        with pytest.raises(Invalid, match="String in the spine and Int64 in source 'events'"):
            self.open().point_in_time(
                spine, select_all([_latest("x")]), {"events": pl.DataFrame([_row(0)], SCHEMA)}, time="t"
            )

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


def _latest(column: str, entity: Entity = PLAIN, **options: Any) -> FeatureView:
    return FeatureView("view", entity=entity, source=_SOURCE, features={"f": agg.latest(column, **options)})


def _row(hour: int, *, a: int = 1, b: int = 1, x: float | None = 0.0) -> dict[str, Any]:
    when = START + timedelta(hours=hour)
    return {"a": a, "b": b, "e": when, "k": when, "c": when, "x": x, "i": 0, "s": "red"}


def _at(hour: int, *, a: int | None = 1, b: int = 1) -> dict[str, Any]:
    return {"a": a, "b": b, "t": START + timedelta(hours=hour)}

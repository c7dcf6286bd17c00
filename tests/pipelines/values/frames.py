"""Strategies for Arrow tables of all types that tables hold."""

from __future__ import annotations

import decimal
from datetime import UTC, date, datetime, time, timedelta

import pyarrow as pa
from hypothesis import strategies as st

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
SCALARS = [
    (pa.int8(), st.integers(-128, 127)),
    (pa.uint64(), st.integers(0, 2**64 - 1)),
    (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    (pa.float32(), st.floats(width=32)),
    (pa.float64(), st.floats()),
    (pa.bool_(), st.booleans()),
    (pa.string(), TEXT),
    (pa.large_string(), TEXT),
    (pa.binary(), st.binary(max_size=5)),
    (pa.binary(3), st.binary(min_size=3, max_size=3)),
    (pa.date32(), st.dates(date(1900, 1, 1), date(2100, 1, 1))),
    (
        pa.timestamp("us", "UTC"),
        st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)).map(lambda t: t.replace(tzinfo=UTC)),
    ),
    (
        pa.timestamp("ms"),
        st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)).map(lambda t: t.replace(microsecond=0)),
    ),
    (pa.time64("us"), st.times()),
    (pa.duration("us"), st.timedeltas(timedelta(-1000), timedelta(1000))),
    (pa.decimal128(10, 2), st.decimals(-1000, 1000, places=2).map(decimal.Decimal)),
    (pa.null(), st.none()),
]
assert time.min


def nested(kind: pa.DataType, values: st.SearchStrategy) -> list[tuple[pa.DataType, st.SearchStrategy]]:
    inner = st.none() | values
    return [
        (pa.list_(kind), st.lists(inner, max_size=3)),
        (pa.large_list(kind), st.lists(inner, max_size=3)),
        (pa.list_(kind, 2), st.lists(inner, min_size=2, max_size=2)),
        (
            pa.struct([("x", kind), ("y", pa.int16())]),
            st.fixed_dictionaries({"x": inner, "y": st.none() | st.integers(-9, 9)}),
        ),
        (pa.map_(pa.string(), kind), st.dictionaries(TEXT, inner, max_size=2).map(lambda d: list(d.items()))),
        (pa.list_(pa.struct([("z", kind)])), st.lists(st.fixed_dictionaries({"z": inner}), max_size=2)),
    ]


@st.composite
def columns(draw: st.DrawFn, rows: int, *, nesting: bool = True) -> pa.Array:
    kind, values = draw(st.sampled_from(SCALARS))
    if nesting and draw(st.integers(0, 3)) == 0 and not pa.types.is_null(kind):
        kind, values = draw(st.sampled_from(nested(kind, values)))
    cells = draw(st.lists(st.none() | values, min_size=rows, max_size=rows))
    array = pa.array(cells, kind)
    if (pa.types.is_string(kind) or pa.types.is_int8(kind)) and draw(st.booleans()):
        return array.dictionary_encode()
    return array


@st.composite
def tables(draw: st.DrawFn, *, nesting: bool = True) -> pa.Table:
    rows, count = draw(st.integers(0, 12)), draw(st.integers(1, 3))
    return pa.table({f"c{place}": draw(columns(rows, nesting=nesting)) for place in range(count)})

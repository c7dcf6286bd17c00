from __future__ import annotations

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from trivet.features.series.corrections import revised

SCHEMA = {"key": pl.Int64, "x": pl.Float64}
ROWS = st.lists(st.tuples(st.integers(0, 3), st.none() | st.sampled_from([1.0, 2.0, float("nan")])), max_size=8)


def same(one, other):
    return one is other is None or (
        one is not None and other is not None and (one == other or (one != one and other != other))
    )


@given(st.lists(ROWS, min_size=1, max_size=4))
def test_only_what_says_something_new_is_written(batches):
    """Beside a loop that keeps the value and the number of changes of each key in a dictionary."""
    known: dict[int, tuple[float | None, int]] = {}
    for batch in batches:
        current = pl.DataFrame(
            [(key, x, number) for key, (x, number) in known.items()],
            schema={**SCHEMA, "revision": pl.Int64},
            orient="row",
        )
        found = revised(pl.DataFrame(batch, schema=SCHEMA, orient="row"), current, ["key"], "x").rows()
        final = dict(batch)
        settled = {key for key, x in final.items() if key in known and same(known[key][0], x)}
        wanted = []
        for key, x in batch:
            if key not in settled and not (key in known and same(known[key][0], x)):
                known[key] = x, known[key][1] + 1 if key in known else 0
                wanted.append((key, x, known[key][1]))
        assert [(key, number) for key, _, number in found] == [(key, number) for key, _, number in wanted]
        assert all(same(one[1], other[1]) for one, other in zip(found, wanted, strict=True))
        assert all(same(known[key][0], x) for key, x in final.items())

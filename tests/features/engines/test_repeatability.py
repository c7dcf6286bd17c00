"""The same bits on one, two and four threads, under any hash seed, and run after run."""

from __future__ import annotations

import ast
import os
import subprocess
import sys

CODE = """
import hashlib
import numpy as np, polars as pl
from trivet.features import *
from trivet.features.engines.local import LocalEngine

random = np.random.default_rng(0)
n, q = 60_000, 5_000
def when(hours, size):
    micros = random.integers(0, hours * 3600, size) * 1_000_000 + 1_400_000_000_000_000
    return pl.Series(micros).cast(pl.Datetime("us", "UTC"))
rows = pl.DataFrame({"key": random.integers(0, 40, n).astype(str), "e": when(900, n), "late": when(900, n),
                     "x": random.standard_normal(n) * 10.0 ** random.integers(-6, 9, n)})
rows = rows.with_columns(i=(pl.col("x") * 100).cast(pl.Int64), x=pl.when(pl.col("x") > -1e5).then(pl.col("x")))
spine = pl.DataFrame({"key": random.integers(0, 44, q).astype(str), "t": when(950, q)})
ops = [sum, mean, std, min, max, first, last, nunique]
features = {f"{op.__name__}_{w}": op("x", w) for op in ops for w in ("1h", "7d")}
features |= {"some": mean("x", "7d", where="i > 100 or x is null", lag="1h")}
features |= {"median": quantile("x", 0.5, "2d"), "n": count("7d"), "total": sum("i", "7d"), "newest": latest("x")}
query = "select key, e, greatest(e, late) as k, x, i from rows"
source = Source("s", sql=query, inputs=[Source("rows")], event_time="e", known_at="k")
views = [FeatureView(name, entity=Entity("key"), source=s, features=features) for name, s in
         (("late", source), ("prompt", Source("rows", event_time="e")))]
frame = LocalEngine().point_in_time(spine, select_all(views, full_names=True), {"rows": rows}, time="t").frame
digest = hashlib.sha256()
for column in frame.drop("key", "t"):
    digest.update(column.to_physical().fill_null(-7).to_numpy().tobytes())
print(digest.hexdigest())
"""


def test_results_are_the_same_bits_on_any_number_of_threads():
    counts = [{"POLARS_MAX_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)} for threads in (1, 2, 4, 4)]
    assert len({run(CODE, environment) for environment in counts}) == 1


COLLIDING = """
import polars as pl
from trivet.features import *
from trivet.features.engines.local import LocalEngine

rows = pl.DataFrame({"a": ["1", "11", "é"], "b": ["12", "2", ""], "e": ["2013-01-01T00:00:00Z"] * 3, "x": [1.0, 2.0, 3.0]})
spine = pl.DataFrame({"a": ["11", "1", "1", "é"], "b": ["2", "12", "2", ""], "t": ["2013-01-01T01:00:00Z"] * 4})
view = FeatureView("v", entity=Entity("pair", keys=("a", "b")), source=Source("rows", event_time="e"),
                   features={"x": latest("x"), "n": count("1d", by="a", values=["1", "11"])})
print(LocalEngine().point_in_time(spine, select_all([view]), {"rows": rows}, time="t").frame.rows(), view.digest)
"""


def test_keys_that_look_alike_are_told_apart_under_any_hash_seed():
    (answer,) = {run(COLLIDING, {"PYTHONHASHSEED": str(seed)}) for seed in range(5)}
    assert [row[3] for row in ast.literal_eval(answer.rpartition(" ")[0])] == [2.0, 1.0, None, 3.0]


def run(code, environment):
    environment = {**os.environ, **environment}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout

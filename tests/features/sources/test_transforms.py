"""A function of frames answers the same bits on any number of threads, and its faults are sentences."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import narwhals as nw
import numpy as np
import polars as pl
import pytest

from trivet.errors import Invalid
from trivet.features.functions import Portable
from trivet.features.sources.transforms import transformed

ROWS = """
import sys
import numpy as np
import polars as pl
from tests.features.sources import test_transforms as here
from trivet.features.functions import Portable
from trivet.features.sources.transforms import transformed

frame = here.noisy()
answer = transformed("sums", Portable.of(here.sums), {"events": frame.lazy()}).sort("key")
sys.stdout.write(f"{pl.thread_pool_size()} {answer['total'].to_numpy().tobytes().hex()}")
"""


def noisy():
    rng = np.random.default_rng(0)
    values = rng.normal(0, 1, 200_000) * 10.0 ** rng.integers(-9, 9, 200_000)
    return pl.DataFrame({"key": rng.integers(0, 7, 200_000), "value": values})


def sums(events):
    return events.group_by("key").agg(nw.col("value").sum().alias("total"))


def wrong(events):
    return events.filter(nw.col("valve") > 3)


def nothing(events):
    return 5


def leaves(events):
    raise SystemExit(3)


def test_sums_of_floats_are_the_same_on_any_number_of_threads():
    root = Path(__file__).parents[3]
    answers = set()
    for threads in ("1", "2", "4", "2"):
        environment = os.environ | {"POLARS_MAX_THREADS": threads, "PYTHONPATH": f"{root / 'src'}{os.pathsep}{root}"}
        done = subprocess.run([sys.executable, "-c", ROWS], env=environment, capture_output=True, text=True, check=True)
        used, bits = done.stdout.split()
        assert used == threads
        answers.add(bits)
    assert len(answers) == 1


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (wrong, r"The function of 'late' fails: .*valve"),
        (nothing, r"The function of 'late' answers a int\. Return a Narwhals frame"),
        (leaves, r"The function of 'late' ended its process"),
    ],
)
def test_what_fails_is_a_sentence(function, says):
    with pytest.raises(Invalid, match=says):
        transformed("late", Portable.of(function), {"events": noisy().head(5).lazy()})

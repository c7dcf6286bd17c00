"""A value finds its kind by its type, and nothing heavy is imported to find out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from trivet.errors import ConfigError
from trivet.pipelines import values


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (1, "json"),
        ({"a": [1]}, "json"),
        (Path("x"), "folder"),
        (pd.DataFrame({"a": [1]}), "table"),
        (pl.DataFrame({"a": [1]}), "table"),
        (pa.table({"a": [1]}), "table"),
    ],
)
def test_kinds_by_type(value, kind):
    assert values.kind_of(value) == kind


def test_a_class_may_name_its_kind():
    class Mine:
        __trivet_kind__ = "mine"

    assert values.kind_of(Mine()) == "mine"


def test_what_is_saved_is_recorded_and_loads(context):
    artifact = values.save({"auc": 0.7}, context)
    assert context.ledger.artifact(artifact.digest) == artifact
    assert values.load(artifact, context.blobs) == {"auc": 0.7}


def test_store_records_nothing(context):
    name, saved = values.store([1], context.blobs)
    assert name == "json"
    assert not context.blobs.missing(file.digest for file in saved.files.values())
    assert context.ledger.artifacts() == []


def test_an_unknown_kind_is_a_sentence(context):
    with pytest.raises(ConfigError, match="Did you mean 'table'"):
        values.save([1], context, kind="tabel")


def test_a_json_value_imports_nothing_heavy():
    code = (
        "import sys; from trivet.pipelines import values; from trivet.ledger.blobs.memory import open_blobs\n"
        "from pathlib import Path\nvalues.store({'a': 1}, open_blobs('memory:', Path()))\n"
        "print(sorted({'numpy', 'pandas', 'polars', 'pyarrow', 'sklearn', 'skops'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"

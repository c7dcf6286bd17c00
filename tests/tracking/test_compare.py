import math
from datetime import UTC, datetime

import msgspec
import pytest

from trivet.errors import Invalid
from trivet.ledger import Recipe, Run
from trivet.tracking.compare import compare
from trivet.tracking.runs import start

NOW = datetime(2026, 11, 20, tzinfo=UTC)


def a_run(id_, name="trees", **fields):
    return Run(id=id_, kind="experiment", name=name, status="finished", started=NOW, ended=NOW, **fields)


DEEP = a_run(
    "01DEEP00000000",
    "deep",
    parameters={"depth": 8, "seed": 0, "rate": 0.1},
    metrics={"auc": 0.75, "loss": math.nan},
    tags={"trivet.pid": "1"},
    inputs={"train": "a" * 64},
    recipe=Recipe("script:train.py", "c" * 64, "e" * 64),
)
SHALLOW = a_run(
    "01SHALLOW00000",
    "shallow",
    parameters={"depth": 2, "seed": 0},
    metrics={"auc": 0.7, "loss": math.nan},
    tags={"trivet.pid": "2"},
    inputs={"train": "b" * 64},
    recipe=Recipe("script:train.py", "d" * 64, "e" * 64),
)


def test_only_what_differs_is_shown():
    compared = compare([DEEP, SHALLOW])
    assert [(row.section, row.name) for row in compared.rows] == [
        ("parameters", "depth"), ("parameters", "rate"), ("metrics", "auc"), ("inputs", "train"), ("code", "archive"),
    ]  # fmt: skip
    assert compared.rows[0].values == (8, 2)


def test_it_is_json_and_leaves_out_what_is_not_there():
    answer = compare([DEEP, SHALLOW]).as_dict()
    assert answer["rows"][1] == {"section": "parameters", "name": "rate", "values": {"01DEEP00000000": 0.1}}
    assert msgspec.json.decode(msgspec.json.encode(answer)) == answer


def test_it_reads_well():
    assert str(compare([DEEP, SHALLOW])).splitlines()[:4] == [
        "                             deep       shallow",
        "parameters  depth               8             2",
        "            rate              0.1             -",
        "metrics     auc              0.75           0.7",
    ]
    assert "<td>depth</td>" in compare([DEEP, SHALLOW])._repr_html_()
    assert str(compare([DEEP, DEEP, DEEP])) == "The 3 runs do not differ."


def test_a_data_frame_has_a_row_for_each_difference():
    frame = compare([DEEP, SHALLOW]).to_pandas()
    assert frame.loc[("parameters", "depth")].to_dict() == {"deep": 8, "shallow": 2}
    assert compare([DEEP, DEEP]).to_pandas().empty


def test_equal_names_are_told_apart():
    labels = compare([a_run("01AAAAAAAAAAAA"), a_run("01BBBBBBBBBBBB")]).labels
    assert labels == ["trees 01AAAAAAAAAA", "trees 01BBBBBBBBBB"]


def test_types_count():
    rows = compare([a_run("01A", parameters={"x": 1}), a_run("01B", parameters={"x": True})]).rows
    assert rows[0].values == (1, True)


def test_open_runs_can_be_compared(memory):
    with start(memory, "a") as a, start(memory, "b") as b:
        a.log(auc=1)
        b.log(auc=2)
        assert [row.values for row in compare([a, b]).rows] == [(1.0, 2.0)]


def test_one_run_is_not_enough():
    with pytest.raises(Invalid, match="two runs or more, not 1"):
        compare([DEEP])

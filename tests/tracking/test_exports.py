import csv
from datetime import UTC, datetime

import pytest

from trivet.errors import Invalid, NotFound
from trivet.ledger import Run
from trivet.tracking import exports
from trivet.tracking.exports import export_runs

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


@pytest.fixture
def filled(context, monkeypatch):
    monkeypatch.setattr(exports, "_PAGE", 3)
    mixed = [3, 3.5, True, "deep", None, [1]]
    context.ledger.write(
        *(
            Run(f"01RUN{n:03}", "experiment", f"it's, {n}", "finished", NOW,
                parameters={"n": n, "mixed": mixed[n % 6], "half": n if n % 2 else n / 2},
                metrics={"auc": n / 10} if n else {"loss": float("nan")})
            for n in range(10)
        )
    )  # fmt: skip
    return context


def test_csv_is_read_back_as_it_was(filled, tmp_path):
    path = tmp_path / "runs.csv"
    assert export_runs(filled, path, "metrics.auc >= 0.2", order="metrics.auc desc") == 8
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert [row["params.n"] for row in rows] == [str(n) for n in range(9, 1, -1)]
    assert [float(row["metrics.auc"]) for row in rows] == [n / 10 for n in range(9, 1, -1)]
    assert rows[0]["name"] == "it's, 9"
    assert [row["params.mixed"] for row in rows[-3:]] == ["", "deep", "true"]
    assert list(tmp_path.glob(".runs*")) == []


def test_parquet_has_types(filled, tmp_path):
    import polars as pl

    path = tmp_path / "runs.parquet"
    assert export_runs(filled, path) == 10
    frame = pl.read_parquet(path)
    assert frame["params.n"].to_list() == list(range(9, -1, -1))
    assert frame.schema["params.n"] == pl.Int64
    assert frame.schema["params.half"] == pl.Float64
    assert frame.schema["params.mixed"] == pl.String
    assert frame["started"].to_list() == [NOW] * 10
    assert frame["metrics.auc"].to_list()[-2:] == [0.1, None]


def test_chosen_columns_and_a_limit(filled, tmp_path):
    path = tmp_path / "runs.csv"
    assert export_runs(filled, path, columns=["metrics.auc", "name", "params.none"], limit=4) == 4
    assert path.read_text().splitlines()[:2] == ["metrics.auc,name,params.none", '0.9,"it\'s, 9",']


def test_what_cannot_be_is_a_sentence_and_leaves_no_file(filled, tmp_path):
    with pytest.raises(Invalid, match=r"neither \.csv nor \.parquet"):
        export_runs(filled, tmp_path / "runs.xls")
    with pytest.raises(NotFound, match=r"no column of runs 'nmae'\. Did you mean 'name'"):
        export_runs(filled, tmp_path / "runs.csv", columns=["nmae"])
    with pytest.raises(Invalid, match="cannot be written"):
        export_runs(filled, tmp_path / "no" / "runs.csv")
    assert list(tmp_path.glob("*runs*")) == []

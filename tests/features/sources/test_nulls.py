"""A text of a CSV file that stands for nothing is null in every reading of it, recorded ones too."""

from __future__ import annotations

import pytest

import trivet as tv
from trivet.errors import Invalid
from trivet.features.definitions import Source

TEXT = (
    "plane,at,delay\nN1,2026-01-05T10:00Z,5\nN1,2026-01-05T11:00Z,NA\nN2,2026-01-05T10:00Z,\nN2,2026-01-05T11:00Z,7\n"
)


def view(*nulls, data="flights.csv"):
    source = tv.Source("flights", data, event_time="at", nulls=nulls)
    return tv.FeatureView("f", entity=tv.Entity("plane"), source=source, features={"d": tv.mean("delay", "1d")})


@pytest.fixture
def project(tmp_path):
    (tmp_path / "flights.csv").write_text(TEXT)
    with tv.open(tmp_path) as project:
        yield project


def test_without_it_the_sentence_says_what_to_declare(project):
    said = r"type String and not numbers\. Most of it reads as numbers, 'NA' does not: declare nulls=\['NA'\]"
    with pytest.raises(Invalid, match=said):
        project.define(view())


def test_with_it_the_column_is_one_of_numbers_here_and_in_the_record(project):
    import polars as pl

    spine = pl.DataFrame({"plane": ["N1", "N2"], "t": ["2026-01-05T12:00Z"] * 2})
    train = project.training_set(spine, [view("NA")], time="t")
    assert train.to_polars()["d"].to_list() == [5.0, 7.0]
    assert project.reproduce(train.run.id, environment="current").ok
    assert project.feature_view("f").view.source.nulls == ("NA",)
    both = project.training_set(spine, [view("NA", "5")], time="t")  # the same file, read otherwise
    assert both.to_polars()["d"].to_list() == [None, 7.0]


def test_it_stands_in_the_spec_only_where_it_is_given():
    assert "nulls" not in Source("s", "s.csv").to_spec()
    source = Source("s", "s.csv", nulls=["NA", "-"])
    assert source.to_spec()["nulls"] == ["NA", "-"]
    assert Source.from_spec(source.to_spec()) == source
    with pytest.raises(Invalid, match="nulls= says which texts of a CSV file"):
        Source("s", "s.parquet", nulls=["NA"])

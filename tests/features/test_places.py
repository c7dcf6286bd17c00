from __future__ import annotations

import shutil

import polars as pl
import pytest

from trivet.features import Entity, FeatureView, Source
from trivet.features.catalogue import Catalogue
from trivet.features.declare import described
from trivet.features.materialize import record_materialization
from trivet.features.places import anchored
from trivet.features.training_set import training_set
from trivet.pipelines.context import Context
from trivet.types import as_utc

NOON = as_utc("2013-01-01T12:00:00Z")


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("{root}/data/a.csv", "data/a.csv"),
        ("{root}/data/../a.csv", "a.csv"),
        ("data/a.csv", "data/a.csv"),
        ("/elsewhere/a.csv", "/elsewhere/a.csv"),
        ("{root}-other/a.csv", "{root}-other/a.csv"),
        ("delta:{root}/table", "delta:table"),
        ("s3://bucket/table", "s3://bucket/table"),
        ("sqlite:///{root}/shop.db", "sqlite:///shop.db"),
        ("sqlite:///shop.db", "sqlite:///shop.db"),
        ("postgresql://$U@h/db", "postgresql://$U@h/db"),
    ],
)
def test_paths_inside_the_project_are_told_from_its_folder(tmp_path, place, expected):
    assert anchored(place.format(root=tmp_path), tmp_path) == expected.format(root=tmp_path)


def test_a_project_reached_by_a_link_is_the_same_project(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert anchored(str(tmp_path / "real" / "a.csv"), tmp_path / "link") == "a.csv"
    assert anchored(str(tmp_path / "link" / "a.csv"), tmp_path / "real") == "a.csv"


def test_the_same_project_in_two_folders_has_the_same_digests(context, tmp_path_factory):
    pl.DataFrame({"city": ["NYC"], "at": [NOON], "temp": [1.5]}).write_parquet(context.root / "rows.parquet")
    elsewhere = tmp_path_factory.mktemp("clone")
    shutil.copy(context.root / "rows.parquet", elsewhere)
    digests = set()
    for root in (context.root, elsewhere):
        project = Context(**{**vars(context), "root": root})
        raw = Source("raw", root / "rows.parquet", event_time="at")
        upper = Source("upper", sql="select * from raw", inputs=[raw], event_time="at")
        view = FeatureView("v", entity=Entity("city"), source=upper, features=["temp"])
        on_view = FeatureView("w", entity=Entity("city"), source=view, features={"last": view.features["temp"]})
        spine = pl.DataFrame({"city": ["NYC"], "t": [NOON]})
        made = training_set(project, spine, [view], time="t")
        run = record_materialization(project, [view])
        listed = Catalogue(project).apply(view, on_view)
        digests.add(
            (
                made.artifact.digest,
                *sorted(made.run.inputs.values()),
                *run.inputs.values(),
                *(one.digest for one in listed),
            )
        )
    assert len(digests) == 1


def test_docstrings_say_owner_and_tags():
    text = """How late planes leave.

    More words: with a colon.

    Owner: ada
    Tags: delay, team=ops,
    """
    said = described(text)
    assert said.description == "How late planes leave.\n\nMore words: with a colon."
    assert (said.owner, dict(said.tags)) == ("ada", {"delay": "", "team": "ops"})
    assert described(None) == described("") == type(said)("", "", {})

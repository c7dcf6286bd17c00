from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

import trivet as tv
from trivet.errors import Invalid, NotFound, Refused
from trivet.ledger import RunQuery

ROWS = [
    {"order": 1, "who": 7, "at": "2026-11-20T10:00Z", "amount": 5},
    {"order": None, "who": 7, "at": "2026-11-20T10:00Z"},
]


@pytest.fixture
def project(tmp_path):
    with tv.open(tmp_path) as project:
        project.tables.ingest("orders", ROWS, key="order", event_time="at")
        yield project


def view(project):
    return tv.FeatureView(
        "spent", entity=tv.Entity("who"), source=project.tables.source("orders"), features={"n": tv.count("100d")}
    )


def test_a_dropped_table_is_gone_and_on_record(project):
    gone = project.tables.drop("orders", why="a trial")
    assert (gone.rows, gone.refused, gone.views) == (1, 1, ())
    assert project.tables.names() == []
    left = [each.name for each in project.tables.folder.iterdir() if each.is_dir()]
    assert left == []
    [run] = project.context.ledger.runs(RunQuery(kind="drop", name="orders"))
    assert (run.status, run.tags["why"], run.metrics["rows"]) == ("finished", "a trial", 1.0)
    with pytest.raises(NotFound):
        project.tables.read("orders")
    assert project.tables.ingest("orders", ROWS[:1], key="who").new == 1


def test_no_reason_and_no_table(project):
    with pytest.raises(Invalid, match="Say why"):
        project.tables.drop("orders", why=" ")
    with pytest.raises(NotFound, match="orders"):
        project.tables.drop("order", why="a trial")


def test_in_use_it_stays_unless_forced(project):
    spent = view(project)
    project.define(spent, tv.FeatureService("money", ["spent:n"]))
    with pytest.raises(Refused, match="view spent is used by service money"):
        project.tables.drop("orders", why="a trial")
    assert project.tables.read("orders").height == 1
    assert project.tables.drop("orders", why="a trial", force=True).views == ("spent",)


def test_what_was_pushed_of_it_is_no_longer_online_and_begins_anew(project):
    project.define(view(project))
    project.push("orders", [])
    [vector] = project.online_features("spent:n", [{"who": 7}])
    assert vector.values["spent:n"] == 1
    project.tables.drop("orders", why="a trial")
    project.tables.ingest("orders", ROWS[:1], key="order", event_time="at")
    assert project.push("orders", {**ROWS[0], "order": 2}).updated == {"spent": 1}
    [vector] = project.online_features("spent:n", [{"who": 7}])
    assert vector.values["spent:n"] == 2


def test_a_removal_that_died_is_completed_by_the_next(project, monkeypatch):
    import shutil

    with monkeypatch.context() as broken:
        broken.setattr(shutil, "rmtree", lambda path: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            project.tables.drop("orders", why="a trial")
    assert project.tables.names() == []
    project.tables.ingest("orders", ROWS, key="order", event_time="at")
    project.tables.drop("orders", why="a trial")
    assert [each.name for each in Path(project.tables.folder).iterdir() if each.is_dir()] == []


def test_training_sets_are_made_again_afterwards(project):
    spine = pl.DataFrame({"who": [7], "t": ["2126-01-01T00:00Z"]})
    made = project.training_set(spine, view(project), time="t")
    project.tables.drop("orders", why="a trial")
    assert project.reproduce(made.artifact.id)

"""What cannot work is said before it is stored, in the words of materialize, and data that is not there yet is told apart."""

from __future__ import annotations

import sqlite3

import polars as pl
import pytest

import trivet as tv
from trivet.errors import NotFound, TrivetError
from trivet.features.trial import problems

SHOP = tv.Entity("shop")
ROWS = {"shop": [1, 2], "came": ["2026-01-05T10:00Z", "2026-01-05T11:00Z"], "spent": [9.5, 3.0], "how": ["card", "NA"]}


def view(source, **features):
    return tv.FeatureView("visits", entity=SHOP, source=source, features=features or {"spent": tv.latest("spent")})


def visits(data="visits.csv", **options):
    return tv.Source("visits", data, **{"event_time": "came", **options})


@pytest.fixture
def project(tmp_path):
    pl.DataFrame(ROWS).write_csv(tmp_path / "visits.csv")
    pl.DataFrame({**ROWS, "came": ["2026-01-05 10:00:00"] * 2}).write_csv(tmp_path / "naive.csv")
    with tv.open(tmp_path) as project:
        yield project


BROKEN = {
    "a column": lambda: view(visits(), spent=tv.latest("spend")),
    "an aggregated column": lambda: view(visits(), spent=tv.mean("spend", "1d")),
    "a column of a condition": lambda: view(visits(), spent=tv.count("1d", where="spend > 3")),
    "the event time": lambda: view(visits(event_time="come")),
    "the key": lambda: tv.FeatureView("visits", entity=tv.Entity("shops"), source=visits(), features=["spent"]),
    "a naive time": lambda: view(visits("naive.csv")),
    "a number as time": lambda: view(visits(event_time="spent")),
    "text as number": lambda: view(visits(), how=tv.mean("how", "1d")),
    "a key of another type": lambda: tv.FeatureView(
        "visits", entity=tv.Entity("shop", type="string"), source=visits(), features=["spent"]
    ),
    "a comparison": lambda: view(visits(), spent=tv.count("1d", where="how > 3")),
    "a column with times": lambda: view(visits(column_times={"spend": "came"})),
    "a query's column": lambda: view(
        tv.Source("rich", sql="SELECT shop, came, spent FROM visits", inputs=[visits()], event_time="came"),
        spent=tv.latest("spend"),
    ),
    "a query's table": lambda: view(tv.Source("rich", sql="SELECT * FROM visit", inputs=[visits()], event_time="came")),
    "a query that fails": lambda: view(
        tv.Source("rich", sql="SELECT shop, came, spend FROM visits", inputs=[visits()], event_time="came")
    ),
    "a view on a view": lambda: tv.FeatureView("on", entity=SHOP, source=view(visits()), features=["spend"]),
    "a format": lambda: view(visits("visits.csv.gz")),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_cannot_work_is_a_problem_of_the_plan_and_refused(project, what):
    (project.root / "visits.csv.gz").write_bytes(b"x")
    broken = BROKEN[what]()
    [problem] = project.plan(broken).problems
    assert not problem.absent
    with pytest.raises(TrivetError) as refused:
        project.define(broken)
    assert str(refused.value) == str(problem)
    assert project.definitions() == []
    project.define(broken, unchecked="the data is being mended")
    if what != "a query's table":  # that one is told more plainly than DuckDB does
        with pytest.raises(TrivetError) as failed:
            project.materialize(broken.name)
        assert str(failed.value) == str(problem)
    assert project.plan(broken).problems == []  # what is stored as it is was looked at then
    assert "being mended" in project.feature_view(broken.name).why


def test_the_nearest_name_is_offered(project):
    with pytest.raises(NotFound, match=r"called 'spend'. Did you mean 'spent'"):
        project.define(BROKEN["a column"]())
    with pytest.raises(NotFound, match=r"called 'visit'. Did you mean 'visits'"):
        project.define(BROKEN["a query's table"]())


def test_data_that_is_not_there_yet_is_told_apart(project):
    later = view(visits("later.csv"))
    plan = project.plan(later)
    assert plan.problems[0].absent
    assert "not there yet: Source 'visits' reads" in str(plan)
    project.define(later)  # Python may hand the data over, or write them, later
    query = tv.Source("q", sql="SELECT * FROM ride", inputs=[visits("later.csv")], event_time="came")
    assert [each.absent for each in project.plan(view(query)).problems] == [True, False]


def test_a_database_is_asked_for_some_rows(project):
    with sqlite3.connect(project.root / "shop.db") as connection:
        connection.execute("CREATE TABLE visits (shop INTEGER, came TEXT, spent REAL)")
        connection.execute("INSERT INTO visits VALUES (1, '2026-01-05T10:00Z', 2.5)")
    connection.close()
    assert problems(view(visits("sqlite:///shop.db", table="visits")), project.root) == []
    [wrong] = problems(view(visits("sqlite:///shop.db", table="visits"), spent=tv.latest("spend")), project.root)
    assert "Did you mean 'spent'" in wrong.what
    assert not wrong.absent
    [gone] = problems(view(visits("sqlite:///shop.db", table="visit")), project.root)
    assert gone.absent
    assert "visits" in gone.what


def test_a_function_that_fetches_is_not_called(project):
    def fetched():
        raise RuntimeError("the network")

    assert problems(view(tv.Source("visits", fetched, event_time="came")), project.root) == []


def test_expectations_of_a_column_that_does_not_exist_are_refused(project):
    rules = tv.Expectations(visits(), [tv.expect("spend").not_null()])
    assert project.plan(rules).problems
    with pytest.raises(NotFound, match=r"called 'spend'. Did you mean 'spent'"):
        project.define(rules)
    assert project.quality.all() == []


def test_what_is_right_is_no_problem(project):
    right = view(visits(), spent=tv.mean("spent", "1d"), cards=tv.count("1d", where="how = 'card'"))
    above = tv.FeatureView("above", entity=SHOP, source=right, features={"s": tv.max("spent", "1d")})
    assert problems(right, project.root) == problems(above, project.root) == []
    naive = view(visits("naive.csv", timezone="UTC"))
    assert problems(naive, project.root) == []


def test_text_without_quotes_and_keys_are_told_apart(project):
    with pytest.raises(
        NotFound, match=r"called 'cash'.*It stands in where='how = cash'; text is written in quotes: 'cash'"
    ):
        project.define(view(visits(), spent=tv.count("1d", where="how = cash")))
    with pytest.raises(NotFound, match=r"called 'shops'.*It is the key of entity 'shops'"):
        project.define(BROKEN["the key"]())


def test_a_feature_that_is_asked_for_without_its_view(project):
    project.define(view(visits()))
    with pytest.raises(NotFound, match=r"There is the feature 'visits:spent'"):
        project.training_set(pl.DataFrame({"shop": [1], "t": ["2026-01-06T00:00Z"]}), ["spent"], time="t")

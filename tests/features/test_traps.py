"""Traps into which feature stores have fallen, and where each is shown to be none here.

Those of this file go the whole way: files, a training set, the online store, the same values from both (``both``). The
others are proved where the table and ``ELSEWHERE`` say, for every engine or store that has this contract; that these tests
exist is a test too.

| trap | what others answered | shown by |
|---|---|---|
| rows of the spine that share key and time | one of them | here |
| two views with different keys | one row for each key of the first | here |
| keys with only future rows | the row was dropped | here |
| edges of a ttl, to the microsecond; ttl online | the row was dropped; ignored online | here |
| keys that nobody knows, and null keys | – | here |
| the order of the spine | sorted by time | here |
| composite keys that look alike: (1, 12) and (11, 2) | the other's value | here |
| the same under several hash seeds | depends on the seed | `test_repeatability` |
| mixed zones, text and nanoseconds as times | an exception | here, the contract of engines |
| an older window after a newer one, online | the older value | here, the contract of stores |
| rows that come late, behind the watermark | never found | here |
| a newest value that is null, or is corrected to null | the value before | here, `test_corrections` |
| ties of event time | undefined | here, the contract of engines |
| a file that cannot be read | an empty table | here |
| rows out of order and twice (a machine's thermometer) | – | here, the contract of engines |
| days of 23 and 25 hours | – | the contract of engines |
| empty sources | – | here, the contract of engines |
| sources of 10,000 columns | – | here, the contract of engines |
| wide text, infinities | – | here, the contract of engines |
| keys of another type than declared | no match, no word | here, `test_keytypes` |
| killed while ingesting or materializing, a full disk, a store that is gone | – | `ELSEWHERE` |
"""

from __future__ import annotations

import ast
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pandas as pd
import polars as pl
import pytest

import trivet as tv
from trivet.errors import Invalid, TrivetError

NOON = datetime(2013, 3, 9, 12, tzinfo=UTC)
HOUR, TICK = timedelta(hours=1), timedelta(microseconds=1)
USER, PAIR = tv.Entity("user"), tv.Entity("pair", keys=("user", "item"))

TESTS = Path(__file__).parents[1]
CONTRACT = "../src/trivet/testing/engines.py"
ELSEWHERE = {
    CONTRACT: [
        "test_it_agrees_with_the_plain_loop",
        "test_composite_keys_never_collide",
        "test_times_may_be_written_in_many_ways",
        "test_the_last_of_equal_rows_wins",
        "test_the_order_of_the_source_decides_nothing_but_ties",
        "test_local_days_have_23_or_25_hours",
        "test_empty_sources_are_sources_that_know_nothing",
        "test_the_width_of_a_source_costs_what_it_is",
        "test_values_come_out_as_they_went_in",
        "test_text_never_equals_a_number",
    ],
    "features/engines/test_repeatability.py": ["test_keys_that_look_alike_are_told_apart_under_any_hash_seed"],
    "../src/trivet/testing/online.py": ["test_older_never_replaces_newer"],
    "features/test_training_set.py": ["test_duplicates_and_steps_back_resolve_as_the_plain_loop_says"],
    "features/series/test_corrections.py": ["test_only_what_says_something_new_is_written"],
    "features/test_keytypes.py": ["test_columns_of_another_type_are_refused"],
    "features/tables/test_events.py": ["test_kill_at_any_moment_leaves_every_acknowledged_row_once"],
    "features/online/test_redis.py": ["test_redis_gone_is_a_sentence_and_back_needs_no_restart"],
    "stories/test_full_disk.py": ["test_a_full_disk_is_a_sentence_and_nothing_is_lost"],
}


@pytest.mark.parametrize("file", ELSEWHERE)
def test_what_is_said_to_be_shown_elsewhere_is(file):
    tree = ast.parse((TESTS / file).read_text("utf-8"))
    there = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    assert set(ELSEWHERE[file]) <= there


@pytest.fixture
def project(tmp_path):
    (tmp_path / "trivet.toml").touch()
    with tv.open(tmp_path) as opened:
        yield opened


def rows(project, name, data, **declared):
    """A source over a Parquet file."""
    frame = data if isinstance(data, pl.DataFrame) else pl.DataFrame(data)
    frame.write_parquet(project.root / f"{name}.parquet")
    return tv.Source(name, f"{name}.parquet", event_time="at", **declared)


def both(project, views, spine):
    """The features of each row of the spine; what the online store answers at each moment must be the same."""
    train = project.training_set(spine, views, time="t").to_polars()
    assert train.select(spine.columns).equals(spine)
    names = [name for view in views for name in view.features]
    for moment in sorted(spine["t"].drop_nulls().unique()):
        project.materialize(views, until=moment)
        for row in train.filter(pl.col("t") == moment).iter_rows(named=True):
            entity = {key: row[key] for view in views for key in view.entity.keys}
            [vector] = project.online_features(views, entity, at=moment)
            online = [vector.values[f"{view.name}:{name}"] for view in views for name in view.features]
            assert str(online) == str([row[name] for name in names]), (
                row,
                vector.status,
            )  # NaN is NaN, -0.0 is not 0.0
    return train.select(names).rows()


def test_rows_that_share_key_and_time_are_all_answered_in_their_order(project):
    source = rows(project, "visits", {"user": [1, 2], "at": [NOON, NOON], "x": [1.0, 2.0]})
    view = tv.FeatureView("v", entity=USER, source=source, features={"x": tv.latest("x"), "n": tv.count("2h")})
    asked = [(7, 2, NOON + HOUR), (3, 1, NOON + HOUR), (9, 1, NOON + HOUR), (1, 1, NOON), (8, 1, NOON + HOUR)]
    spine = pl.DataFrame(asked, ["order", "user", "t"], orient="row")
    assert both(project, [view], spine) == [(2.0, 1), (1.0, 1), (1.0, 1), (1.0, 0), (1.0, 1)]


def test_views_of_different_keys_answer_rows_that_share_the_key_of_one(project):
    visits = rows(project, "visits", {"user": [1, 1], "at": [NOON, NOON], "x": [1.0, 2.0]})
    clicks = rows(project, "clicks", {"user": [1, 1], "item": [5, 6], "at": [NOON, NOON], "y": [50, 60]})
    views = [
        tv.FeatureView("v", entity=USER, source=visits, features=["x"]),
        tv.FeatureView("c", entity=PAIR, source=clicks, features=["y"]),
    ]
    spine = pl.DataFrame({"user": [1, 1, 1], "item": [6, 5, 7], "t": [NOON + HOUR] * 3})
    assert both(project, views, spine) == [(2.0, 60), (2.0, 50), (2.0, None)]


def test_only_future_rows_and_the_edges_of_a_ttl_leave_nulls_and_not_gaps(project):
    source = rows(project, "visits", {"user": [1], "at": [NOON], "x": [1.0]})
    view = tv.FeatureView(
        "v", entity=USER, source=source, features={"x": tv.latest("x"), "n": tv.count("2h")}, ttl="2h"
    )
    moments = [NOON - HOUR, NOON - TICK, NOON, NOON + 2 * HOUR - TICK, NOON + 2 * HOUR, NOON + 2 * HOUR + TICK]
    spine = pl.DataFrame({"user": [1] * 6, "t": moments})
    assert both(project, [view], spine) == [(None, 0), (None, 0), (1.0, 0), (1.0, 1), (None, 1), (None, 0)]
    [vector] = project.online_features([view], {"user": 1}, at="2020-01-01T00:00:00Z")
    assert (vector.values["v:x"], vector.status["v:x"]) == (None, "expired")


def test_keys_that_nobody_knows_and_null_keys_keep_their_rows(project):
    source = rows(project, "visits", {"user": [1, None], "at": [NOON, NOON], "x": [1.0, 9.0]})
    view = tv.FeatureView("v", entity=USER, source=source, features=["x"])
    spine = pl.DataFrame({"user": [404, None, 1, -(2**63)], "t": [NOON] * 4})
    assert both(project, [view], spine) == [(None,), (None,), (1.0,), (None,)]


@pytest.mark.parametrize("text", [False, True])
def test_composite_keys_that_look_alike_stay_apart(project, text):
    pairs = [(1, 12), (11, 2), (112, 0), (0, 112), (1, 1), (11, 0)]
    made = [tuple(map(str, pair)) if text else pair for pair in pairs]
    user, item = zip(*made, strict=True)
    data = {"user": user, "item": item, "at": [NOON] * len(made), "x": range(len(made))}
    view = tv.FeatureView("v", entity=PAIR, source=rows(project, "clicks", data), features=["x"])
    order = [3, 0, 5, 1, 4, 2]
    spine = pl.DataFrame({"user": [user[i] for i in order], "item": [item[i] for i in order], "t": [NOON] * len(order)})
    assert both(project, [view], spine) == [(i,) for i in order]


def test_times_of_any_zone_unit_and_spelling_are_instants(project):
    """A file of nanoseconds as pandas writes it, a spine of text with zones."""
    hours = pd.to_datetime([NOON, NOON + HOUR]).as_unit("ns").tz_convert("Asia/Tokyo")
    pd.DataFrame({"user": [1, 1], "at": hours, "x": [1.0, 2.0]}).to_parquet(project.root / "nano.parquet")
    view = tv.FeatureView("v", entity=USER, source=tv.Source("nano", "nano.parquet", event_time="at"), features=["x"])
    texts = ["2013-03-09T07:30:00-05:00", "2013-03-09T22:00:00+09:00", "2013-03-09T11:59:59Z"]
    train = project.training_set(pl.DataFrame({"user": [1] * 3, "t": texts}), [view], time="t").to_polars()
    assert (train["x"].to_list(), train["t"].to_list()) == ([1.0, 2.0, None], texts)
    assert project.materialize([view], until=texts[1]) == {"v": 1}
    assert project.online_features([view], {"user": 1}, at=texts[1])[0].values == {"v:x": 2.0}


def test_online_an_older_window_never_overwrites_a_newer(project):
    source = rows(project, "visits", {"user": [1, 1], "at": [NOON, NOON + HOUR], "x": [10.0, 20.0]})
    view = tv.FeatureView("v", entity=USER, source=source, features=["x"])
    project.materialize([view], until=NOON + 2 * HOUR)
    project.materialize([view], until=NOON)
    assert project.online_features([view], {"user": 1}, at=NOON + 2 * HOUR)[0].values == {"v:x": 20.0}


def test_rows_that_come_late_are_found_behind_the_watermark(project):
    data = {"user": [1], "at": [NOON], "arrived": [NOON], "x": [10.0]}
    view = tv.FeatureView(
        "v",
        entity=USER,
        source=rows(project, "visits", data, known_at="arrived"),
        features={"x": tv.latest("x"), "total": tv.sum("x", "1d")},
    )
    project.materialize([view], until=NOON + HOUR)
    late = pl.DataFrame({"user": [1], "at": [NOON - HOUR], "arrived": [NOON + 2 * HOUR], "x": [5.0]})
    rows(project, "visits", pl.concat([pl.DataFrame(data), late]), known_at="arrived")
    spine = pl.DataFrame({"user": [1, 1], "t": [NOON + 2 * HOUR - TICK, NOON + 2 * HOUR]})
    assert both(project, [view], spine) == [(10.0, 10.0), (10.0, 15.0)]


def test_a_null_is_a_value_and_the_last_of_equal_rows_wins(project):
    data = {"user": [1, 1, 2, 2], "at": [NOON, NOON + HOUR, NOON, NOON], "x": [1.0, None, 3.0, 4.0]}
    features = {"x": tv.latest("x"), "last": tv.latest("x", skip_nulls=True)}
    view = tv.FeatureView("v", entity=USER, source=rows(project, "visits", data), features=features)
    spine = pl.DataFrame({"user": [1, 1, 2], "t": [NOON, NOON + HOUR, NOON]})
    assert both(project, [view], spine) == [(1.0, 1.0), (None, 1.0), (4.0, 4.0)]


def test_a_file_that_cannot_be_read_is_an_error_and_no_empty_table(project):
    source = rows(project, "visits", {"user": [1], "at": [NOON], "x": [1.0]})
    view = tv.FeatureView("v", entity=USER, source=source, features=["x"])
    whole = (project.root / "visits.parquet").read_bytes()
    (project.root / "visits.parquet").write_bytes(whole[: len(whole) // 2])
    spine = pl.DataFrame({"user": [1], "t": [NOON]})
    for use in (lambda: project.training_set(spine, [view], time="t"), lambda: project.materialize([view], until=NOON)):
        with pytest.raises(TrivetError, match="visits"):
            use()


def test_readings_out_of_order_and_twice_answer_the_same_in_any_order(project):
    """Like a machine's thermometer of the Numenta benchmark: equal times with other values, and steps backwards."""
    minutes = [15, 20, 25, 20, 25, 25, 30, 10, 40, 35]
    data = {"at": [NOON + timedelta(minutes=m) for m in minutes], "x": [73.9 + place for place in range(10)]}
    frame = pl.DataFrame({"user": [1] * 10, **data})
    features = {"x": tv.latest("x"), "mean": tv.mean("x", "10m"), "n": tv.count("10m"), "last": tv.last("x", "10m")}
    spine = pl.DataFrame({"user": [1] * 8, "t": [NOON + timedelta(minutes=m) for m in range(9, 50, 5)][:8]})
    answers = set()
    for seed in range(3):
        order = list(range(10))
        Random(seed).shuffle(order)
        kept = sorted(order, key=lambda place: minutes[place] in (20, 25))  # those of equal times keep their order
        kept = [*kept[:5], *sorted(kept[5:])]
        source = rows(project, f"machine_{seed}", frame[kept])
        view = tv.FeatureView(f"v{seed}", entity=USER, source=source, features=features)
        answers.add(str(both(project, [view], spine)))
    assert len(answers) == 1
    [answer] = answers
    assert "78.9" in answer  # the last of the three readings of 12:25
    assert "77.9" not in answer  # the one before it, which it replaced


def test_empty_sources_are_sources_that_know_nothing(project):
    nothing = pl.DataFrame({"user": [1], "at": [NOON], "x": [1.0]}).clear()
    features = {"x": tv.latest("x"), "n": tv.count("1d"), "mean": tv.mean("x", "1d")}
    view = tv.FeatureView("v", entity=USER, source=rows(project, "visits", nothing), features=features)
    spine = pl.DataFrame({"user": [1], "t": [NOON]})
    train = project.training_set(spine, [view], time="t").to_polars()
    assert train.select("x", "n", "mean").rows() == [(None, 0, None)]
    assert project.materialize([view], until=NOON) == {"v": 0}
    assert project.online_features([view], {"user": 1}, at=NOON)[0].status["v:x"] == "missing"
    assert len(project.training_set(spine.clear(), [view], time="t")) == 0


def test_of_ten_thousand_columns_only_those_that_are_asked_for_are_read(project):
    wide = {f"c{number}": [float(number)] for number in range(10_000)}
    source = rows(project, "wide", {"user": [1], "at": [NOON], **wide})
    view = tv.FeatureView("v", entity=USER, source=source, features=["c0", "c9999"])
    assert both(project, [view], pl.DataFrame({"user": [1], "t": [NOON]})) == [(0.0, 9999.0)]


def test_wide_text_infinities_and_odd_floats_come_out_as_they_went_in(project):
    text = "Zoë\0'\"" * 40_000
    values = [math.inf, -math.inf, math.nan, -0.0, 5e-324]
    data = {"user": range(5), "at": [NOON] * 5, "x": values, "s": [text, "", "\n", "a,b", None]}
    view = tv.FeatureView("v", entity=USER, source=rows(project, "odd", data), features=["x", "s"])
    answer = both(project, [view], pl.DataFrame({"user": range(5), "t": [NOON] * 5}))
    assert str(answer) == str(list(zip(values, data["s"], strict=True)))


def test_keys_of_another_type_than_declared_are_a_sentence_and_no_missing_match(project):
    data = {"user": ["1"], "at": [NOON], "x": [1.0]}
    source = rows(project, "visits", data)
    spine = pl.DataFrame({"user": [1], "t": [NOON]})
    declared = tv.FeatureView("v", entity=tv.Entity("user", type="int"), source=source, features=["x"])
    with pytest.raises(Invalid, match="'visits' has type String, and entity 'user' declares 'int'"):
        project.training_set(spine, [declared], time="t")
    with pytest.raises(Invalid, match="'visits' has type String, and entity 'user' declares 'int'"):
        project.materialize([declared], until=NOON)
    plain = tv.FeatureView("v", entity=USER, source=source, features=["x"])
    with pytest.raises(Invalid, match="Int64 in the spine and String in source 'visits', so no row would match"):
        project.training_set(spine, [plain], time="t")

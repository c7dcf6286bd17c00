from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from tests.features.projects import NOON, opened
from trivet.errors import Conflict, Invalid, NotFound
from trivet.features.tables import EventTables
from trivet.ledger import RunQuery


def orders(*rows, columns=("order", "customer", "at", "amount")):
    """Orders, each at so many minutes past ten."""
    frame = pl.DataFrame(rows, schema=list(columns), orient="row")
    moments = [datetime(2026, 11, 20, 10, tzinfo=UTC) + timedelta(minutes=m) for m in frame["at"]]
    return frame.with_columns(at=pl.Series(moments, dtype=pl.Datetime("us", "UTC")))


def ingest(tables, *rows, **options):
    return tables.ingest("orders", orders(*rows), key="order", event_time="at", **options)


def counts(report):
    return {name: n for name in ("new", "repeated", "changed", "late", "refused") if (n := getattr(report, name))}


class TestOnce:
    def test_the_same_rows_again_change_nothing(self, tables):
        first = ingest(tables, (1, 42, 0, 5), (2, 7, 1, 6))
        again = ingest(tables, (2, 7, 1, 6), (1, 42, 0, 5))
        assert (counts(first), counts(again)) == ({"new": 2}, {"repeated": 2})
        assert first.version == again.version
        assert tables.read("orders").height == 2

    def test_a_row_repeated_within_a_batch(self, tables):
        assert counts(ingest(tables, (1, 42, 0, 5), (1, 42, 0, 5))) == {"new": 1, "repeated": 1}

    def test_a_repeated_row_is_known_by_all_of_its_content_in_whatever_order_deliveries_come(self, tables):
        ingest(tables, (1, 42, 0, 5))
        ingest(tables, (1, 42, 0, 6))
        assert counts(ingest(tables, (1, 42, 0, 5))) == {"repeated": 1}
        assert tables.read("orders")["amount"].to_list() == [6]

    def test_without_a_key_the_whole_row_is_the_key(self, tables):
        report = tables.ingest("clicks", [{"page": "a", "n": 1}, {"page": "a", "n": 1}, {"page": "a", "n": 2}])
        assert counts(report) == {"new": 2, "repeated": 1}

    def test_a_repeated_row_of_a_fraction_of_a_millisecond_is_found(self, tables):
        rows = [{"page": "a", "at": "2026-11-20T10:00:00.123456Z"}]
        tables.ingest("clicks", rows, event_time="at")
        assert counts(tables.ingest("clicks", rows)) == {"repeated": 1}

    def test_nulls_and_nans_are_values_of_a_row(self, tables):
        rows = pl.DataFrame({"k": [1, 2], "x": [None, float("nan")]})
        tables.ingest("t", rows, key="k")
        assert counts(tables.ingest("t", rows)) == {"repeated": 2}

    def test_lists_and_structs_are_compared_too(self, tables):
        rows = pl.DataFrame({"k": [1, 2], "x": [[1, 2], None], "s": [{"a": 1.5}, {"a": None}]})
        tables.ingest("t", rows, key="k")
        assert counts(tables.ingest("t", rows)) == {"repeated": 2}
        assert tables.read("t")["x"].to_list() == [[1, 2], None]


class TestRules:
    def test_last_keeps_a_correction_beside_what_it_corrects(self, tables, clock):
        ingest(tables, (1, 42, 0, 5))
        clock.advance(timedelta(hours=1))
        assert counts(ingest(tables, (1, 42, 0, 6), (2, 7, 3, 1))) == {"new": 1, "changed": 1}
        assert tables.read("orders")["amount"].to_list() == [6, 1]
        assert tables.read("orders", history=True)["amount"].to_list() == [5, 6, 1]
        assert tables.read("orders", as_known_at=NOON)["amount"].to_list() == [5]

    def test_of_two_contents_in_one_batch_the_later_row_is_the_later_content(self, tables):
        assert counts(ingest(tables, (1, 42, 0, 9), (1, 42, 0, 5))) == {"new": 1, "changed": 1}
        assert tables.read("orders")["amount"].to_list() == [5]

    def test_first_sets_other_content_aside(self, tables):
        ingest(tables, (1, 42, 0, 5), keep="first")
        report = ingest(tables, (1, 42, 0, 6), (2, 7, 0, 1), (2, 7, 0, 2))
        assert counts(report) == {"new": 1, "refused": 2}
        assert report.reasons == {"the key is there with other content, and the table keeps the first": 2}
        assert sorted(tables.read("orders")["amount"]) == [1, 5]
        assert sorted(json.loads(row)["amount"] for row in tables.read("orders__refused")["row"]) == [2, 6]

    def test_all_keeps_every_row_and_each_named_batch_once(self, tables):
        options = {"event_time": "at", "keep": "all"}
        reading = orders((1, 1, 0, 5), (1, 1, 0, 5))
        assert counts(tables.ingest("readings", reading, **options, batch="monday")) == {"new": 2}
        assert counts(tables.ingest("readings", reading, batch="monday")) == {"repeated": 2}
        assert counts(tables.ingest("readings", reading, batch="tuesday")) == {"new": 2}
        assert tables.read("readings").height == 4

    def test_all_takes_a_file_once(self, tables, tmp_path):
        orders((1, 1, 0, 5), (1, 1, 0, 5)).write_parquet(tmp_path / "one.parquet")
        tables.ingest("readings", "one.parquet", keep="all")
        assert counts(tables.ingest("readings", "one.parquet")) == {"repeated": 2}

    def test_other_rules_than_the_table_has_are_a_conflict(self, tables):
        ingest(tables, (1, 42, 0, 5))
        with pytest.raises(Conflict, match="was made with keep='last', and 'first'"):
            ingest(tables, (2, 42, 0, 5), keep="first")
        with pytest.raises(Conflict, match=r"key=\['order'\]"):
            tables.ingest("orders", orders((2, 42, 0, 5)), key=["order", "customer"])

    @pytest.mark.parametrize(
        ("rules", "match"),
        [
            ({"keep": "newest"}, "no rule"),
            ({"known_at": "k"}, "event_time="),
            ({"key": ["a", "a"]}, "different key columns"),
            ({"created": "at", "event_time": "at"}, "filled by Trivet"),
        ],
    )
    def test_rules_that_make_no_sense(self, tables, rules, match):
        with pytest.raises(Invalid, match=match):
            tables.create("t", **rules)

    @pytest.mark.parametrize("name", ["", "Orders", "a__b", "a b", "../x", "1a", "x" * 60, "orders__refused"])
    def test_names_that_are_none(self, tables, name):
        with pytest.raises(Invalid, match="not the name"):
            tables.ingest(name, [{"a": 1}])

    def test_a_table_declared_first_takes_its_columns_from_the_first_rows(self, tables):
        assert tables.create("orders", key=["order"], event_time="at").rules.key == ("order",)
        assert tables.create("orders").version == 0
        assert counts(tables.ingest("orders", orders((1, 42, 0, 5)))) == {"new": 1}
        assert tables.read("orders")["amount"].to_list() == [5]


class TestTime:
    def test_late_rows_are_counted_and_found(self, tables, clock):
        ingest(tables, (1, 1, 30, 1), (2, 1, 10, 1))
        clock.advance(timedelta(minutes=1))
        assert counts(ingest(tables, (3, 1, 20, 1), (4, 1, 40, 1), (5, 1, 35, 1))) == {"new": 3, "late": 1}
        assert sorted(tables.read("orders", since=NOON)["order"]) == [3, 4, 5]

    def test_late_is_by_the_time_at_which_a_row_could_be_known(self, tables):
        frame = orders((1, 1, 0, 1), (2, 1, 50, 1)).with_columns(known=pl.col("at") + pl.duration(hours=1))
        tables.ingest("t", frame, key="order", event_time="at", known_at="known")
        more = orders((3, 1, 55, 1)).with_columns(known=pl.col("at"))
        assert counts(tables.ingest("t", more)) == {"new": 1, "late": 1}

    def test_arrival_increases_from_commit_to_commit_though_the_clock_stands_or_goes_back(self, tables, clock):
        for order, hours in ((1, 0), (2, 0), (3, -5), (4, 1)):
            clock.set(NOON + timedelta(hours=hours))
            ingest(tables, (order, 1, order, 1))
        arrived = tables.read("orders", history=True)["created"].to_list()
        assert arrived == sorted(set(arrived))
        for version in range(1, 5):
            assert tables.read("orders", version=version)["order"].to_list() == list(range(1, version + 1))

    def test_naive_times_need_a_zone_and_keep_it(self, tables):
        with pytest.raises(Invalid, match="without a zone"):
            tables.ingest("t", [{"at": datetime(2026, 7, 1, 5)}], event_time="at")
        tables.ingest("t", [{"at": datetime(2026, 7, 1, 5)}], event_time="at", timezone="America/New_York")
        tables.ingest("t", [{"at": "2026-07-01T06:00:00"}])
        assert [at.hour for at in tables.read("t")["at"]] == [9, 10]

    def test_a_source_knows_when_rows_happened_and_when_they_reached_us(self, tables):
        ingest(tables, (1, 1, 0, 1))
        source = tables.source("orders")
        assert (source.times.event, source.created, source.data) == ("at", "created", ".trivet/tables/orders")
        tables.ingest("plain", [{"a": 1}])
        assert tables.source("plain").times.event == "created"


class TestRefused:
    def test_rows_that_break_rules_are_kept_with_the_reason(self, tables):
        frame = pl.DataFrame({"order": [1, None, 3, 4], "at": ["2026-11-20T10:00Z", "2026-11-20T10:00Z", None, "soon"]})
        report = tables.ingest("orders", frame, key="order", event_time="at")
        assert counts(report) == {"new": 1, "refused": 3}
        assert sorted(report.reasons.values()) == [1, 1, 1]
        refused = tables.read("orders__refused")
        assert {json.loads(row)["order"] for row in refused["row"]} == {None, 3, 4}
        assert any("soon" in reason for reason in refused["reason"])
        tables.ingest("orders", frame)
        assert tables.read("orders__refused").height == 3
        assert tables.describe("orders").refused == 3

    def test_checks_of_the_caller(self, tables):
        def positive(frame):
            return frame.select(pl.when(pl.col("amount") < 0).then(pl.lit("a negative amount"))).to_series()

        report = ingest(tables, (1, 1, 0, -1), (2, 1, 0, 1), checks=positive)
        assert report.reasons == {"a negative amount": 1}
        assert tables.read("orders")["order"].to_list() == [2]
        with pytest.raises(Invalid, match="one text or null"):
            ingest(tables, (3, 1, 0, 1), checks=lambda frame: pl.Series([True]))

    def test_all_rows_refused(self, tables):
        assert counts(tables.ingest("t", [{"k": None}], key="k")) == {"refused": 1}


class TestColumns:
    def test_new_columns_are_added_and_old_ones_may_be_left_out(self, tables):
        tables.ingest("t", [{"k": 1, "a": 1}], key="k")
        tables.ingest("t", [{"k": 2, "b": "x"}])
        assert tables.read("t").select("k", "a", "b").rows() == [(1, 1, None), (2, None, "x")]
        assert tables.read("t", version=1).columns == ["k", "a", "created"]
        assert counts(tables.ingest("t", [{"k": 1, "a": 1, "b": None}])) == {"repeated": 1}

    def test_whole_numbers_that_meet_fractions_become_floats_and_older_versions_stay_whole(self, tables):
        tables.ingest("t", [{"k": 1, "a": 1}], key="k")
        tables.ingest("t", [{"k": 2, "a": 1.5}])
        assert tables.read("t")["a"].to_list() == [1.0, 1.5]
        assert tables.read("t", version=1)["a"].dtype == pl.Int64
        assert counts(tables.ingest("t", [{"k": 1, "a": 1}, {"k": 2, "a": 1.5}])) == {"repeated": 2}

    def test_floats_that_are_whole_go_into_whole_numbers(self, tables):
        tables.ingest("t", pl.DataFrame({"k": [1], "a": [1]}), key="k")
        assert counts(tables.ingest("t", pd.DataFrame({"k": [1, 2], "a": [1.0, None]}))) == {"new": 1, "repeated": 1}
        assert tables.read("t")["a"].to_list() == [1, None]

    @pytest.mark.parametrize("value", ["one", True, datetime(2026, 1, 1, tzinfo=UTC), [1]])
    def test_another_type_is_refused_whole(self, tables, value):
        tables.ingest("t", [{"k": 1, "a": 1}], key="k")
        with pytest.raises(Invalid, match="column 'a' of table 't' holds Int64"):
            tables.ingest("t", [{"k": 2, "a": value}])
        assert tables.read("t")["k"].to_list() == [1]

    def test_numbers_that_a_float_cannot_hold_are_refused(self, tables):
        tables.ingest("t", [{"k": 1, "a": 2**53 + 1}], key="k")
        with pytest.raises(Invalid, match="beyond 2"):
            tables.ingest("t", [{"k": 2, "a": 0.5}])
        tables.ingest("u", [{"k": 1, "a": 0.5}], key="k")
        with pytest.raises(Invalid, match="holds Float64"):
            tables.ingest("u", [{"k": 2, "a": 2**53 + 1}])

    def test_columns_that_are_missing_or_taken(self, tables):
        with pytest.raises(NotFound, match="Did you mean 'order_id'"):
            tables.ingest("t", [{"order_id": 1}], key="orderid")
        with pytest.raises(Invalid, match="created='reached_us'"):
            tables.ingest("t", [{"k": 1, "created": 1}])
        with pytest.raises(Invalid, match="do not keep"):
            tables.ingest("t", pl.DataFrame({"d": [timedelta(1)]}))
        with pytest.raises(Invalid, match="fractions of a microsecond"):
            tables.ingest("t", pl.DataFrame({"d": pl.Series([1], dtype=pl.Datetime("ns", "UTC"))}))
        assert tables.names() == []


class TestMakes:
    @pytest.mark.parametrize(
        "make",
        [
            lambda frame: frame,
            lambda frame: frame.lazy(),
            lambda frame: frame.to_arrow(),
            lambda frame: frame.to_pandas(),
            lambda frame: frame.to_dicts(),
            lambda frame: iter([frame.head(1), frame.tail(1)]),
            lambda frame: pa.RecordBatchReader.from_batches(frame.to_arrow().schema, frame.to_arrow().to_batches()),
            lambda frame: (row for row in frame.to_dicts()),
        ],
    )
    def test_rows_of_any_make(self, tables, make):
        frame = orders((1, 42, 0, 5), (2, 7, 1, 6))
        ingest(tables, (1, 42, 0, 5), (2, 7, 1, 6))
        assert counts(tables.ingest("orders", make(frame))) == {"repeated": 2}

    @pytest.mark.parametrize("ending", ["parquet", "csv", "arrow", "jsonl"])
    def test_files_and_the_run_says_which(self, tables, context, tmp_path, ending):
        frame, path = orders((1, 42, 0, 5), (2, 7, 1, 6)), tmp_path / f"in.{ending}"
        write = {"parquet": frame.write_parquet, "csv": frame.write_csv, "arrow": frame.write_ipc}
        write.get(ending, frame.write_ndjson)(path)
        report = tables.ingest("orders", path.name, key="order", event_time="at")
        assert counts(report) == {"new": 2}
        run = context.ledger.run(report.run)
        assert context.ledger.artifact(run.inputs["file"]).spec == {"name": path.name, "size": path.stat().st_size}

    def test_what_cannot_be_read(self, tables, tmp_path):
        (tmp_path / "orders.csv").write_text("")
        (tmp_path / "bad.parquet").write_text("no")
        for data, match in (
            (5, "from a int"),
            ("order.csv", "Did you mean 'orders.csv'"),
            ("orders.csv", "is empty"),
            ("bad.parquet", "cannot be read"),
            ("x.xls", "end in"),
        ):
            with pytest.raises(Invalid, match=match):
                tables.ingest("orders", data)

    def test_an_iterator_that_breaks_keeps_what_was_taken_and_can_be_repeated(self, tables, context):
        def broken():
            yield orders((1, 42, 0, 5))
            raise ValueError("the network")

        with pytest.raises(ValueError, match="network"):
            tables.ingest("orders", broken(), key="order", event_time="at")
        assert tables.read("orders")["order"].to_list() == [1]
        assert [run.status for run in context.ledger.runs()] == ["failed"]
        assert counts(ingest(tables, (1, 42, 0, 5), (2, 7, 1, 6))) == {"new": 1, "repeated": 1}


class TestRecords:
    def test_lineage_goes_from_a_version_back_to_the_files(self, tables, context, tmp_path):
        from trivet.ledger.lineage import ancestors

        for number in (1, 2, 3):
            orders((number, 1, number, 1)).write_parquet(tmp_path / f"{number}.parquet")
            report = tables.ingest("orders", f"{number}.parquet", key="order", event_time="at")
        [made] = context.ledger.run(report.run).outputs.values()
        behind = [context.ledger.artifact(digest) for digest in ancestors(context.ledger, made).artifacts]
        assert sorted(a.spec["name"] for a in behind if a.kind == "file") == ["1.parquet", "2.parquet", "3.parquet"]
        assert [a.spec["version"] for a in behind if a.kind == "table_version"] == [3, 2, 1]

    def test_versions_tell_what_came(self, tables):
        ingest(tables, (1, 42, 0, 5))
        report = ingest(tables, (1, 42, 0, 6))
        newest, first, made = tables.history("orders")
        assert (newest.operation, newest.run, newest.counts) == ("ingest", report.run, {"changed": 1})
        assert (first.counts, made.operation) == ({"new": 1}, "create")

    def test_compaction_leaves_every_version_readable(self, tables):
        for order in range(20):
            ingest(tables, (order, 1, order, 1), (0, 1, 0, order))
        before = [tables.read("orders", version=version) for version in range(21)]
        done = tables.compact("orders", retention="0s")
        assert done.merged == 20
        assert tables.describe("orders").files == 1
        assert len(list(Path(tables._folder, "orders").glob("*.parquet"))) == 1
        assert all(tables.read("orders", version=v).equals(frame) for v, frame in enumerate(before))

    def test_many_small_ingests_are_put_together_by_the_way(self, tables):
        for order in range(130):
            ingest(tables, (order, 1, order, 1))
        assert tables.describe("orders").files < 70
        assert tables.read("orders").height == 130

    def test_what_does_not_exist(self, tables):
        with pytest.raises(NotFound, match="Ingest some rows first"):
            tables.read("orders")
        ingest(tables, (1, 42, 0, 5))
        for ask, match in (
            (lambda: tables.read("order"), "Did you mean 'orders'"),
            (lambda: tables.read("orders", version=7), "It has 0 to 1"),
            (lambda: tables.read("orders", columns=["amont"]), "Did you mean 'amount'"),
            (lambda: tables.erase("orders", {"custommer": 1}, why="x"), "Did you mean 'customer'"),
        ):
            with pytest.raises(NotFound, match=match):
                ask()

    def test_a_table_of_trivets_own_is_not_for_events(self, tables, context):
        from trivet.ledger.tables import Tables

        Tables(tables._folder).append("predictions", pa.table({"id": [1]}))
        with pytest.raises(Invalid, match="kept by Trivet"):
            tables.ingest("predictions", [{"id": 2}])
        assert tables.names() == []


# -- several processes, and processes that die ------------------------------------------------------------------------


def _pour(folder, first, gate, locked):
    if not locked:
        import fcntl

        fcntl.flock = lambda *_: None
    tables = EventTables(opened(Path(folder)))
    gate.wait(60)
    for number in range(first, first + 10):
        tables.ingest("orders", orders((number, 1, number, 1)))


@pytest.mark.parametrize("locked", [True, False])
def test_processes_that_ingest_the_same_rows_at_once(tmp_path, locked):
    """Orders 0 to 19, most of them by two processes; with and without the lock, which only saves work."""
    EventTables(opened(tmp_path)).create("orders", key="order", event_time="at")
    spawn = multiprocessing.get_context("spawn")
    gate = spawn.Barrier(3)
    workers = [spawn.Process(target=_pour, args=(str(tmp_path), first, gate, locked)) for first in (0, 5, 10)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    rows = EventTables(opened(tmp_path)).read("orders", history=True)
    assert sorted(rows["order"]) == list(range(20))
    assert rows["created"].n_unique() == 20


DYING = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
sys.path.insert(0, {root!r} + "/src")
from tests.features.projects import opened
from tests.features.tables.test_events import orders
from trivet.features.tables import EventTables

tables = EventTables(opened(Path({folder!r})))
for n in range(12):
    rows = [(n * 10 + i, 1, i, 1) for i in range(10)]
    tables.ingest("orders", orders(*rows, (None, n, 0, 0)), key="order", event_time="at")
    print(n, flush=True)
"""


def test_kill_at_any_moment_leaves_every_acknowledged_row_once(tmp_path):
    """Killed at different moments after its second acknowledgement, and started again from the beginning."""
    script = DYING.format(root=str(Path(__file__).resolve().parents[3]), folder=str(tmp_path))
    for kill in range(5):
        with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as worker:
            said = [worker.stdout.readline(), worker.stdout.readline()]
            time.sleep(0.013 * kill)
            os.kill(worker.pid, signal.SIGKILL)
            said += worker.stdout.read().splitlines()
        acknowledged = max(int(word) for word in said)
        held = EventTables(opened(tmp_path)).read("orders", history=True)["order"].to_list()
        assert len(held) == len(set(held))
        assert set(held) >= set(range(10 * (acknowledged + 1)))
        assert len(held) % 10 == 0
    subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.DEVNULL)
    context = opened(tmp_path)
    tables = EventTables(context)
    assert sorted(tables.read("orders", history=True)["order"]) == list(range(120))
    assert tables.read("orders__refused").height == 12
    runs = context.ledger.runs(RunQuery(kind="ingest", limit=1000))
    made = {int(slot.partition("_")[2]) for run in runs for slot in run.outputs}
    assert made >= {each.version for each in tables.history("orders") if each.operation == "ingest"}


def test_whole_rows_are_read_only_of_files_in_which_a_key_is_met(tables, monkeypatch):
    from trivet.features.tables.stored import StoredTable

    for first in (0, 100, 200):
        ingest(tables, *((number, 1, number, 1) for number in range(first, first + 100)))
    scan, asked = StoredTable.scan, []

    def noted(self, files=None, **options):
        asked.append(None if files is None else len(files))
        return scan(self, files, **options)

    with monkeypatch.context() as noting:
        noting.setattr(StoredTable, "scan", noted)
        assert counts(ingest(tables, (300, 1, 300, 1), (301, 1, 301, 1))) == {"new": 2}
        assert counts(ingest(tables, (110, 1, 110, 1), (120, 1, 120, 2), (400, 1, 400, 1))) == {
            "new": 1,
            "repeated": 1,
            "changed": 1,
        }
    assert asked == [None, 0, None, 1]


class TestRunOfRefused:
    def test_a_refused_row_says_which_run_refused_it(self, tables):
        report = ingest(tables, (None, 1, 0, 1))
        assert tables.read("orders__refused")["run"].to_list() == [report.run]

    def test_a_table_of_refused_rows_from_before_is_read_and_goes_on(self, tables, monkeypatch):
        """Rows refused by an earlier version of Trivet have no run."""
        from trivet.features.tables.stored import StoredTable

        with monkeypatch.context() as earlier:
            create, append = StoredTable.create.__func__, StoredTable.append
            earlier.setattr(
                StoredTable,
                "create",
                classmethod(
                    lambda cls, name, path, schema, rules: create(
                        cls, name, path, pl.Schema({n: k for n, k in schema.items() if n != "run"}), rules
                    )
                ),
            )
            earlier.setattr(
                StoredTable, "append", lambda self, rows, *rest: append(self, rows.drop("run", strict=False), *rest)
            )
            ingest(tables, (None, 1, 0, 1))
        assert tables.read("orders__refused")["run"].to_list() == [None]
        report = ingest(tables, (None, 2, 0, 1))
        assert tables.read("orders__refused")["run"].to_list() == [None, report.run]

    def test_a_rule_that_there_is_not(self, tables):
        with pytest.raises(NotFound, match="Did you mean 'event_time'"):
            tables.create("orders", event_tme="at")


def test_an_event_far_in_the_future_makes_nothing_late(tables):
    now = tables._context.clock()
    tables.ingest("t", [{"k": 1, "at": now - timedelta(hours=1)}], key="k", event_time="at")
    assert tables.ingest("t", [{"k": 2, "at": now + timedelta(days=4000)}]).late == 0
    after = tables.ingest("t", [{"k": 3, "at": now - timedelta(minutes=1)}])
    assert after.late == 0
    assert tables.describe("t").watermark == now - timedelta(minutes=1)
    assert tables.ingest("t", [{"k": 4, "at": now - timedelta(minutes=30)}]).late == 1
    assert tables.lateness("t").late == 1


def test_columns_that_are_new_are_named(tables):
    assert tables.ingest("t", [{"k": 1, "fare": 12}], key="k").columns == ()
    found = tables.ingest("t", {"k": 2, "faer": 12})
    assert found.columns == ("faer",)
    assert str(found).endswith("1 new, new columns faer")


def test_a_table_without_event_times_says_so_when_it_is_made(tables):
    assert "No event time was declared" in str(tables.ingest("t", [{"k": 1}], key="k"))
    assert "No event time" not in str(tables.ingest("t", [{"k": 2}]))


def test_versions_say_what_made_them(tables):
    tables.ingest("t", [{"k": 1, "v": 1}], key="k")
    tables.ingest("t", [{"k": 2, "v": 1.5}])
    gone = tables.erase("t", {"k": 1}, why="asked")
    tables.ingest("t", [{"k": 3, "v": 1.5}])
    made = [each for each in tables.history("t") if each.operation in ("ingest", "erase", "widen")]
    assert [each.operation for each in made] == ["ingest", "erase", "ingest", "widen", "ingest"]
    assert made[1].run == gone.run
    assert made[1].counts == {}


def test_a_bad_line_of_json_is_told_by_its_number(tables, tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_text('{"k": 1}\n\n{"k": 2}\n{"k": \n')
    with pytest.raises(Invalid, match=r"Line 4 of '.*events.jsonl' is no JSON object: '\{\"k\":'"):
        tables.ingest("t", path, key="k")

"""What someone has a right to is gone from the disk, and what stays says so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pyarrow as pa
import pytest

import trivet as tv
from tests.features.projects import NOON
from tests.features.tables.test_events import orders
from trivet.clock import new_id
from trivet.errors import Invalid, NotFound
from trivet.features.definitions import Entity, FeatureView
from trivet.features.online.contract import Row
from trivet.features.online.memory import MemoryStore
from trivet.features.tables import EventTables
from trivet.ledger import Run
from trivet.ledger.erasures import check_not_erased
from trivet.ledger.tables import Tables
from trivet.pipelines import values

SOMEONE = "zaphod.beeblebrox@example.org"


def people(*rows):
    return orders(*rows, columns=("order", "customer", "at", "mail"))


def everywhere_on_disk(folder, text):
    return [path for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


def fill(tables):
    tables.ingest("people", people((1, 42, 0, SOMEONE), (2, 7, 1, "a@b")), key="order", event_time="at")
    tables.ingest("people", people((1, 42, 0, SOMEONE + "x"), (3, 42, 2, SOMEONE)))
    refused = people((4, 42, 0, SOMEONE)).with_columns(order=None)
    tables.ingest("people", refused)


def test_all_versions_and_the_refused_rows_lose_them_from_the_disk(tables, tmp_path):
    fill(tables)
    assert everywhere_on_disk(tmp_path, SOMEONE)
    gone = tables.erase("people", {"customer": 42}, why="request of 2026-11-20")
    assert (gone.rows, gone.refused) == (3, 1)
    assert everywhere_on_disk(tmp_path, SOMEONE) == []
    assert [tables.read("people", version=v)["order"].to_list() for v in (0, 1, 2)] == [[], [2], [2]]
    assert tables.read("people__refused").height == 0
    tables.ingest("people", people((5, 8, 0, "c@d")))
    assert tables.read("people")["order"].to_list() == [2, 5]


def test_the_ledger_says_what_when_by_whom_and_why_and_not_who(tables, context):
    fill(tables)
    tables.erase("people", {"mail": SOMEONE}, why="request of 2026-11-20")
    [run] = tables.erased("people", {"mail": SOMEONE})
    assert (run.kind, run.user, run.tags["why"], run.metrics["rows"]) == ("erase", "ada", "request of 2026-11-20", 2)
    assert SOMEONE not in repr(run)
    assert tables.erased("people", {"mail": "a@b"}) == []
    assert (context.root / ".trivet" / "erasure.key").stat().st_mode & 0o077 == 0


def test_the_online_rows_of_the_entity_go_and_no_others(tables, context):
    fill(tables)
    view = FeatureView("mails", entity=Entity("customer"), source=tables.source("people"), features=["mail"])
    artifact = values.save(view, context, kind="feature_view")
    context.ledger.point("feature_view/mails", None, artifact.digest, by="ada")
    store = MemoryStore()
    store.write(view.online_name, [((42,), Row(1, [SOMEONE], [1])), ((7,), Row(1, ["a@b"], [1]))], watermark=1)
    served = EventTables(context, lambda: store)
    assert served.erase("people", {"customer": 42}, why="asked").online == {"mails": 1}
    mine, other = store.read(view.online_name, [(42,), (7,)])
    assert mine is None or (mine.values, mine.times) == ([None], [None])
    assert other.values == ["a@b"]
    assert served.erase("people", {"customer": 42}, why="again").online == {}


def test_recorded_artifacts_are_listed_and_with_everywhere_lose_their_content(tables, context, tmp_path):
    fill(tables)
    held = values.save(people((1, 42, 0, SOMEONE)), context)
    text = values.save(
        people((1, 42, 0, SOMEONE)).with_columns(customer=orders((1, 42, 0, 1))["customer"].cast(str)), context
    )
    free = values.save(people((2, 7, 1, "a@b")), context)
    found = tables.erase("people", {"customer": 42}, why="asked")
    assert sorted(found.artifacts) == sorted([held.id, text.id])
    check_not_erased(context.ledger, context.blobs, [held, text, free])
    assert "left; erase everywhere" in str(found)
    gone = tables.erase("people", {"customer": 42}, why="asked", everywhere=True)
    assert sorted(gone.artifacts) == sorted([held.id, text.id])
    assert everywhere_on_disk(tmp_path, SOMEONE) == []
    check_not_erased(context.ledger, context.blobs, [free])
    with pytest.raises(NotFound, match=r"erased on .* by ada \(asked\), so what was made from it cannot"):
        check_not_erased(context.ledger, context.blobs, [held])


def test_other_tables_that_hold_them_are_named(tables):
    fill(tables)
    tables.ingest("visits", [{"customer": 42}, {"customer": 7}])
    assert tables.erase("people", {"customer": 42}, why="asked").tables == {"visits": 1}


def test_an_erasure_that_was_interrupted_is_completed_by_asking_again(tables, tmp_path, monkeypatch):
    from trivet.features.tables.stored import StoredTable

    fill(tables)
    with monkeypatch.context() as patch:
        patch.setattr(StoredTable, "sweep", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            tables.erase("people", {"customer": 42}, why="asked")
    assert everywhere_on_disk(tmp_path, SOMEONE)
    tables.erase("people", {"customer": 42}, why="asked")
    assert everywhere_on_disk(tmp_path, SOMEONE) == []


@pytest.mark.parametrize(
    ("of", "why", "match"),
    [
        ({}, "x", "Say whose"),
        ({"customer": 42}, " ", "Say why"),
        ({"customer": None}, "x", "no one's"),
        ({"at": "x"}, "x", "fit"),
    ],
)
def test_requests_that_mean_nothing(tables, of, why, match):
    fill(tables)
    with pytest.raises(Invalid, match=match):
        tables.erase("people", of, why=why)


def test_everywhere_is_what_predictions_audits_and_other_sources_keep_too(tables, context, tmp_path):
    """What ``Tables`` appends has the bounds of its values in its log, so the log is cleared as well."""
    fill(tables)
    own = Tables(tables.folder)
    said = [f'{{"mail":"{who}"}}' for who in (SOMEONE, "a@b", "c@d")]
    moments = [NOON, NOON, NOON + timedelta(days=1)]
    made = {"id": ["1", "2", "3"], "at": pa.array(moments, pa.timestamp("us", "UTC")), "entities": said}
    own.append("predictions", pa.table({**made, "request": ["{}", "{}", said[0]]}), day_of="at")
    own.append("predictions", pa.table({**made, "id": ["4", "5", "6"], "request": ["{}"] * 3}), day_of="at")
    aside = {"digest": ["x", "y"], "reason": ["r", "r"], "row": [said[0], said[1]], "run": ["", ""]}
    own.append("visits__refused", pa.table({**aside, "created": pa.array([NOON, NOON], pa.timestamp("us", "UTC"))}))
    served = values.save([{"id": "1", "entities": {"mail": SOMEONE}, "values": {"n": 1}}], context, "json")
    report = values.save({"features": [{"examples": [{"entities": {"mail": SOMEONE}}]}]}, context, "json")
    other = values.save([{"entities": {"mail": "a@b"}}], context, "json")

    left = tables.erase("people", {"mail": SOMEONE}, why="asked")
    assert (left.predictions, left.aside, sorted(left.artifacts)) == (
        3,
        {"visits__refused": 1},
        sorted([served.id, report.id]),
    )
    assert "3 prediction records and 1 rows that other sources refused held it: left" in str(left)
    gone = tables.erase("people", {"mail": SOMEONE}, why="asked", everywhere=True)
    assert (gone.predictions, gone.aside) == (3, {"visits__refused": 1})
    assert [
        path for path in everywhere_on_disk(tmp_path, SOMEONE) if SOMEONE + "x" not in path.read_text("latin1")
    ] == []
    assert sorted(own.read("predictions")["id"].to_pylist()) == ["2", "5", "6"]
    assert own.read("visits__refused")["row"].to_pylist() == [said[1]]
    own.append("predictions", pa.table({**made, "request": ["{}"] * 3}), day_of="at")
    assert own.read("predictions", where=[("at", ">=", NOON + timedelta(days=1))]).num_rows == 2
    check_not_erased(context.ledger, context.blobs, [other])
    with pytest.raises(NotFound, match="erased on"):
        check_not_erased(context.ledger, context.blobs, [served, report])
    run = tables.erased("people", {"mail": SOMEONE})[0]
    assert (run.metrics["predictions"], run.metrics["aside"], SOMEONE in repr(run)) == (3, 1, False)


@pytest.fixture
def shop(tmp_path):
    (tmp_path / "trivet.toml").write_text('[features]\nonline = "memory:"\n')
    with tv.open(tmp_path) as project:
        rows = [
            {
                "order": number,
                "customer": SOMEONE if number % 3 == 0 else f"c{number % 4}",
                "at": f"2026-01-01T10:{number:02}Z",
            }
            for number in range(30)
        ]
        project.tables.ingest("orders", [{**row, "amount": 20.0} for row in rows], key="order", event_time="at")
        orders = project.tables.source("orders")
        text = 'SELECT customer AS client, "at", created, amount FROM orders'
        renamed = tv.Source("renamed", sql=text, inputs=[orders], event_time="at", created="created")
        spend = tv.FeatureView(
            "spend", entity=tv.Entity("customer"), source=orders, features={"s": tv.sum("amount", "999d")}
        )
        whose = tv.FeatureView("whose", entity=tv.Entity("order"), source=orders, features=["customer"])
        clients = tv.FeatureView(
            "clients", entity=tv.Entity("client"), source=renamed, features={"of": tv.sum("amount", "999d")}
        )
        logged = tv.FeatureView(
            "logged", entity=tv.Entity("order"), source=whose, features={"who": tv.last("customer", "999d")}
        )
        project.define(spend, whose, clients, logged)
        yield project


def ask(project, features, **keys):
    spine = pl.DataFrame({**keys, "t": [datetime.now(UTC)] * 6, "y": [0, 1] * 3})
    return project.training_set(spine, features, time="t", label="y")


def test_nothing_on_the_disk_tells_it_after_an_erasure_everywhere(shop, tmp_path):
    """Statistics, leak checks, learned expectations and reports of quality, and views that call it otherwise."""
    orders = shop.tables.source("orders")
    shop.define(shop.learn_expectations(orders))
    sets = [
        ask(shop, "whose:*", order=[*range(6)]),
        ask(shop, "clients:*", client=[SOMEONE, "c1", "c2", SOMEONE, "c0", "x"]),
        ask(shop, "logged:*", order=[*range(6)]),
    ]
    other = ask(shop, "spend:*", customer=["c1", "c2", "c3", "c0", "x", "y"])
    for each in [*sets, other]:
        shop.statistics(each)
        shop.check_leaks(each)
    shop.check("orders")
    shop.materialize()
    for features, keys in (("whose:*", {"order": 3}), ("logged:*", {"order": 3}), ("clients:*", {"client": SOMEONE})):
        assert shop.online_features(features, keys)[0].values != {}
    assert everywhere_on_disk(tmp_path, SOMEONE)

    gone = shop.tables.erase("orders", {"customer": SOMEONE}, why="asked", everywhere=True)
    assert gone.online == {"spend": 1, "whose": 10, "clients": 1, "logged": 10}
    assert (gone.unsure, gone.forgotten) == ([], [])
    assert everywhere_on_disk(tmp_path, SOMEONE) == []
    for path in tmp_path.rglob("*"):
        if path.is_file() and path.read_bytes()[:4] == b"PAR1":
            assert SOMEONE not in str(pl.read_parquet(path).to_dicts())
    for features, keys in (("whose:*", {"order": 3}), ("logged:*", {"order": 3}), ("clients:*", {"client": SOMEONE})):
        assert set(shop.online_features(features, keys)[0].values.values()) == {None}
    assert shop.online_features("whose:*", {"order": 1})[0].values == {"whose:customer": "c1"}
    shop.materialize()
    assert shop.online_features("whose:*", {"order": 3})[0].values == {"whose:customer": None}

    texts = [str(each.expectation) for each in shop.check("orders").findings]
    assert [text for text in texts if "c1" in text] == ["customer is one of 'c0', 'c1', 'c2', 'c3', 'erased'"]
    assert shop.quality.reports("source.orders")
    assert shop.statistics(other) is not None
    assert ask(shop, "whose:*", order=[3] * 6).to_polars()["customer"].null_count() == 6


def test_what_is_a_number_under_another_name_may_hold_it(tables, context):
    tables.ingest("people", people((1, 42, 0, SOMEONE), (2, 7, 1, "a@b")), key="order", event_time="at")
    held = values.save(people((1, 42, 0, SOMEONE)), context)
    renamed = values.save({"numbers": [42, 7]}, context, "json")
    context.ledger.write(
        Run(
            id=new_id(context.clock),
            kind="task",
            name="count",
            status="finished",
            started=NOON,
            ended=NOON,
            user="ada",
            host="desk",
            inputs={"rows": held.digest},
            outputs={"result": renamed.digest},
        )
    )
    gone = tables.erase("people", {"customer": 42}, why="asked", everywhere=True)
    assert (gone.artifacts, gone.unsure) == ([held.id], [renamed.id])
    assert f"1 artifacts may hold it and were left: {renamed.id}" in str(gone)


def test_a_view_that_cannot_be_traced_now_is_forgotten_online_as_a_whole(shop, tmp_path):
    pl.DataFrame({"order": [3, 4], "more": [1.0, 2.0]}).write_parquet(tmp_path / "more.parquet")
    inputs = [shop.tables.source("orders"), tv.Source("more", "more.parquet")]
    both = tv.Source(
        "both", sql='SELECT * FROM orders JOIN more USING ("order")', inputs=inputs, event_time="at", created="created"
    )
    shop.define(tv.FeatureView("joined", entity=tv.Entity("order"), source=both, features=["more", "customer"]))
    shop.materialize("joined")
    (tmp_path / "more.parquet").unlink()
    gone = shop.tables.erase("orders", {"customer": SOMEONE}, why="asked")
    assert gone.forgotten == ["joined"]
    assert "Online all rows of joined were forgotten" in str(gone)
    assert shop.online_features("joined:customer", {"order": 3})[0].values == {"joined:customer": None}

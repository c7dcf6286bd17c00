"""What someone has a right to is gone from the disk, and what stays says so."""

from __future__ import annotations

import pytest

from tests.features.tables.test_events import orders
from trivet.errors import Invalid, NotFound
from trivet.features.definitions import Entity, FeatureView
from trivet.features.online.contract import Row
from trivet.features.online.memory import MemoryStore
from trivet.features.tables import EventTables
from trivet.ledger.erasures import check_not_erased
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

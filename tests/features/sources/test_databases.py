from __future__ import annotations

import gc
import tracemalloc
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import psycopg
import pytest
import sqlalchemy as sa

from tests.features.sources.conftest import ROWS, fill
from trivet.errors import Invalid, NotFound
from trivet.features import Source
from trivet.features.snapshots import record_source
from trivet.features.sources import databases, read, snapshot_of, snapshots_of

SHOP = "postgresql://$SHOP_USER:$SHOP_PASSWORD@127.0.0.1:{port}/postgres"


@pytest.fixture(params=["sqlite", "postgresql"])
def shop(request, context, monkeypatch):
    """The URL of a database with a table ``orders``."""
    if request.param == "sqlite":
        fill(sa.create_engine(f"sqlite:///{context.root / 'shop.db'}"))
        return "sqlite:///shop.db"
    return in_postgresql(request.getfixturevalue("postgresql_server"), monkeypatch)


def in_postgresql(server, monkeypatch):
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    fill(sa.create_engine(server.replace("postgresql:", "postgresql+psycopg:")))
    monkeypatch.setenv("SHOP_USER", "postgres")
    monkeypatch.setenv("SHOP_PASSWORD", "p@ss/w:rd")
    return SHOP.format(port=sa.make_url(server).port)


def rows(source, context, *columns):
    return read(source, columns, snapshots_of([source], context.root))


def test_tables_are_read_by_all_columns(shop, context):
    source = Source("s", shop, table="orders", event_time="at", timezone="UTC")
    assert rows(source, context, "key", "x").rows() == [("a", 1.5), ("a", None), ("b", 3.0), ("c", 4.0)]


def test_a_declared_order_comes_first_and_nulls_before_values(shop, context):
    source = Source("s", shop, table="orders", order="x")
    assert rows(source, context, "x")["x"].to_list() == [None, 1.5, 3.0, 4.0]


def test_queries_are_read_whatever_they_hold(shop, context):
    text = "SELECT key, x * 2 AS double, 'a:b %(c)s 50%' AS odd -- the end\nFROM orders WHERE key <> ':x';"
    frame = rows(Source("s", shop, query=text, order="double"), context, "key", "double", "odd")
    assert frame["double"].to_list() == [None, 3.0, 6.0, 8.0]
    assert frame["odd"].unique().to_list() == ["a:b %(c)s 50%"]


def test_many_rows_are_read_in_batches(shop, context, monkeypatch):
    whole = record_source(Source("s", shop, table="orders"), context)
    monkeypatch.setattr(databases, "_BATCH", 2)
    back = snapshot_of(Source("s", shop, table="orders"), context.root)
    assert back.scan().collect().drop("at").equals(ROWS.sort("key", "at").drop("at"))
    text = "SELECT key, CASE WHEN x > 2 THEN x END AS late FROM orders"
    assert rows(Source("s", shop, query=text), context, "late")["late"].to_list() == [None, None, 3.0, 4.0]
    assert whole.spec == {"name": "s", "format": "parquet"}


def test_the_same_rows_are_the_same_artifact(shop, context):
    assert len({record_source(Source("s", shop, table="orders"), context).digest for _ in range(2)}) == 1


def test_no_rows_have_the_types_of_the_table(shop, context):
    source = Source("s", shop, query="SELECT * FROM orders WHERE key = 'nobody'")
    assert rows(source, context, "key", "x").height == 0


def test_columns_that_may_not_be_stored_never_leave_the_database(shop, context):
    for what in ({"table": "orders"}, {"query": "SELECT * FROM orders"}):
        source = Source("s", shop, personal={"secret": "do not store"}, **what)
        snapshot = snapshot_of(source, context.root)
        assert b"s3" not in snapshot.data.read_bytes()
        with pytest.raises(NotFound, match="Did you mean 'secret'"):
            snapshot_of(Source("s", shop, personal={"secrt": "do not store"}, **what), context.root)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"table": "order"}, r"no table for source 's' called 'order'. Did you mean 'orders'"),
        ({"query": "SELECT * FROM elsewhere"}, "cannot be read from its database"),
        ({"query": "DELETE FROM orders"}, "cannot be read from its database"),
        ({"table": "orders", "order": "keyy"}, "Did you mean 'key'"),
    ],
)
def test_what_cannot_be_read_gets_a_sentence(shop, context, options, sentence):
    with pytest.raises((Invalid, NotFound), match=sentence) as raised:
        snapshot_of(Source("s", shop, **options), context.root)
    assert "p@ss" not in str(raised.value)
    assert rows(Source("s", shop, table="orders"), context, "key").height == 4


def test_a_query_cannot_write(postgresql_server, context, monkeypatch):
    shop = in_postgresql(postgresql_server, monkeypatch)
    with pytest.raises(Invalid, match="two columns called 'key'"):
        snapshot_of(Source("s", shop, query="SELECT key, key FROM orders"), context.root)
    with psycopg.connect(postgresql_server, autocommit=True) as connection:
        connection.execute("CREATE FUNCTION emptied() RETURNS int LANGUAGE sql AS 'DELETE FROM orders; SELECT 1'")
    with pytest.raises(Invalid, match="read-only transaction"):
        snapshot_of(Source("s", shop, query="SELECT emptied() AS x"), context.root)


def test_every_type_of_postgresql_has_a_column_and_an_order(postgresql_server, context, monkeypatch):
    shop = in_postgresql(postgresql_server, monkeypatch)
    text = """CREATE TABLE kinds AS SELECT 1::smallint AS small, 2::bigint AS big, 1.5::numeric AS exact,
        1.25::real AS short, true AS yes, 'é' AS word, 'c'::char(2) AS padded, date '2013-01-01' AS day,
        timestamp '2013-01-01 12:00' AS wall, timestamptz '2013-01-01 12:00+01' AS instant, time '12:00' AS clock,
        interval '1 day' AS long, '{"b": 1, "a": [1]}'::jsonb AS doc, '{"a": 1}'::json AS raw, ARRAY[1, 2] AS list,
        '00000000-0000-0000-0000-000000000001'::uuid AS id, '\\x00ff'::bytea AS bytes, point(1, 2) AS place,
        inet '10.0.0.1' AS address"""
    with psycopg.connect(postgresql_server, autocommit=True) as connection:
        connection.execute(text)
        connection.execute("INSERT INTO kinds (small) VALUES (2)")
    for what in ({"query": "SELECT * FROM kinds"}, {"table": "kinds"}):
        frame = rows(
            Source("s", shop, **what), context, "small", "exact", "wall", "instant", "day", "id", "doc", "list"
        )
        assert frame.row(0) == (
            1, 1.5, datetime(2013, 1, 1, 12), datetime(2013, 1, 1, 11, tzinfo=UTC), date(2013, 1, 1),
            "00000000-0000-0000-0000-000000000001", '{"a": [1], "b": 1}', "[1, 2]",
        )  # fmt: skip
        assert frame.row(1) == (2, None, None, None, None, None, None, None)


def test_text_is_ordered_by_its_bytes_on_any_server(shop, context):
    text = "SELECT 'b' AS w UNION ALL SELECT 'A' UNION ALL SELECT 'a' UNION ALL SELECT 'é' UNION ALL SELECT 'B'"
    assert rows(Source("s", shop, query=text), context, "w")["w"].to_list() == ["A", "B", "a", "b", "é"]


def test_a_schema_is_named_before_the_table(postgresql_server, context, monkeypatch):
    shop = in_postgresql(postgresql_server, monkeypatch)
    assert rows(Source("s", shop, table="public.orders"), context, "key").height == 4
    with pytest.raises(NotFound, match=r"Did you mean 'public.orders'"):
        snapshot_of(Source("s", shop, table="public.order"), context.root)
    with pytest.raises(NotFound, match=r"'elsewhere.orders'"):
        snapshot_of(Source("s", shop, table="elsewhere.orders"), context.root)


def test_columns_of_several_types_are_refused(context, monkeypatch):
    engine = sa.create_engine(f"sqlite:///{context.root / 'odd.db'}")
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE odd (x, y INTEGER)"))
        connection.execute(sa.text("INSERT INTO odd VALUES (1, 1), ('one', 2)"))
    engine.dispose()
    for what in ({"table": "odd"}, {"query": "SELECT x FROM odd"}):
        with pytest.raises(Invalid, match=r"Column 'x' of source 's' holds values .* CAST"):
            snapshot_of(Source("s", "sqlite:///odd.db", **what), context.root)
    monkeypatch.setattr(databases, "_BATCH", 1)
    with pytest.raises(Invalid, match="several types"):
        snapshot_of(Source("s", "sqlite:///odd.db", query="SELECT x FROM odd"), context.root)


def test_secrets_are_refused_in_clear_and_kept_out_of_everything(shop, context, monkeypatch, caplog):
    for url in ("postgresql://ada:hunter2@h/shop", "postgresql://h/shop?password=hunter2", "s3://k:hunter2@b/t"):
        with pytest.raises(Invalid, match="in clear") as refused:
            Source("s", url, table="orders")
        assert "hunter2" not in str(refused.value)
    source = Source("s", shop, table="orders")
    assert shop not in repr(source)
    assert "p@ss" not in str(source.to_spec()) + repr(source) + str(record_source(source, context))


def test_a_database_that_is_down_gets_a_sentence_without_secrets(context, monkeypatch):
    monkeypatch.setenv("SHOP_USER", "ada-the-user")
    monkeypatch.setenv("SHOP_PASSWORD", "hunter2")
    source = Source("s", SHOP.format(port=1), table="orders")
    with pytest.raises(Invalid, match="'s' cannot be read from its database") as raised:
        snapshot_of(source, context.root)
    assert "hunter2" not in str(raised.value)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__
    monkeypatch.delenv("SHOP_PASSWORD")
    with pytest.raises(Invalid, match="environment variable SHOP_PASSWORD, which is not set"):
        snapshot_of(source, context.root)


def test_a_user_that_the_server_names_is_not_repeated(postgresql_server, context, monkeypatch):
    shop = in_postgresql(postgresql_server, monkeypatch)
    monkeypatch.setenv("SHOP_USER", "ada-the-user")
    with pytest.raises(Invalid, match=r"\$SHOP_USER") as raised:
        snapshot_of(Source("s", shop, table="orders"), context.root)
    assert "ada-the-user" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("sqlite:///gone.db", "does not exist"),
        ("sqlite:///empty.db", "is empty"),
        ("sqlite:///text.db", "not a database"),
        ("nosuch://h/db", "nosuch"),
        ("postgresql://h:notaport/db", "'s'"),
    ],
)
def test_urls_that_lead_nowhere_get_a_sentence(context, url, sentence):
    (context.root / "empty.db").touch()
    (context.root / "text.db").write_text("words " * 500)
    with pytest.raises(Invalid, match=sentence):
        snapshot_of(Source("s", url, table="orders"), context.root)
    assert not (context.root / "gone.db").exists()


def test_a_database_says_what_to_read_and_nothing_else_does():
    with pytest.raises(Invalid, match="Say what"):
        Source("s", "sqlite:///shop.db")
    with pytest.raises(Invalid, match="Say what"):
        Source("s", "sqlite:///shop.db", table="a", query="select 1")
    with pytest.raises(Invalid, match="belong to the URL of a database"):
        Source("s", "shop.csv", table="a")


def test_memory_is_bounded(context):
    path = context.root / "big.db"
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000)"
        connection.execute(sa.text(f"CREATE TABLE big AS {numbers} SELECT i, 'text of row ' || i AS t FROM n"))
    engine.dispose()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(databases, "_BATCH", 2000)
        gc.collect()
        tracemalloc.start()
        snapshot = snapshot_of(Source("s", "sqlite:///big.db", table="big"), context.root)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert snapshot.scan().select(pl.len()).collect().item() == 200_000
    assert peak < 8e6
    place = Path(snapshot.data)
    del snapshot
    gc.collect()
    assert not place.exists()

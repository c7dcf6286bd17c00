"""One-row predictions over HTTP by entity key, beside a bare application with the same model and beside MLflow.

    python benchmarks/serving.py [--seconds 3] [--rounds 3] [--no-mlflow]

* ``trivet``: the whole service: 3 views of 10 features from the online store, checks, model, metrics, prediction log.
* ``bare``: the same HTTP, 30 numbers in the body, the model, and nothing else.
* ``mlflow``: ``mlflow models serve``, one worker, in an environment of its own.

All have one process, and one thread in the numeric libraries. Load comes from ``wrk`` where it is installed, else from
threads of this script, which take processor time from the servers. Prints medians of rounds, the CPU time of the
server's processes for a request, and ratios.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from _environment import environment, plain_variables
from _environment import load as machine_load
from _load import Server, burst, source, wait_for

VIEWS, FEATURES = ("a", "b", "c"), 10
COLUMNS = [f"{view}{number}" for view in VIEWS for number in range(FEATURES)]
ROW = [round(0.1 * place - 1.5, 3) for place in range(len(COLUMNS))]
BODIES = {
    "trivet": ("/predict", json.dumps({"entities": {"key": "one"}})),
    "bare": ("/predict", json.dumps(dict(zip(COLUMNS, ROW, strict=True)))),
    "mlflow": ("/invocations", json.dumps({"dataframe_split": {"columns": COLUMNS, "data": [ROW]}})),
}
MLFLOW = ("mlflow==3.17.2", "scikit-learn")
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def fitted() -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    chance = np.random.default_rng(0)
    x = chance.standard_normal((5000, len(COLUMNS)))
    y = (x[:, 0] + x[:, 1] * x[:, 2] + chance.standard_normal(5000) * 0.3 > 0).astype(int)
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(x, y)


# --- the servers ---------------------------------------------------------------------------------------------------


def serve_bare() -> None:
    from trivet.serving.asgi import Answer, Scope, Service, ok
    from trivet.serving.service import run

    model, decode = fitted(), msgspec.json.Decoder(dict[str, float]).decode

    class Bare(Service):
        def route(self, scope: Scope, body: bytes) -> Answer:  # noqa: ARG002
            values = decode(body)
            chances = model.predict_proba(np.array([[values[name] for name in COLUMNS]]))[0].tolist()
            return ok({"prediction": int(chances[1] > 0.5), "probability": chances})

    run(Bare(), port=0, on_ready=lambda _, port: print(port, flush=True))


def serve_trivet(folder: Path) -> None:
    from trivet.features import Entity, FeatureView, Source, select_all
    from trivet.features.online.contract import Row
    from trivet.features.online.lmdb import LmdbStore
    from trivet.features.reader import FeatureReader
    from trivet.ledger.tables import Tables
    from trivet.pipelines.values.model import Column, Model, Signature
    from trivet.serving.app import App
    from trivet.serving.metrics import Metrics
    from trivet.serving.predictor import Deployed, Predictor
    from trivet.serving.records import PredictionLog, held_by
    from trivet.serving.service import run

    store, now = LmdbStore(folder / "online"), time.time_ns() // 1000
    key, views = Entity("key", type="string"), []
    for place, name in enumerate(VIEWS):
        features = [f"{name}{number}" for number in range(FEATURES)]
        views.append(FeatureView(name, entity=key, source=Source(name, event_time="at"), features=features))
        values: list[Any] = ROW[place * FEATURES : (place + 1) * FEATURES]
        row = Row(now, values, [now] * FEATURES)
        store.write(views[-1].online_name, [(("one",), row)], watermark=now)
    read = FeatureReader(select_all(views), store)

    columns = tuple(Column(name, "number", feature=f"{name[0]}:{name}") for name in COLUMNS)
    model = Model(fitted(), Signature(columns, "y", (0, 1)))
    tables, metrics = Tables(folder / "tables"), Metrics()
    log = PredictionLog(folder / "spool", tables.append, recorded=held_by(tables.read), metrics=metrics)
    deployed = Deployed("bench", "1", "0" * 64, model.signature, {"key": "text"})
    app = App([Predictor(deployed, read, model.score, log.add)], metrics=metrics, on_close=log.close)
    run(app, port=0, on_ready=lambda _, port: print(port, flush=True))


@contextlib.contextmanager
def ours(system: str, folder: Path) -> Iterator[Server]:
    """A server of this script in a process of its own."""
    command = [sys.executable, __file__, "--serve", system, "--folder", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **ONE_THREAD}) as process:
        try:
            yield Server(system, int(process.stdout.readline()), process.pid)  # type: ignore[union-attr]
        finally:
            process.terminate()


_SAVE = """
import sys, mlflow, numpy as np, pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
folder, *columns = sys.argv[1:]
chance = np.random.default_rng(0)
x = chance.standard_normal((5000, len(columns)))
y = (x[:, 0] + x[:, 1] * x[:, 2] + chance.standard_normal(5000) * 0.3 > 0).astype(int)
model = make_pipeline(StandardScaler(), LogisticRegression()).fit(x, y)
signature = mlflow.models.infer_signature(pd.DataFrame(x[:5], columns=columns), np.array([1]))
how = {"pip_requirements": ["scikit-learn"], "serialization_format": "cloudpickle"}
mlflow.sklearn.save_model(model, folder, signature=signature, **how)
"""


@contextlib.contextmanager
def mlflow(folder: Path) -> Iterator[Server]:
    """``mlflow models serve`` with the same model."""
    home = environment("mlflow", *MLFLOW)
    bin_ = home / "bin"
    # It runs "uvicorn" by name, so its folder must be on the path.
    env = {
        **plain_variables(),
        **ONE_THREAD,
        "PATH": f"{bin_}:{os.environ['PATH']}",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    saved, port = str(folder / "mlflow-model"), 15_099
    subprocess.run([str(bin_ / "python"), "-c", _SAVE, saved, *COLUMNS], check=True, env=env, capture_output=True)
    command = [
        str(bin_ / "mlflow"),
        "models",
        "serve",
        "-m",
        saved,
        "--env-manager",
        "local",
        "-p",
        str(port),
        "--workers",
        "1",
    ]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, env=env, stdout=quiet, stderr=quiet, start_new_session=True) as process:
        try:
            wait_for(port)
            yield Server("mlflow", port, process.pid)
        finally:
            os.killpg(process.pid, 15)


# --- the load ------------------------------------------------------------------------------------------------------


def load(server: Server, connections: int, seconds: float, folder: Path) -> dict[str, float]:
    """Requests per second, latency and the server's CPU time for a request, in microseconds, of one burst."""
    before = server.cpu()
    found = burst(server.port, *BODIES[server.name], connections, seconds, folder)
    return {**found, "cpu": (server.cpu() - before) / found["rps"] / seconds * 1e6}


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--mlflow", action=argparse.BooleanOptionalAction, default=True, help="about 600 MB, once")
    parser.add_argument("--serve", choices=("bare", "trivet"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve == "bare":
        return serve_bare()
    if options.serve == "trivet":
        return serve_trivet(options.folder)
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        servers = [stack.enter_context(ours(system, folder)) for system in ("trivet", "bare")]
        if options.mlflow:
            servers.append(stack.enter_context(mlflow(folder)))
        report(measure(servers, options.rounds, options.seconds, folder))
    return None


def measure(servers: list[Server], rounds: int, seconds: float, folder: Path) -> dict[tuple[str, int], Any]:
    """The medians for each system and number of connections."""
    for server in servers:
        load(server, 4, 1, folder)  # warm
    results: dict[tuple[str, int], Any] = {}
    for connections in (1, 16):
        taken: dict[str, list[dict[str, float]]] = {server.name: [] for server in servers}
        for _ in range(rounds):  # in turn, so that a busy moment of the machine hits all of them
            for server in servers:
                taken[server.name].append(load(server, connections, seconds, folder))
        for name, runs in taken.items():
            results[name, connections] = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
    return results


def report(results: dict[tuple[str, int], Any]) -> None:
    """The table and the ratios."""
    print(f"{machine_load()}; load from {source()}; MLflow {MLFLOW[0].partition('==')[2]}")
    print(
        f"{'system':8}{'connections':>12}{'requests/s':>12}{'p50 us':>10}{'p99 us':>10}{'CPU us':>9}{'x bare CPU':>12}"
    )
    for (system, connections), one in results.items():
        ratio = one["cpu"] / results["bare", connections]["cpu"] if one["cpu"] else float("nan")
        print(
            f"{system:8}{connections:12}{one['rps']:12,.0f}{one['p50']:10,.0f}{one['p99']:10,.0f}"
            f"{one['cpu']:9,.0f}{ratio:12.2f}"
        )
    for connections in (1, 16):
        if ("mlflow", connections) in results:
            ratio = results["trivet", connections]["rps"] / results["mlflow", connections]["rps"]
            print(f"trivet answers {ratio:.0f} times as many requests as mlflow at {connections} connections")


if __name__ == "__main__":
    main()

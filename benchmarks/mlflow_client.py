"""The unmodified MLflow client against ``trivet server`` and against ``mlflow server``: runs per second, search, start, memory.

    python benchmarks/mlflow_client.py [--runs 200] [--searched 10000]

Both servers run side by side on this machine, each with SQLite in a folder of its own; the client is the same process's. The
runs that are searched are put in by the protocol's own calls over one connection. Times of calls are those of the client.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from benchmarks._environment import environment, load, plain_variables

ROOT = Path(__file__).resolve().parents[1]
NEEDED = ["mlflow==3.17.2", "scikit-learn>=1.6", "pandas>=2.2,<3"]

CLIENT = """
import json, statistics, sys, time
import mlflow, requests
from mlflow import MlflowClient
from mlflow.entities import Metric, Param

uri, runs, searched = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
mlflow.set_tracking_uri(uri)
client = MlflowClient()
id_ = client.create_experiment("plain")
start = time.perf_counter()
for i in range(runs // 10):
    run = client.create_run(id_).info.run_id
    for j in range(10):
        client.log_param(run, f"p{j}", str(j))
    for j in range(50):
        client.log_metric(run, "loss", 1 / (j + 1), step=j)
    client.set_terminated(run)
plain = (time.perf_counter() - start) / (runs // 10)
start = time.perf_counter()
for i in range(runs):
    run = client.create_run(id_).info.run_id
    points = [Metric("loss", 1 / (j + 1), 1000 + j, j) for j in range(50)]
    client.log_batch(run, points, [Param(f"p{j}", str(j)) for j in range(10)])
    client.set_terminated(run)
batched = (time.perf_counter() - start) / runs
id_ = client.create_experiment("many")
post = requests.Session().post
for i in range(searched):
    made = post(f"{uri}/api/2.0/mlflow/runs/create", json={"experiment_id": id_, "start_time": 1000 + i}).json()
    post(f"{uri}/api/2.0/mlflow/runs/log-batch", json={
        "run_id": made["run"]["info"]["run_id"], "params": [{"key": "depth", "value": str(i % 10)}],
        "metrics": [{"key": "auc", "value": (i * 7919 % 10007) / 10007, "timestamp": 1, "step": 0}]})
times = []
for i in range(60):
    start = time.perf_counter()
    found = client.search_runs(
        [id_], "metrics.auc > 0.5 and params.depth = '3'", order_by=["metrics.auc DESC"], max_results=100
    )
    times.append(time.perf_counter() - start)
times.sort()
print(json.dumps({"plain": plain, "batched": batched, "found": len(found), "p50": times[30], "p99": times[-1]}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--searched", type=int, default=10_000)
    parser.add_argument("--python", type=Path, help="a Python that has mlflow; made by uv if not given")
    asked = parser.parse_args()
    python = asked.python or environment("mlflow-client", *NEEDED) / "bin" / "python"
    print(f"{load()}; {asked.runs} runs of 10 parameters and 50 points, search among {asked.searched}")
    print("server    start s  memory MB  processes  plain ms/run  batched ms/run  search p50 ms  p99 ms")
    for name in ("trivet", "mlflow"):
        with tempfile.TemporaryDirectory() as folder:
            found = measure(name, python, Path(folder), asked.runs, asked.searched)
        print(
            f"{name:8} {found['start']:8.2f} {found['memory']:10.0f} {found['processes']:10} {found['plain'] * 1e3:13.1f} "
            f"{found['batched'] * 1e3:15.1f} {found['p50'] * 1e3:14.1f} {found['p99'] * 1e3:7.1f}"
        )


def measure(name: str, python: Path, folder: Path, runs: int, searched: int) -> dict[str, Any]:
    with socket.socket() as probe:  # a fixed port may belong to a server that another measurement left behind
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "trivet", "server", "--port", str(port)]
    variables = plain_variables() | {"PYTHONPATH": str(ROOT / "src")}
    (folder / "trivet.toml").touch()
    if name == "mlflow":
        store = ["--backend-store-uri", f"sqlite:///{folder}/m.db", "--artifacts-destination", str(folder / "files")]
        command, variables = [str(python.parent / "mlflow"), "server", "--port", str(port), *store], plain_variables()
    start = time.perf_counter()
    quiet = subprocess.DEVNULL
    server = subprocess.Popen(command, cwd=folder, env=variables, stdout=quiet, stderr=quiet, start_new_session=True)
    try:
        uri = f"http://127.0.0.1:{port}"
        wait(uri)
        started = time.perf_counter() - start
        told = subprocess.run(
            [python, "-c", CLIENT, uri, str(runs), str(searched)],
            env=plain_variables(), capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        memory, processes = taken(server.pid)
        return {**json.loads(told.splitlines()[-1]), "start": started, "memory": memory, "processes": processes}
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(60)


def wait(uri: str) -> None:
    for _ in range(2000):
        try:
            urllib.request.urlopen(f"{uri}/health", timeout=2).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit(f"{uri} does not answer.")


def taken(session: int) -> tuple[float, int]:
    """The memory in MB and the number of the processes of a session, shared pages counted in proportion."""
    total, count = 0.0, 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(folder.name)) != session:
                continue
            lines = (folder / "smaps_rollup").read_text("ascii").splitlines()
        except (OSError, ProcessLookupError):
            continue
        total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
        count += 1
    return total, count


if __name__ == "__main__":
    main()

"""The page of runs with many of them: ``python benchmarks/runs_page.py [RUNS]``.

Fills a project with RUNS runs (100,000) in bulk, serves it, and asks for pages as a person would: the newest, a search that is
sorted by a metric, the next page of it, one run, eight runs beside one another. Prints the median time to the first byte of
each over HTTP, and in headless Chromium, where it is installed, from navigation until the page answers keys.
"""

from __future__ import annotations

import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlencode

import trivet as tv
from trivet.clock import new_id
from trivet.ledger import Metric, Run

BEGUN = datetime(2026, 1, 1, tzinfo=UTC)
PORT = 8467
SERVE = "import sys, uvicorn, trivet as tv; from trivet.server.app import create_app; uvicorn.run(create_app(tv.open(sys.argv[1])), port=int(sys.argv[2]), log_level='error')"  # noqa: E501
SEARCH = {"where": "metrics.auc > 0.5 and params.depth = 3", "order": "metrics.auc desc"}


def run_of(number: int) -> Run:
    """A run as people make them: ten parameters, two metrics."""
    started = BEGUN + timedelta(seconds=60 * number)
    return Run(
        id=new_id(lambda: started),
        kind="experiment" if number % 10 else "pipeline",
        name=f"trees {number % 500}",
        status="failed" if number % 17 == 0 else "finished",
        started=started,
        ended=started + timedelta(seconds=number % 300),
        user=("ada", "grace", "linus")[number % 3],
        host="lab",
        parameters={"depth": number % 10, "rate": (number % 7) / 10} | {f"p{n}": number * n % 97 for n in range(8)},
        metrics={"auc": number * 7919 % 10_007 / 10_007, "loss": number * 104_729 % 10_009 / 10_009},
        tags={"team": "xyz"[number % 3]},
    )


def fill(folder: Path, count: int) -> list[Run]:
    """A project of so many runs; the newest has a curve of 20,000 points."""
    with tv.open(folder) as project:
        ledger, made = project.context.ledger, []
        for begin in range(0, count, 1000):
            made = [run_of(number) for number in range(begin, min(count, begin + 1000))]
            ledger.write(*made)
        last = made[-1]
        points = [Metric(last.id, "rmse", step, 1 / (1 + step / 500), last.started) for step in range(20_000)]
        ledger.write(*points)
    return made


def first_byte(path: str, times: int = 15) -> float:
    """Milliseconds until the first byte of an answer, the median of several."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        with urllib.request.urlopen(f"http://127.0.0.1:{PORT}{path}") as answer:
            answer.read(1)
            taken.append(time.perf_counter() - start)
            answer.read()
    return statistics.median(taken) * 1000


def interactive(browser: str, path: str, times: int = 3) -> float:
    """Milliseconds from navigation until the script of the page has done its work, the median of several."""
    taken = []
    for _ in range(times):
        command = [
            browser,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--dump-dom",
            f"http://127.0.0.1:{PORT}{path}",
        ]
        page = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
        found = re.search(r'data-ready="([0-9.]+)"', page)
        assert found, "the script of the page did not run"
        taken.append(float(found[1]))
    return statistics.median(taken)


def wait() -> None:
    """Until the server answers."""
    for _ in range(300):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{PORT}/health").close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit("The server did not start.")


def main() -> None:
    """Fill, serve, ask."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        made = fill(Path(folder), count)
        print(f"{count:,} runs written in {time.perf_counter() - begun:.0f} s")
        server = subprocess.Popen([sys.executable, "-c", SERVE, folder, str(PORT)])
        try:
            wait()
            measure(made)
        finally:
            server.terminate()
            server.wait()


def measure(made: list[Run]) -> None:
    """Print both times of each page."""
    with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/api/runs?{urlencode(SEARCH)}") as answer:
        more = json.load(answer)["more"]
    pages = {
        "the newest runs": "/runs",
        "a search, sorted by a metric": f"/runs?{urlencode(SEARCH)}",
        "its second page": more,
        "one run with 20,000 points": f"/runs/{made[-1].id}",
        "eight runs compared": f"/compare?{urlencode({'runs': ','.join(run.id for run in made[-8:])})}",
    }
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    print(f"{'':<32}{'first byte':>12}{'interactive':>14}")
    for name, path in pages.items():
        ready = f"{interactive(browser, path):11.0f} ms" if browser else "no browser"
        print(f"{name:<32}{first_byte(path):9.1f} ms{ready:>14}", flush=True)


if __name__ == "__main__":
    main()

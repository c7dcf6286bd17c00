"""The main job: real flights, from raw files to a served, gated, watched and reproducible model.

``make demo`` runs it; each part below is what a user would type, with a line of output around it. It can be
interrupted anywhere and run again: what is recorded stays, and steps whose inputs are the same are not repeated.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

import data
import features
import pipeline
import trivet as tv

HERE = Path(__file__).parent
ENTITIES = ["origin", "carrier", "dest", "tailnum"]
MAX_SILENCE = "5s"
TRIVET = """
import os, signal, threading

def follow():  # standard input ends with the demo, however that ends, and then this process ends too
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGTERM)

threading.Thread(target=follow, daemon=True).start()
from trivet.cli import main
main(prog_name="trivet")
"""
console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 140)


def main() -> None:
    """All eight parts, then what was made and what to type next."""
    started = time.monotonic()
    with tv.open(HERE) as project, pages(project) as address:
        console.print(f"[bold]Trivet's main job.[/bold] The pages fill up at {address} while it runs.\n")
        flights = training_set(project)
        model, baseline, test, scores = train(project, flights)
        version = gate_and_register(project, model, baseline, test)
        predictions = serve_and_replay(project)
        report = watch(project, predictions)
        remade = reproduce(project, flights, model, predictions)
        summary(
            {
                "training set": (flights.artifact.id, f"{len(flights):,} rows, one for each row asked"),
                "static model": (baseline.id, f"AUC {scores['static']:.4f} on October to December"),
                "full model": (model.id, f"AUC {scores['full']:.4f} on the same flights"),
                "registered": (f"delay@{version}", "passed its gate, promoted to champion"),
                "deployment": (
                    f"run:{report.subject.deployment}",
                    f"{len(predictions):,} predictions served and recorded",
                ),
                "prediction": (
                    f"prediction:{predictions['prediction'][len(predictions) // 2]}",
                    "traced back to the raw files on its page",
                ),
                **{
                    f"reproduced {name}": (f"run:{found.attempt.id}", f"level: {found.level}")
                    for name, found in remade.items()
                },
            },
            seconds=time.monotonic() - started,
        )


def training_set(project: tv.Project) -> tv.TrainingSet:
    """Raw files, feature views, and a training set that sees nothing known later."""
    with part(1, "Data: New York's flights of 2013"):
        spine = data.prepare(project, *features.SOURCES)
    with part(2, "Features as they were known an hour before departure"):
        project.define(*features.DEFINITIONS)
        flights = project.training_set(spine, "delays", time="t", label="late")
    with part(3, "Is the data as expected, and does no feature know too much?"):
        found = [project.check("flights"), project.check("weather"), project.check_leaks(flights, rows=100)]
        console.print("\n".join(map(str, found)))
        if not found[-1].ok:
            raise SystemExit("A feature sees what was not known yet.")
    return flights


def train(project: tv.Project, flights: tv.TrainingSet) -> tuple[Any, Any, Any, dict[str, float]]:
    """Fit on January to September, measure on October to December: a static baseline and the full model."""
    with part(4, "Training: a static baseline and the full model"):
        done = project.execute(
            pipeline.train,
            flights=flights,
            progress=lambda event: console.print(f"   {event.kind} {event.step}", style="dim"),
        )
    scores = {"static": done.value("evaluate_static")["auc"], "full": done.value("evaluate")["auc"]}
    return done.artifact("fit"), done.artifact("fit_static"), done.artifact("split.test"), scores


def gate_and_register(project: tv.Project, model: Any, baseline: Any, test: Any) -> int:
    """Only evidence opens the gate: confidence bounds, a baseline, every airport and airline."""
    gate = tv.Gate(
        "delay",
        [
            tv.at_least("auc", 0.70),
            tv.better_than("auc", by=0.05),
            tv.slices("auc", over=["origin", "carrier"], at_least=0.55, min_rows=500),
        ],
    )
    with part(5, "Gate, registry"):
        report = project.gate(model, test, gate, baseline=baseline)
        console.print(str(report))
        if report.verdict != "pass":
            raise SystemExit("The gate did not pass, so nothing is deployed.")
        version = project.register("delay", model, why="the demo").version
        project.promote("delay", version, "champion", why="passed its gate in the demo")
    return version


def serve_and_replay(project: tv.Project) -> pl.DataFrame:
    """Serve the champion and send it real flights, with the online store brought up to each moment."""
    with part(6, "Serving: October to December through HTTP, moment by moment"):
        flights = chosen_flights(pl.read_parquet(HERE / "data/spine.parquet"))
        store = project.materializer("delays", afresh=True)
        answers = []
        with serving(project) as client, progress("moments", flights["t"].n_unique()) as step:
            for (moment,), asked in flights.group_by("t", maintain_order=True):
                store.advance(moment)
                answers += client.predict([request(row) for row in asked.iter_rows(named=True)])
                step()
    return flights.with_columns(prediction=pl.Series([answer["id"] for answer in answers]))


def watch(project: tv.Project, predictions: pl.DataFrame) -> Any:
    """Join the labels as the flights land, measure, and notice that the stopped model is dead."""
    with part(7, "Watching: labels, performance, drift, and a model that went silent"):
        landed = predictions.join(
            pl.read_parquet(HERE / "data/flights.parquet", columns=["id", "arr_utc"]), on="id", how="left"
        )
        project.labels(landed.select("prediction", label=pl.col("late").cast(pl.Float64), at="arr_utc"))
        console.print("   the model is stopped; waiting for its heartbeat to be missed")
        time.sleep(float(MAX_SILENCE.removesuffix("s")) + 1)
        report = project.monitor("delay")
        console.print(str(report))
        audit = project.audit("delay")
        console.print(str(audit))
        if not audit.ok:
            raise SystemExit("What was served is not what training sees.")
    return report


def reproduce(project: tv.Project, flights: Any, model: Any, predictions: pl.DataFrame) -> dict[str, Any]:
    """Make three things again in a clean environment built from the recorded lock, and compare digests."""
    things = {
        "training set": flights.artifact.id,
        "model": model.id,
        "prediction": f"prediction:{predictions['prediction'][len(predictions) // 2]}",
    }
    remade = {}
    with part(8, "Reproducing in a clean environment"):
        for name, reference in things.items():
            remade[name] = project.reproduce(reference, progress=lambda text: console.print(f"   {text}", style="dim"))
            console.print(f"   {name}: {remade[name].level}")
            if not remade[name].ok:
                raise SystemExit(str(remade[name]))
    return remade


# -- what surrounds the job ------------------------------------------------------------------------------------


class Client:
    """A prediction client as any program would write it: one connection, JSON both ways."""

    def __init__(self, port: int) -> None:
        self.connection = HTTPConnection("127.0.0.1", port, timeout=30)

    def predict(self, requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The answers to some requests."""
        try:
            self.connection.request("POST", "/predict", json.dumps(requests), {"Content-Type": "application/json"})
            response = self.connection.getresponse()
            answer = json.loads(response.read())
        except (OSError, HTTPException) as exc:
            raise SystemExit(f"The served model is gone ({exc!r}). make demo starts it again.") from exc
        if response.status != 200:
            raise SystemExit(f"The model answered {response.status}: {answer['error']}")
        return answer


def request(flight: dict[str, Any]) -> dict[str, Any]:
    """What is known of a flight an hour before departure: its keys and its schedule."""
    return {
        "entities": {name: flight[name] for name in ENTITIES},
        "values": {name: flight[name] for name in ("hour", "minute", "weekday", "distance")},
        "at": flight["t"].isoformat(),
    }


def chosen_flights(spine: pl.DataFrame) -> pl.DataFrame:
    """Every 40th flight from October on, in the order of their moments: a fair sample that fits into a demo."""
    first, last = (datetime.fromisoformat(f"{day}T00:00:00Z") for day in ("2013-10-01", "2014-01-01"))
    autumn = spine.filter(pl.col("t").is_between(first, last, closed="left"))
    return autumn.sort("t", "id").gather_every(40)


@contextlib.contextmanager
def serving(project: tv.Project) -> Iterator[Client]:
    """``trivet serve`` in a process of its own, as it would be in production."""
    command = ["serve", "delay@champion", "--port", "0", "--max-silence", MAX_SILENCE]
    with trivet(project, *command) as ready:
        console.print(f"   delay@champion answers on {ready['address']}")
        yield Client(int(ready["address"].rpartition(":")[2]))


@contextlib.contextmanager
def pages(project: tv.Project) -> Iterator[str]:
    """``trivet server`` in a process of its own."""
    with trivet(project, "server", "--port", "0") as ready:
        yield ready["address"]


@contextlib.contextmanager
def trivet(project: tv.Project, *command: str) -> Iterator[dict[str, Any]]:
    """A command that serves until it is told to stop; its first JSON answer says where."""
    process = subprocess.Popen(
        [sys.executable, "-c", TRIVET, *command, "--json", "--project", str(project.root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield first_answer(process)
    finally:
        process.terminate()
        process.wait(timeout=30)


def first_answer(process: subprocess.Popen[str]) -> dict[str, Any]:
    """The first JSON object that a process prints."""
    text = ""
    for line in process.stdout or ():
        text += line
        with contextlib.suppress(json.JSONDecodeError):
            return dict(json.loads(text))
    raise SystemExit(f"{' '.join(map(str, process.args))} ended with {process.wait()}: {text}")


@contextlib.contextmanager
def part(number: int, title: str) -> Iterator[None]:
    """A heading and the time it took."""
    console.print(f"[bold]{number}/8[/bold] {title}")
    begun = time.monotonic()
    yield
    console.print(f"   [dim]{time.monotonic() - begun:.1f} s[/dim]")


@contextlib.contextmanager
def progress(what: str, total: int) -> Iterator[Any]:
    """A bar that moves by one at each call."""
    columns = (TextColumn("   {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)


def summary(made: dict[str, tuple[str, str]], *, seconds: float) -> None:
    """What was made, each with its id, and what to type next."""
    table = Table(
        box=None, pad_edge=False, title=f"\nMade in {seconds:.0f} s", title_justify="left", header_style="bold"
    )
    for column in ("what", "id", ""):
        table.add_column(column, no_wrap=column == "id")
    for name, (reference, note) in made.items():
        table.add_row(name, reference, note)
    console.print(table)
    prediction = made["prediction"][0]
    console.print(
        "\nNext, from this folder:\n"
        "  make ui                                   the pages again\n"
        f"  .venv/bin/trivet lineage {prediction} --project examples/flights\n"
        f"  .venv/bin/trivet reproduce {prediction} --project examples/flights\n"
        "  .venv/bin/trivet models delay@champion --project examples/flights"
    )


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("\nInterrupted. What was recorded stays; make demo goes on from it.")

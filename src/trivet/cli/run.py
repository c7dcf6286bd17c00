"""``trivet run``: run a pipeline of a file or folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from trivet.cli.output import Output, seconds, shortlist, table
from trivet.cli.output import command as trivet_command
from trivet.errors import Invalid

if TYPE_CHECKING:
    from trivet.pipelines.execution import Event

__all__ = ["command"]


@trivet_command(
    "run",
    short_help="Run a pipeline of a file or folder.",
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
)
@click.argument("target", type=click.Path(path_type=Path, exists=True))
@click.argument("pipeline", required=False)
@click.option("--force", multiple=True, metavar="STEP", help="Run this step even if its key is known.")
@click.option("--no-cache", is_flag=True, help="Run every step.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(
    output: Output,
    *,
    target: Path,
    pipeline: str | None,
    force: tuple[str, ...],
    no_cache: bool,
    arguments: tuple[str, ...],
) -> None:
    """Run PIPELINE of TARGET, a Python file or a folder with a pipeline.py.

    The pipeline's own parameters follow as options: --max-iter 200. An artifact is given by its id.
    """
    if pipeline is not None and pipeline.startswith("-"):
        arguments, pipeline = (pipeline, *arguments), None
    found = output.project.find_pipeline(target, pipeline)
    given = found.parse(_options(arguments), resolve=output.project.artifact)
    done = output.project.execute(
        found, force=force, cache=not no_cache, progress=lambda event: output.note(_told(event)), **given
    )
    rows = [
        (name, run.status, seconds(run.seconds), shortlist(run.metrics), run.id) for name, run in done.steps.items()
    ]
    output.say(
        {"run": msgspec.to_builtins(done.run), "steps": {k: msgspec.to_builtins(v) for k, v in done.steps.items()}},
        table(["step", "status", "took", "metrics", "run"], rows, fold=["metrics"]),
        f"{found.name} {done.run.status} as run:{done.run.id}.",
    )


def _told(event: Event) -> str:
    """A line about a step: how many are done, what happened, how long it took."""
    took = f" in {seconds(event.run.seconds)}" if event.run is not None and event.kind == "finished" else ""
    return f"[{event.done}/{event.total}] {event.step} {event.kind}{took}"


def _options(arguments: tuple[str, ...]) -> dict[str, str]:
    """``("--max-iter", "200", "--fast=yes")`` as ``{"max_iter": "200", "fast": "yes"}``."""
    options: dict[str, str] = {}
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--"):
            raise Invalid(f"{word!r} is no option. Write parameters of the pipeline as --name value.")
        name, joined, value = word.removeprefix("--").partition("=")
        if not joined:
            if not rest:
                raise Invalid(f"--{name} needs a value. Write --{name} VALUE.")
            value = rest.pop(0)
        options[name.replace("-", "_")] = value
    return options

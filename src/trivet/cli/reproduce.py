"""``trivet reproduce``: make a thing again in a clean place and compare."""

from __future__ import annotations

import sys

import click

from trivet.cli.output import Output, fail
from trivet.cli.output import command as trivet_command
from trivet.errors import Invalid, TrivetError

__all__ = ["command"]


@trivet_command("reproduce", short_help="Make a thing again in a clean place and compare.")
@click.argument("reference", required=False)
@click.option(
    "--environment",
    type=click.Choice(["locked", "current"]),
    default="locked",
    show_default=True,
    help="A fresh environment from the recorded lock, or the one this command runs in.",
)
@click.option("--entity", "entities", multiple=True, metavar="KEY=VALUE", help="Of a feature: of whom it tells.")
@click.option("--at", metavar="TIME", help="Of a feature: when a training set asked.")
@click.option("--feature", metavar="VIEW:FEATURE", help="Of a prediction: one value that it saw.")
@click.option("--once", is_flag=True, help="Do not run again what differs, to tell why.")
@click.option("--verify-all", "everything", is_flag=True, help="Make again everything in production: an audit.")
@click.option("--budget", metavar="DURATION", help="Of the audit: begin nothing more after this time (10m).")
@click.option("--predictions", default=5, show_default=True, help="Of the audit: how many of each deployment.")
def command(
    output: Output,
    reference: str | None,
    environment: str,
    entities: tuple[str, ...],
    at: str | None,
    feature: str | None,
    once: bool,
    everything: bool,
    budget: str | None,
    predictions: int,
) -> None:
    """Make REFERENCE again: a run, training set, model, gate report, feature value, prediction:ID or exported file.

    Code, environment, inputs, parameters, seed and threads are restored from the record, the same function or script
    runs, and the outputs are compared at the levels bytes, canonical, predictions, metrics. Exit code 0 when they are
    the same at some level, 1 when they differ, 3 when it could not be made again. --verify-all does so for everything
    in production, and leaves with 3 also when the budget did not reach all.
    """
    if everything == (reference is not None):
        raise click.UsageError("Name what is to be made again, or ask for --verify-all.")
    if everything:
        audit = output.project.verify_all(
            environment=environment, predictions=predictions, budget=budget, progress=output.note
        )
        output.say(audit.to_json(), str(audit))
        sys.exit(audit.status)
    assert reference is not None
    try:
        found = output.project.reproduce(
            reference,
            environment=environment,
            entity=_keys(entities) if entities else None,
            at=at,
            feature=feature,
            diagnose=not once,
            progress=output.note,
        )
    except TrivetError as exc:
        fail(output, exc, status=3)
    output.say(found.to_json(), str(found))
    if not found.ok:
        sys.exit(1)


def _keys(given: tuple[str, ...]) -> dict[str, str]:
    if wrong := [each for each in given if "=" not in each]:
        raise Invalid(f"{wrong[0]!r} is no key of an entity. Write --entity KEY=VALUE.")
    return {name: value for name, _, value in (each.partition("=") for each in given)}

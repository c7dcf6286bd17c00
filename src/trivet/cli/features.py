"""``trivet features``: the definitions of the project, and what is asked of them."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
import msgspec

from trivet.cli.monitor import watched
from trivet.cli.outline import outline
from trivet.cli.output import Noun, Output, table
from trivet.cli.output import command as trivet_command
from trivet.errors import Invalid, NotFound, Refused
from trivet.types import from_micros

__all__ = ["command"]


@click.group("features", cls=Noun, short_help="List, find, plan and apply features; deprecate, check, import.")
def command() -> None:
    """List the definitions of the project; `trivet features NAME` shows one."""


@command.add_command
@trivet_command("show", short_help="List all definitions, or show one.")
@click.argument("name", required=False)
def show(output: Output, name: str | None) -> None:
    """List feature views, on-demand views and services, or show the one called NAME, or a feature of it: weather:temp."""
    if name is not None:
        called, _, feature = name.partition(":")
        one = output.project.feature_view(called)
        if feature and feature != "*" and feature not in one.definition.features:
            raise NotFound("feature", name, one.features)
        old = [each for key, each in output.project.deprecations().items() if key.partition(":")[0] == one.name]
        found = {**one.definition.to_spec(), "kind": one.kind, "version": one.version, "digest": one.digest}
        found |= {"deprecated": [each.to_json() for each in old]} if old else {}
        told = str(one)
        if feature and feature != "*":
            found |= {"feature": name}
            told = "\n".join(
                line for line in told.splitlines() if not line.startswith("  ") or f"  {feature} " in f"{line} "
            )
        output.say(found, told, *map(str, old))
        return
    listed, said = output.project.definitions(), output.project.deprecations()
    rows = [
        (
            *(each.name, each.kind.replace("_", " "), each.version, each.definition.owner),
            ", ".join(f"{one} (deprecated)" if {one, each.name} & set(said) else one for one in each.features),
            each.definition.description,
        )
        for each in listed
    ]
    columns = ["name", "kind", "version", "owner", "features", "description"]
    shown = table(columns, rows, fold=["features", "description"])
    specs = [
        {**each.definition.to_spec(), "kind": each.kind, "version": each.version, "digest": each.digest}
        for each in listed
    ]
    output.say(specs, shown if rows else "No features are defined yet.")


@command.add_command
@trivet_command("find", short_help="Search features by words, tag, owner, entity.")
@click.argument("words", nargs=-1)
@click.option("--tag", help="Only with this tag: live, or team=ops.")
@click.option("--owner", help="Only of this owner.")
@click.option("--entity", help="Only of this entity.")
@click.option("--kind", help="feature_view, on_demand or feature_service.")
def find(output: Output, words: tuple[str, ...], **only: str | None) -> None:
    """List the features in whose names, tags, descriptions or columns all WORDS occur, the best fit first."""
    found = output.project.find_features(" ".join(words), **only)
    columns = ["feature", "entity", "owner", "tags", "declaration", "description"]
    rows = [
        (
            *(each.reference, each.entity, each.owner, ", ".join(each.tags), each.declaration),
            f"DEPRECATED: {each.deprecated}" if each.deprecated else each.description,
        )
        for each in found
    ]
    near = [f"Nothing has {word!r}; this has {other!r}." for word, other in (found[0].near.items() if found else ())]
    shown = table(columns, rows, fold=["declaration", "description"])
    output.say([msgspec.to_builtins(each) for each in found], *near, shown if rows else "Nothing fits.")


@command.add_command
@trivet_command("sources", short_help="List the sources, or show one.")
@click.argument("name", required=False)
def sources(output: Output, name: str | None) -> None:
    """List the sources of the current feature views, or show the one called NAME."""
    listed = output.project.sources()
    if name is not None:
        one = _named("source", name, listed)
        output.say(one.to_json(), outline(one.to_json()))
        return
    rows = [
        (
            each.name,
            _place(each.source),
            each.source.times.event if each.source.times else "always",
            ", ".join(each.views),
        )
        for each in listed
    ]
    shown = table(["source", "rows from", "happened", "read by"], rows, fold=["rows from", "read by"])
    output.say([each.to_json() for each in listed], shown if rows else "No features are defined yet.")


def _place(source: Any) -> str:
    """Where the rows of a source come from, in a word."""
    if source.derived:
        return f"a {'query' if source.sql else 'function'} of {', '.join(each.name for each in source.inputs)}"
    if source.function is not None:
        return f"function {source.function.entry}"
    return source.data if isinstance(source.data, str) else "a data frame"


def _named(noun: str, name: str, listed: list[Any]) -> Any:
    from trivet.features.inventory import one_of

    return one_of(noun, name, listed)


@command.add_command
@trivet_command("entities", short_help="List the entities, or show one.")
@click.argument("name", required=False)
def entities(output: Output, name: str | None) -> None:
    """List the entities of the current feature views, or show the one called NAME."""
    listed = output.project.entities()
    if name is not None:
        one = _named("entity", name, listed)
        output.say(one.to_json(), outline(one.to_json()))
        return
    rows = [(each.name, ", ".join(each.entity.keys), ", ".join(each.views), len(each.features)) for each in listed]
    shown = table(["entity", "keys", "views", "features"], rows, fold=["views"])
    output.say([each.to_json() for each in listed], shown if rows else "No features are defined yet.")


@command.add_command
@trivet_command("freshness", short_help="Say how far the online store is.")
@click.argument("names", nargs=-1, metavar="[VIEW]...")
def freshness(output: Output, names: tuple[str, ...]) -> None:
    """Say of each VIEW (of all by default) up to when it was materialized, and what pushes took in."""
    project = output.project
    found = [project.freshness(each) for each in names or [listed.name for listed in project.feature_views()]]
    rows = [(each.name, each.version, each.materialized, each.pushed, each.newest) for each in found]
    shown = table(["view", "version", "materialized up to", "pushed until", "newest event"], rows)
    output.say([msgspec.to_builtins(each) for each in found], shown if rows else "No features are defined yet.")


@command.add_command
@trivet_command("materialize", short_help="Bring the online store up to a moment.")
@click.argument("names", nargs=-1, metavar="[VIEW]...")
@click.option("--until", metavar="TIME", help="What was known then is written. [default: now]")
@click.option("--afresh", is_flag=True, help="Forget first what the store has of these views.")
@click.option("--why", default="", help="A reason to write although what is expected of the data does not hold.")
def materialize(output: Output, names: tuple[str, ...], until: str | None, afresh: bool, why: str) -> None:
    """Bring the online store of each VIEW (of all by default) up to a moment. Repeating it changes nothing."""
    written = output.project.materialize(list(names) or None, until=until, afresh=afresh, why=why)
    output.say(
        written, table(["view", "rows written"], list(written.items())) if written else "No view is defined yet."
    )


@command.add_command
@trivet_command("read", short_help="Read features of an entity from the online store.")
@click.argument("words", nargs=-1, required=True, metavar="FEATURE... KEY=VALUE...")
@click.option("--at", metavar="TIME", help="Expired as of then. [default: now]")
@click.option(
    "--request", "sent", multiple=True, metavar="NAME=VALUE", help="What on-demand views ask; may be repeated."
)
def read(output: Output, words: tuple[str, ...], at: str | None, sent: tuple[str, ...]) -> None:
    """Read features, such as weather:* or a service, of the entity with these keys: weather:* place=Graz.

    A value that reads as a number is one; write '"8010"' where it is text.
    """
    features, keys = [word for word in words if "=" not in word], [word for word in words if "=" in word]
    if not features or not keys:
        raise click.UsageError("Name features and the keys of an entity: weather:* place=Graz.")
    [vector] = output.project.online_features(features, _pairs(keys), at=at, request=_pairs(sent))
    times = {name: None if at is None else from_micros(at) for name, at in vector.times.items()}
    rows = [(name, value, vector.status[name], times.get(name)) for name, value in vector.values.items()]
    data = {"values": vector.values, "status": vector.status, "times": times}
    output.say(data, table(["feature", "value", "status", "time"], rows))


def _pairs(words: Iterable[str]) -> dict[str, Any]:
    """``customer=7`` as a key and its value: a number, a truth value or quoted text where it reads so, else text."""
    found: dict[str, Any] = {}
    for word in words:
        name, _, text = word.partition("=")
        try:
            value = msgspec.json.decode(text)
        except msgspec.DecodeError:
            value = text
        found[name] = value if isinstance(value, int | float | bool | str) else text
    return found


@command.add_command
@trivet_command("join", short_help="Join features to a file of keys and times: a training set.")
@click.argument("spine", type=click.Path(path_type=Path))
@click.argument("references", nargs=-1, required=True, metavar="FEATURE...")
@click.option("--time", required=True, metavar="COLUMN", help="The moment at which each row asks.")
@click.option("--label", metavar="COLUMN", help="What is to be predicted.")
@click.option("--strict", is_flag=True, help="See only what was known before each moment, not at it.")
@click.option("--full-names", is_flag=True, help="Name columns view__feature.")
@click.option("--as-known-at", metavar="TIME", help="Answer what this would have answered then.")
@click.option("--memory", metavar="SIZE", help="Take no more than this: 2GB.")
@click.option("--timezone", metavar="ZONE", help="The zone of times in SPINE that have none: UTC.")
@click.option("--to", type=click.Path(path_type=Path), help="Write the rows to this file: .parquet or .csv.")
def join(output: Output, spine: Path, references: tuple[str, ...], *, to: Path | None, **options: Any) -> None:
    """Join each FEATURE (weather:*, a service) to the rows of SPINE as known at their times; recorded as a training set."""
    if to is not None and to.suffix not in (".parquet", ".csv"):
        raise Invalid(f"{to} is no file that can be written. Give it the ending .parquet or .csv.")
    made = output.project.training_set(spine.absolute(), list(references), **options)
    if to is not None:
        rows = made.to_lazy()
        (rows.sink_parquet if to.suffix == ".parquet" else rows.sink_csv)(to)
    assert made.artifact is not None
    data = {
        "id": made.artifact.id,
        "rows": len(made),
        "features": [each.feature for each in made.features],
        "nulls": made.report.nulls,
        "quality": [report.to_json() for report in made.quality],
        "file": to,
    }
    trouble = [report.trouble for report in made.quality if report.trouble]
    output.say(data, repr(made), *trouble, *([f"Written to {to}."] if to is not None else []))


@command.add_command
@trivet_command("plan", short_help="Say what defining a file would change, and for whom.")
@click.argument("target", type=click.Path(path_type=Path), metavar="FILE|FOLDER")
@click.option("--complete", is_flag=True, help="The file is meant to hold all: list what is stored and not in it.")
def plan(output: Output, target: Path, *, complete: bool) -> None:
    """Say what `trivet features apply` would do with the definitions of a Python file (a folder's features.py).

    Nothing is stored; the first rows of each source are looked at. Exits with 1 where applying would be refused.
    """
    project = output.project
    found = project.plan(*project.find_definitions(target), complete=complete)
    output.say(found.to_json(), str(found))
    if found.blocked or found.problems:
        sys.exit(1)


@command.add_command
@trivet_command("apply", short_help="Define what a file declares.")
@click.argument("target", type=click.Path(path_type=Path), metavar="FILE|FOLDER")
@click.option("--why", default="", help="The reason, kept in the history of each name.")
@click.option("--allow-breaking", metavar="REASON", help="Take away what something alive uses.")
@click.option("--unchecked", metavar="REASON", help="Store what the data contradicts, or whose data is not there yet.")
def apply(output: Output, target: Path, *, why: str, allow_breaking: str | None, unchecked: str | None) -> None:
    """Store the definitions of a Python file (a folder's features.py); edited ones become new versions.

    What is new is tried on the first rows of its sources; nothing is stored where that fails.
    """
    project = output.project
    found = project.find_definitions(target)
    if not (unchecked or "").strip() and (wrong := project.plan(*found).problems):
        more = f" And {len(wrong) - 1} more: see trivet features plan." if len(wrong) > 1 else ""
        raise Refused(f"{wrong[0]}{more} Nothing was stored. Mend it, or give the reason: --unchecked 'why'.")
    listed = project.define(*found, why=why, allow_breaking=allow_breaking, unchecked=unchecked)
    data = [{"name": _name(e), "version": e.version, "digest": e.digest, "why": e.why} for e in listed]
    output.say(data, table(["name", "version"], [(each["name"], each["version"]) for each in data]))


def _name(defined: Any) -> str:
    """Of expectations, whose they are."""
    return str(defined.name) if hasattr(defined, "name") else f"expectations of {defined.expectations.subject}"


@command.add_command
@trivet_command("deprecate", short_help="Say that a feature shall not be used from a date on.")
@click.argument("reference")
@click.option("--after", metavar="DATE", help="From when new training sets refuse it: 2027-01-01.")
@click.option("--why", default="", help="The reason.")
@click.option("--instead", default="", metavar="REFERENCE", help="What to use.")
@click.option("--undo", is_flag=True, help="Take it back.")
def deprecate(output: Output, reference: str, *, after: str | None, why: str, instead: str, undo: bool) -> None:
    """Say that REFERENCE (weather:temp, or weather) shall not be used from a date on. What was made with it stays."""
    if undo == (after is not None):
        raise click.UsageError("Give --after DATE, or --undo.")
    if after is None:
        output.project.undeprecate(reference, why=why)
        output.say({"reference": reference, "deprecated": False}, f"{reference} is not deprecated any more.")
        return
    said = output.project.deprecate(reference, after=after, why=why, instead=instead)
    output.say(said.to_json(), str(said))


@command.add_command
@trivet_command("remove", short_help="Take a view or service out of the catalogue.")
@click.argument("name")
@click.option("--why", default="", help="The reason, kept in the history of the name.")
def remove(output: Output, name: str, *, why: str) -> None:
    """Take the view, on-demand view or service NAME out of the catalogue, and its rows out of the online store.

    Its versions stay on record. It is refused while something alive uses it.
    """
    used = output.project.remove(name, why=why)
    output.say({"name": name, "removed": True, "used": used}, f"{name} is removed. Its versions stay on record.")


@command.add_command
@trivet_command("check", short_help="Look for leaks in a training set.")
@click.argument("training_set")
@click.option("--rows", default=300, show_default=True, help="How many rows to compute again, one by one.")
@click.option("--seed", default=0, show_default=True, help="Which rows are drawn.")
def check(output: Output, training_set: str, *, rows: int, seed: int) -> None:
    """Compute rows of TRAINING_SET again with a plain loop, and look for values that give the label away.

    Exits with 1 where something leaks or differs.
    """
    report = output.project.check_leaks(training_set, rows=rows, seed=seed)
    output.say(report.to_json(), str(report))
    if not report.ok:
        sys.exit(1)


@command.add_command
@trivet_command("audit", short_help="Compare what was served with what training sees.")
@click.argument("deployment", required=False)
@click.option("--rows", default=500, show_default=True, help="How many served predictions to draw.")
@click.option("--seed", default=0, show_default=True, help="Which ones are drawn.")
@click.option("--since", metavar="TIME", help="Only of those received from then on.")
@click.option(
    "--tolerance", default=0.0, help="The relative distance up to which numbers are the same. [default: none]"
)
@click.option("--delay", metavar="DURATION", help="How far the online store may be behind. [default: [features] delay]")
def audit(output: Output, deployment: str | None, **options: Any) -> None:
    """Draw predictions that DEPLOYMENT served, compute their features again as training would, and compare bit for bit.

    DEPLOYMENT is a model's name or a deployment's id; all that are not retired by default. Exits with 1 where a value
    differs.
    """
    project = output.project
    reports = [project.audit(each, **options) for each in ([deployment] if deployment else watched(project))]
    output.say([report.to_json() for report in reports], *(map(str, reports) if reports else ["Nothing is deployed."]))
    if not all(report.ok for report in reports):
        sys.exit(1)


@command.add_command
@trivet_command("import-feast", short_help="Bring the definitions of a Feast repository over.")
@click.argument("repository", type=click.Path(path_type=Path))
@click.option("--to", type=click.Path(path_type=Path), help="The file to write. [default: REPOSITORY/features.py]")
@click.option("--force", is_flag=True, help="Replace the file.")
def import_feast(output: Output, repository: Path, *, to: Path | None, force: bool) -> None:
    """Write the definitions of the Feast folder REPOSITORY as a Python file of Trivet's, and say what did not fit.

    The repository's Python files are executed; Feast itself need not be installed.
    """
    from trivet.interop.feast import import_feast as carry_over

    done = carry_over(repository)
    file = to or repository / "features.py"
    if file.exists() and not force:
        raise Invalid(f"{file} exists already. Name another with --to, or replace it with --force.")
    file.write_text(done.code, "utf-8")
    output.say({**msgspec.to_builtins(done), "file": str(file)}, str(done), f"\nWritten to {file}.")

"""``trivet show``: whatever an id means."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click
import msgspec

from trivet.cli.outline import outline
from trivet.cli.output import Output, seconds, table
from trivet.cli.output import command as trivet_command
from trivet.ledger import Artifact, Blobs, Run

__all__ = ["command"]


@trivet_command("show", short_help="Show whatever an id means.")
@click.argument("reference")
def command(output: Output, reference: str) -> None:
    """Show what REFERENCE means: an artifact, a run, a model, a prediction; any unambiguous start of an id will do.

    Of a patch of uncommitted changes the patch itself is shown: `trivet show patch:ID | git apply` applies it.
    """
    project = output.project
    if reference.startswith("prediction:"):
        found = project.prediction(reference.removeprefix("prediction:"))
        output.say(found, f"prediction:{found['id']}", "", *_prediction(found))
        return
    record = project.get(reference)
    data = msgspec.to_builtins(record)
    if isinstance(record, Run):
        data["seconds"] = record.seconds
        output.say(data, f"run:{record.id}", "", outline(_run(data)))
        return
    if record.kind == "patch":
        output.say(data, *_patch(record, output.project.context.blobs))
        return
    output.say(data, record.id, "", *(_model(record) if record.kind == "model" else [outline(data)]))


def _prediction(found: Mapping[str, Any]) -> list[Any]:
    """What was answered, then a line for each value that the model saw."""
    facts = {
        "score": found["score"],
        **(found["output"] if isinstance(found["output"], dict) else {"output": found["output"]}),
        "label": "has not come" if found["label"] is None else found["label"],
        "about": found["at"],
        "answered": found["received"],
        "took": seconds(found["latency_us"] / 1e6),
        "model": f"{found['model']}@{found['version']} (model:{found['digest'][:12]})",
        "deployment": f"run:{found['deployment']} ({found['role']})",
    }
    rows = [(key, value, "entity key", None, None) for key, value in found["entities"].items()]
    rows += [(key, value, "request", None, None) for key, value in found["request"].items()]
    rows += [
        (key, value, "feature", found["feature_times"].get(key), found["feature_status"].get(key))
        for key, value in found["features"].items()
    ]
    shown = table(["the model saw", "value", "from", "time of the value", "status"], rows, fold=["value"])
    return [outline(facts), "", shown]


def _run(data: dict[str, Any]) -> dict[str, Any]:
    """A run without its cache key, which ``trivet why`` explains, and with how to see what was not committed."""
    shown = {key: value for key, value in data.items() if key not in {"id", "key", "key_parts", "seconds"}}
    shown["tags"] = {key: value for key, value in data["tags"].items() if key != "git.patch"}
    if patch := data["tags"].get("git.patch"):
        shown["uncommitted"] = f"trivet show patch:{patch[:12]}"
    return {**shown, "took": seconds(data["seconds"])}


def _patch(record: Artifact, blobs: Blobs) -> list[str | bytes]:
    """The patch to the byte, behind lines that ``git apply`` skips: what it is, and what it leaves out."""
    commit = record.spec["commit"]
    lines = [
        f"# {record.id}: what was not committed {f'on top of {commit}' if commit else 'in a repository with no commit'}",
        f"# At the top of a checkout of it: trivet show {record.id} | git apply",
        *(f"# left out: {json.dumps(each['name'])}, {each['why']}" for each in record.spec["left_out"]),
    ]
    return ["\n".join(lines), *(blobs.read(file.digest) for file in record.files.values())]


def _model(record: Artifact) -> list[Any]:
    """What the model is, then a line for each of its inputs."""
    signature = record.spec.get("signature", {})
    spec = {key: value for key, value in record.spec.items() if key != "signature"}
    facts = {
        **spec,
        "predicts": signature.get("target"),
        "classes": signature.get("classes"),
        "created": record.created,
        "digest": record.digest,
        "files": {name: f"{file.size:,} bytes" for name, file in record.files.items()},
    }
    rows = [
        (each["name"], each["type"], len(each["categories"]) if each.get("categories") else None,
         each.get("feature") or "the request")
        for each in signature.get("inputs", [])
    ]  # fmt: skip
    return [outline(facts), "", table(["input", "type", "categories", "from"], rows)]

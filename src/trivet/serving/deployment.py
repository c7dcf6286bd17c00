"""A deployment: a model version that answers somewhere, as a run of kind ``serve`` in the ledger.

The run stands from the moment of deployment to its end; its inputs are the model and the gate report that let it
in, its output is the ``deployment`` artifact that says what was promised (role, how long it may be silent). Its
recipe is the one by which every prediction is made again. This module leaves admission to ``admission`` and the
answering to ``predictor``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from trivet.clock import new_id
from trivet.errors import Conflict, Invalid, NotFound
from trivet.ledger import Artifact, Recipe, Run, RunQuery, Status
from trivet.pipelines.context import Context
from trivet.pipelines.recording import is_alive, process_tags
from trivet.serving.admission import Admission
from trivet.types import Digest

__all__ = ["Deployment", "deploy", "deployment", "deployments", "end", "retire", "state_of"]

KIND = "serve"
ROLES = ("champion", "canary", "shadow")


class Deployment(msgspec.Struct, frozen=True):
    """What is deployed and how it stands.

    Attributes:
        id: of the run of kind ``serve``.
        state: ``alive`` while its process lives, ``stopped`` afterwards, ``failed`` if it never came to answer,
            ``retired`` once someone said that it has done its work: a run of kind ``retire`` says who and why.
        gate: the verdict that let it in, or ``ungated`` with the run that records the reason in ``override``.
        max_silence: longer without a prediction, and the dead-model alarm is raised; a duration as text.
    """

    id: str
    name: str
    version: int
    digest: Digest
    role: str
    state: str
    gate: str
    override: str
    max_silence: str
    started: datetime
    ended: datetime | None = None
    predictions: int = 0
    last_prediction: datetime | None = None

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        data: dict[str, Any] = msgspec.to_builtins(self)
        return data


def deploy(
    context: Context,
    *,
    name: str,
    version: int,
    digest: Digest,
    role: str,
    admission: Admission,
    max_silence: str,
    online: Mapping[str, Digest],
    recipe: Recipe,
) -> Deployment:
    """Record that a model version begins to answer in this process.

    Raises:
        NotFound: there is no such role.
    """
    if role not in ROLES:
        raise NotFound("role of a deployment", role, ROLES)
    now = context.clock()
    promised = {"name": name, "version": version, "model": digest, "role": role, "max_silence": max_silence}
    artifact = Artifact.of("deployment", promised, created=now)
    inputs = {"model": digest} | dict(online) | ({"gate_report": admission.report} if admission.report else {})
    run = Run(
        id=new_id(context.clock),
        kind=KIND,
        name=f"{name}@{version}",
        status="running",
        started=now,
        user=context.user,
        host=context.host,
        recipe=recipe,
        inputs=inputs,
        outputs={"deployment": artifact.digest},
        tags={**process_tags(), "override": admission.override or ""},
    )
    context.ledger.write(artifact, run)
    return _read(context, run, {})


def end(context: Context, id: str, *, answered: bool = True) -> None:  # noqa: A002 - the field's name
    """Record that a deployment stopped answering, or that it never came to answer."""
    run = context.ledger.run(id)
    if run.status == "running":
        status: Status = "finished" if answered else "failed"
        context.ledger.write(msgspec.structs.replace(run, status=status, ended=context.clock()))


def retire(context: Context, found: Deployment, *, why: str) -> Deployment:
    """Record that a deployment has done its work, and its end if its process died without recording that.

    Raises:
        Invalid: the reason is blank.
        Conflict: it still answers, or is retired already.
    """
    if not why.strip():
        raise Invalid("Retiring a deployment needs a reason that others can read later. Give one.")
    if found.state == "alive":
        raise Conflict(f"The deployment {found.id} of {found.name} still answers. Stop it (Ctrl-C), then retire it.")
    if found.state == "retired":
        raise Conflict(f"The deployment {found.id} of {found.name} is retired already.")
    now, served = context.clock(), context.ledger.run(found.id)
    run = Run(
        id=new_id(context.clock),
        kind="retire",
        name=served.name,
        status="finished",
        started=now,
        ended=now,
        parent=served.id,
        user=context.user,
        host=context.host,
        inputs={"deployment": served.outputs["deployment"]},
        tags={"by": context.user, "why": why.strip()},
    )
    end(context, found.id)
    context.ledger.write(run)
    return msgspec.structs.replace(found, state="retired", ended=found.ended or now)


def deployments(context: Context, served: Mapping[str, tuple[int, datetime]]) -> list[Deployment]:
    """All of them, newest first. ``served`` says how many predictions each made and when the last was."""
    runs: Sequence[Run] = context.ledger.runs(RunQuery(kind=KIND, limit=1000))
    retired = {run.parent for run in context.ledger.runs(RunQuery(kind="retire", limit=1000))}
    found = [_read(context, run, served) for run in runs]
    return [msgspec.structs.replace(each, state="retired") if each.id in retired else each for each in found]


def deployment(context: Context, reference: str, served: Mapping[str, tuple[int, datetime]]) -> Deployment:
    """The deployment with this id (or the start of one), or the newest of a model of this name that came to answer.

    Raises:
        NotFound: there is none; the names of deployed models are offered.
    """
    found = deployments(context, served)
    wanted = reference.removeprefix("run:")
    for item in sorted(
        found, key=lambda item: item.state in {"failed", "retired"}
    ):  # stable: newest first among equals
        if wanted in {item.id, item.name, f"{item.name}@{item.version}"} or (
            len(wanted) >= 6 and item.id.startswith(wanted)
        ):
            return item
    raise NotFound("deployment", reference, {item.name for item in found}, hint="`trivet serve MODEL` makes one.")


def _read(context: Context, run: Run, served: Mapping[str, tuple[int, datetime]]) -> Deployment:
    promised = context.ledger.artifact(run.outputs["deployment"]).spec
    predictions, last = served.get(run.id, (0, None))
    return Deployment(
        id=run.id,
        name=promised["name"],
        version=promised["version"],
        digest=promised["model"],
        role=promised["role"],
        state=state_of(context, run),
        gate="pass" if "gate_report" in run.inputs else "ungated",
        override=run.tags.get("override", ""),
        max_silence=promised["max_silence"],
        started=run.started,
        ended=run.ended,
        predictions=predictions,
        last_prediction=last,
    )


def state_of(context: Context, run: Run) -> str:
    """How it stands now; the process of another host is taken at its word."""
    if run.status != "running":
        return "failed" if run.status == "failed" else "stopped"
    return "alive" if run.host != context.host or is_alive(run.tags) else "stopped"

"""A feature server: features that answer somewhere without a model, as a run of kind ``serve_features`` in the ledger.

The run stands from the moment that the server answers to its end. Its inputs are the definitions that it answers with
and from what the online store was filled last; so whoever asks what uses a view finds it, and a materialization keeps
the versions fresh that it goes on with. Like a deployment it lives as long as its process does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from trivet.clock import new_id
from trivet.ledger import Run, RunQuery
from trivet.pipelines.context import Context
from trivet.pipelines.recording import process_tags
from trivet.serving.deployment import state_of
from trivet.types import Digest

__all__ = ["FeatureServer", "feature_servers", "start"]

KIND = "serve_features"


class FeatureServer(msgspec.Struct, frozen=True):
    """What is served and how it stands.

    Attributes:
        id: of the run of kind ``serve_features``.
        name: the services and views that are answered.
        features: all references.
        services: the names of services among them.
        address: where it answers.
        state: ``alive`` while its process lives, else ``stopped``.
    """

    id: str
    name: str
    features: tuple[str, ...]
    services: tuple[str, ...]
    address: str
    host: str
    user: str
    state: str
    started: datetime
    ended: datetime | None = None

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        data: dict[str, Any] = msgspec.to_builtins(self)
        return data


def start(
    context: Context,
    *,
    name: str,
    features: Sequence[str],
    services: Sequence[str],
    address: str,
    inputs: Mapping[str, Digest],
) -> FeatureServer:
    """Record that features begin to be answered by this process; ``deployment.end`` records the end."""
    run = Run(
        id=new_id(context.clock),
        kind=KIND,
        name=name,
        status="running",
        started=context.clock(),
        user=context.user,
        host=context.host,
        inputs=dict(inputs),
        parameters={"features": list(features), "services": list(services), "address": address},
        tags=process_tags(),
    )
    context.ledger.write(run)
    return _read(context, run)


def feature_servers(context: Context) -> list[FeatureServer]:
    """All of them, newest first."""
    return [_read(context, run) for run in context.ledger.runs(RunQuery(kind=KIND, limit=1000))]


def _read(context: Context, run: Run) -> FeatureServer:
    asked = run.parameters
    return FeatureServer(
        id=run.id,
        name=run.name,
        features=tuple(asked["features"]),
        services=tuple(asked["services"]),
        address=asked["address"],
        host=run.host,
        user=run.user,
        state=state_of(context, run),
        started=run.started,
        ended=run.ended,
    )

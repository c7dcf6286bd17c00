"""Who uses a definition, as rows of a table and as a picture: from raw data through the definition to what is live."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from trivet.server.drawing import Box
from trivet.server.views.graphs import Graph

if TYPE_CHECKING:
    from trivet.features.catalogue import Listed
    from trivet.features.definitions import Source
    from trivet.features.inventory import ListedSource
    from trivet.features.usage import Use, Users
    from trivet.project import Project

__all__ = ["sources_of", "usage_graph", "usage_of_source", "use_row"]

_DRAWN = {"training_set": 5} | dict.fromkeys(
    ("model", "deployment", "feature_server", "feature_service", "on_demand", "feature_view"), 8
)
_STYLES = {"model": "model", "deployment": "live", "feature_server": "live"}


def use_row(use: Use) -> dict[str, Any]:
    """A user with the address of its page."""
    return {**msgspec.to_builtins(use), "href": _page(use)}


def sources_of(source: Source) -> list[dict[str, Any]]:
    """The sources that a view reads, its own first, each with where its rows come from, and texts of queries and functions."""
    made = source.transform or source.function
    text = source.sql if source.sql is not None else made.text if made is not None else None
    what = "a query" if source.sql is not None else "a function of frames" if source.transform is not None else ""
    what = what or (f"the log of view {source.view.name}" if source.view is not None else "")
    data = source.data if isinstance(source.data, str) else "a data frame" if source.data is not None else ""
    data = data or (f"function {source.function.entry}" if source.function is not None else "")
    times = source.times
    found = {
        "name": source.name,
        "data": what or data or "bound when it is read",
        "event_time": None if times is None else times.event,
        "known_at": None if times is None else times.known or times.event,
        "known_after": None if times is None or not times.after else times.to_spec()["after"],
        "column_times": {column: each.known or each.event for column, each in source.column_times.items()},
        "personal": dict(source.personal),
        "view": None if source.view is None else source.view.name,
        "texts": [] if text is None else [{"title": f"{source.name}: {what or data}", "text": text}],
    }
    beneath = source.inputs if source.view is None else (source.view.source,)
    return [found, *(each for one in beneath for each in sources_of(one))]


def usage_graph(project: Project, listed: Listed, users: Users, feature: str = "") -> Graph:
    """Raw data at the top, the definition, what asks for it by name, training sets, models, deployments."""
    graph, own = Graph(project, focus=listed.digest), _definition_box(listed, feature)
    graph.link(listed.digest, boxes={listed.digest: own})
    _above(graph, listed)
    shown = _drawn(users)
    graph.left_out += len(users) - len(shown)
    boxes = {_key(use): _box(use) for use in shown}
    for use in shown:
        above = use.through if use.through in boxes else listed.digest
        graph.link(above, _key(use), boxes={_key(use): boxes[_key(use)]})
    return graph


def usage_of_source(project: Project, listed: ListedSource) -> Graph:
    """What a source is made of, itself, and the views that read it."""
    key = f"source {listed.name}"
    graph = Graph(project, focus=key)
    _link_source(graph, listed.source, "")
    graph.boxes[key] = replace(graph.boxes[key], style="raw focus")
    for name in listed.views:
        view = f"view {name}"
        graph.link(key, view, boxes={view: Box(view, "", "", f"/features/{quote(name)}")})
    return graph


def _drawn(users: Users) -> list[Use]:
    """Some of each kind; of training sets first those that models were fitted on."""
    fitted = {use.through for use in users.of("model")}
    shown = []
    for kind, most in _DRAWN.items():
        ranked = users.of(kind)
        ranked = sorted(ranked, key=lambda use: (not use.alive, use.id not in fitted))
        shown += ranked[:most]
    return shown


def _above(graph: Graph, listed: Listed) -> None:
    if listed.kind == "feature_view":
        _link_source(graph, listed.view.source, listed.digest)
        return
    from trivet.features.usage import asked_by_name

    for name in dict.fromkeys(each.partition(":")[0] for each in asked_by_name(listed.definition)):
        box = Box(name, "", "", f"/features/{quote(name)}")
        graph.link(f"definition {name}", listed.digest, boxes={f"definition {name}": box})


def _link_source(graph: Graph, source: Source, below: str) -> None:
    if source.view is not None:
        key, href = f"view {source.view.name}", f"/features/{quote(source.view.name)}"
        graph.link(key, below, boxes={key: Box(f"view {source.view.name}", "the log of its values", "", href)})
        _link_source(graph, source.view.source, key)
        return
    key, [about, *_] = f"source {source.name}", sources_of(source)
    href = f"/sources/{quote(source.name)}"
    boxes = {key: Box(f"source {source.name}", about["data"], "raw", href)}
    graph.link(*([key, below] if below else [key]), boxes=boxes)
    for each in source.inputs:
        _link_source(graph, each, key)


def _definition_box(listed: Listed, feature: str) -> Box:
    word = {"feature_view": "view", "on_demand": "on-demand", "feature_service": "service"}[listed.kind]
    title = f"{listed.name}:{feature}" if feature else f"{word} {listed.name}"
    return Box(title, f"version {listed.version}", "focus", f"/features/{quote(listed.name)}")


def _key(use: Use) -> str:
    return use.id if use.kind in ("training_set", "model", "deployment", "feature_server") else f"{use.kind} {use.name}"


def _box(use: Use) -> Box:
    kind = {"feature_service": "service", "on_demand": "on-demand", "feature_view": "view"}.get(use.kind)
    title = f"{kind or use.kind.replace('_', ' ')} {use.name.removeprefix('model:')}"
    if use.kind == "training_set":
        title = f"training set {use.name}" if use.name != "training set" else use.name
    version = f"version {use.version}" if use.version is not None else "whatever is current"
    when = f"{use.at:%Y-%m-%d}" if use.at and use.kind == "training_set" else ""
    return Box(title, ", ".join(filter(None, [use.state or when, version])), _STYLES.get(use.kind, ""), _page(use))


def _page(use: Use) -> str:
    if use.kind == "deployment":
        return f"/deployments/{quote(use.id)}"
    if use.kind == "feature_server":
        return f"/runs/{quote(use.id)}"
    if use.kind == "training_set":
        return f"/artifacts/{use.id}"
    if use.kind == "model":
        name, at, version = use.name.partition(",")[0].rpartition("@")
        return f"/models/{quote(name, safe='')}/{version}" if at else f"/artifacts/{use.id}"
    return f"/features/{quote(use.name, safe='')}"

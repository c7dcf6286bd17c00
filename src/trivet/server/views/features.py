"""The catalogue: all definitions and a search, one definition, and one feature of it.

Everything shown is on record already: declarations and their versions, who uses them, how far the online store is, and
the statistics of training sets that were made. Nothing is computed from data for a page.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from trivet.errors import NotFound
from trivet.server.views.histories import history_of
from trivet.server.views.shapes import pointer_row
from trivet.server.views.uses import sources_of, usage_graph, use_row

if TYPE_CHECKING:
    from trivet.features.catalogue import Listed
    from trivet.features.deprecation import Deprecation
    from trivet.features.usage import Users
    from trivet.project import Project

__all__ = ["definition", "feature", "features"]

_SHOWN = 25
_KINDS = ("feature_view", "on_demand", "feature_service")
_FILTERS = ("kind", "entity", "owner", "tag")


def features(
    project: Project, words: str = "", kind: str = "", entity: str = "", owner: str = "", tag: str = ""
) -> dict[str, Any]:
    """Every definition in its current version; with ``words``, the features that fit them.

    Raises:
        NotFound: there is no such kind of definition.
    """
    if kind and kind not in _KINDS:
        raise NotFound("kind of definition", kind, _KINDS)
    listed, said = project.definitions(), project.deprecations()
    chosen = {"kind": kind, "entity": entity, "owner": owner, "tag": tag}
    asked = {name: value for name, value in chosen.items() if value}
    found = project.find_features(words, **asked) if asked or words.strip() else []
    fitting = {each.name for each in found} if asked or words.strip() else {each.name for each in listed}
    return {
        "title": "Features",
        "words": words,
        "chosen": chosen,
        "options": _options(listed),
        "found": [_found(each) for each in found] if words.strip() else [],
        "near": found[0].near if found else {},
        "views": [_row(project, each, said) for each in listed if each.name in fitting],
        "count": len(listed),
    }


def definition(project: Project, name: str) -> dict[str, Any]:
    """A feature view, an on-demand view or a service: what it is, its versions, who uses it, how fresh it is."""
    listed, said = project.feature_view(name), project.deprecations()
    users = project.usage(listed.name)
    graph = usage_graph(project, listed, users)
    return {
        "title": listed.name,
        "view": {**_row(project, listed, said), **_declared(listed, said)},
        "deprecated": [each.to_json() for each in _said_of(listed.name, said)],
        "freshness": _freshness(project, listed, users),
        "skew": _skew(project, users, set(listed.features)),
        "expected": _expected(project, listed),
        **_used(users),
        "versions": history_of(project, listed),
        "history": [
            pointer_row(pointer)
            for pointer in project.context.ledger.pointers(name=f"{listed.kind}/{listed.name}", history=True)
        ],
        "graph": graph.draw(),
        "left_out": graph.left_out,
    }


def feature(project: Project, name: str, feature: str) -> dict[str, Any]:
    """One feature: how it is computed, what became of it in each version, its statistics over time, who uses it.

    Raises:
        NotFound: no version of the definition has such a feature.
    """
    from trivet.server.views.histories import charts_of, over_time, statistics_of

    current = project.feature_view(name)
    listed = _holding(project, current, feature)
    reference = f"{current.name}:{feature}"
    users = project.usage(current.name).reading([feature, "*"])
    graph, recorded = usage_graph(project, listed, users, feature), statistics_of(project, users, reference)
    said = project.deprecations()
    return {
        "title": reference,
        "reference": reference,
        "feature": feature,
        "view": _row(project, listed, said),
        "gone": listed.digest != current.digest,
        "about": _about(listed, feature),
        "deprecated": [said[each].to_json() for each in (reference, current.name) if each in said],
        "freshness": _freshness(project, listed, users),
        "skew": _skew(project, users, {reference}),
        **_used(users),
        "versions": history_of(project, current, feature),
        "statistics": recorded,
        "charts": [*over_time(project, users, reference), *charts_of(recorded)],
        "graph": graph.draw(),
        "left_out": graph.left_out,
    }


def _holding(project: Project, current: Listed, feature: str) -> Listed:
    """The current version, or the newest one that had the feature."""
    if f"{current.name}:{feature}" in current.features and current.kind != "feature_service":
        return current
    if current.kind != "feature_service":
        for each in reversed(project.definition_versions(current.name)):
            if f"{current.name}:{feature}" in each.features:
                return each
    raise NotFound("feature", f"{current.name}:{feature}", current.features)


def _found(found: Any) -> dict[str, Any]:
    name, colon, feature = found.reference.partition(":")
    href = f"/features/{quote(name)}/{quote(feature)}" if colon else f"/features/{quote(name)}"
    return {**msgspec.to_builtins(found), "href": href}


def _options(listed: Iterable[Listed]) -> dict[str, list[str]]:
    """What each filter can be set to."""
    every = list(listed)
    tags = {tag for each in every for tag in each.definition.tags or {}}
    entities = {each.view.entity.name for each in every if each.kind == "feature_view"}
    kinds = {each.kind for each in every}
    found = {"kind": kinds, "entity": entities, "owner": {each.definition.owner for each in every}, "tag": tags}
    return {name: sorted(filter(None, found[name])) for name in _FILTERS}


def _row(project: Project, listed: Listed, said: Mapping[str, Deprecation]) -> dict[str, Any]:
    own, view = listed.definition, listed.view if listed.kind == "feature_view" else None
    watermark = None if view is None else project.watermark(view)
    return {
        "name": listed.name,
        "kind": listed.kind,
        "entity": "" if view is None else view.entity.name,
        "source_name": "" if view is None else view.source.name,
        "features": [each.removeprefix(f"{listed.name}:") for each in listed.features],
        "description": own.description,
        "owner": own.owner,
        "tags": dict(own.tags or {}),
        "version": listed.version,
        "digest": listed.digest,
        "applied": listed.applied.isoformat(),
        "by": listed.by,
        "why": listed.why,
        "watermark": None if watermark is None else watermark.isoformat(),
        "deprecated": listed.name in said,
    }


def _declared(listed: Listed, said: Mapping[str, Deprecation]) -> dict[str, Any]:
    """The declaration in the parts that people ask for."""
    own: Any = listed.definition
    spec = own.to_spec()
    if listed.kind == "feature_service":
        return {"definitions": {}, "references": list(own.features), "texts": []}
    about: dict[str, Any] = {
        "definitions": {name: str(item) for name, item in own.features.items()},
        "old": {name: str(said[f"{listed.name}:{name}"]) for name in own.features if f"{listed.name}:{name}" in said},
        "unserved": [],
    }
    if listed.kind == "on_demand":
        about["inputs"] = [{"parameter": p, "reference": r, "type": t} for p, r, t in spec["inputs"]]
        about["request"] = dict(own.request)
        return {**about, "texts": [{"title": "Function", "text": own.function.text}]}
    sources = sources_of(own.source)
    return {
        **about,
        "unserved": sorted(set(own.features) - set(own.served_features)),
        "keys": dict(zip(own.entity.keys, own.entity.types, strict=True)),
        "ttl": spec.get("ttl"),
        "source": spec["source"],
        "sources": sources,
        "texts": [text for each in sources for text in each["texts"]],
    }


def _about(listed: Listed, feature: str) -> dict[str, Any]:
    """How one feature is computed, in words."""
    own: Any = listed.definition
    if listed.kind != "feature_view":
        return {"computed": f"on demand, {own.outputs[feature]}", "takes": [each.reference for each in own.inputs]}
    view, declared = listed.view, listed.view.features[feature]
    times = view.source.times_of(declared.column)
    known = "always" if times is None else f"from its column {times.known or times.event}"
    spec = None if times is None else times.to_spec()
    after = f", {spec['after']} later" if spec and times is not None and times.after else ""
    age = view.ttl_of(feature)
    return {
        "computed": str(declared),
        "columns": list(declared.columns),
        "source": view.source.name,
        "happened": "" if times is None else times.event,
        "known": f"{known}{after}",
        "ttl": None if age is None else age / 1_000_000,
        "served": feature in view.served_features,
    }


def _expected(project: Project, listed: Listed) -> list[dict[str, Any]]:
    """What is expected of a view and of its sources, with how the last check went."""
    if listed.kind != "feature_view":
        return []
    sources = [f"source.{each['name']}" for each in sources_of(listed.view.source)]
    rows = []
    for subject in dict.fromkeys([f"view.{listed.name}", *sources]):
        if (found := project.quality.find(subject)) is not None:
            last = project.quality.reports(subject, limit=1)
            verdict = "never checked" if not last else "pass" if last[0].report.passed else "fail"
            at = last[0].run.started.isoformat() if last else None
            rows.append({"subject": subject, "count": len(found.expectations.expected), "verdict": verdict, "at": at})
    return rows


def _said_of(name: str, said: Mapping[str, Deprecation]) -> list[Deprecation]:
    return [each for reference, each in said.items() if reference.partition(":")[0] == name]


def _freshness(project: Project, listed: Listed, users: Users) -> dict[str, Any] | None:
    """How far the online store is, by materialization and by pushes, for older versions that are served too."""
    if listed.kind != "feature_view":
        return None
    found = project.freshness(f"{listed.name}@{listed.version}")
    moments = {"watermark": found.materialized, "pushed": found.pushed, "newest": found.newest}
    return {
        **{name: None if moment is None else moment.isoformat() for name, moment in moments.items()},
        "behind": found.behind,
        "served": _served(project, listed, users),
        "tables": list(found.tables),
    }


def _skew(project: Project, users: Users, references: Collection[str]) -> list[dict[str, Any]]:
    """What the last audit of each deployment found of some features."""
    rows = []
    for use in users.of("deployment"):
        last = project.last_audit(use.id)
        for each in () if last is None else last.features:
            if last is not None and each.feature in references:
                verdict = "skew" if each.mismatches else "stale" if each.stale else "same"
                about = {"deployment": use.name, "id": use.id, "at": last.at.isoformat(), "verdict": verdict}
                told = {"feature": each.feature, "rows": each.rows, "mismatches": each.mismatches}
                rows.append({**about, **told, "reason": each.reason})
    return rows


def _served(project: Project, listed: Listed, users: Users) -> list[dict[str, Any]]:
    """Other versions that deployments answer with, and how far their rows are."""
    found: dict[int, list[str]] = {}
    for use in users.of("deployment", "feature_server"):
        if use.alive and use.version is not None and use.version != listed.version:
            found.setdefault(use.version, []).append(use.name)
    rows = []
    for version, names in sorted(found.items()):
        watermark = project.watermark(project.feature_view(f"{listed.name}@{version}").view)
        moment = None if watermark is None else watermark.isoformat()
        rows.append({"version": version, "by": sorted(set(names)), "watermark": moment})
    return rows


def _used(users: Users) -> dict[str, Any]:
    rows = [use_row(each) for each in users.uses]
    counts: dict[str, int] = {}
    for each in users.uses:
        counts[each.kind] = counts.get(each.kind, 0) + 1
    shown = [row for row in rows if row["kind"] != "training_set"]
    shown += [row for row in rows if row["kind"] == "training_set"][: max(5, _SHOWN - len(shown))]
    shown = shown[: 4 * _SHOWN]
    return {"used_by": shown, "used_by_count": len(rows), "counts": counts}

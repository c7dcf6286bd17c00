"""Which page shows what a pasted id means."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from trivet.errors import Invalid
from trivet.ledger import Run

if TYPE_CHECKING:
    from trivet.project import Project

__all__ = ["place"]


def place(project: Project, reference: str) -> str:
    """The path of the page that shows what ``reference`` means.

    Raises:
        Invalid: it is no reference, or an empty one.
        NotFound: there is no such thing.
    """
    reference = reference.strip()
    if not reference:
        raise Invalid("Paste an id: of a run, an artifact, a prediction, or a name such as delay@champion.")
    if reference.startswith("prediction:"):
        found = project.prediction(reference.removeprefix("prediction:"))
        return f"/predictions/{quote(found['id'], safe='')}"
    if (name := reference.partition("@")[0]) in {version.name for version in project.models()}:
        version = project.model(reference)
        return f"/models/{quote(name, safe='')}/{version.version}"
    name, _, feature = reference.partition(":")
    if name in (known := {listed.name: listed for listed in project.definitions()}):
        if feature in ("", "*"):
            return f"/features/{quote(name, safe='')}"
        if reference in known[name].features:
            return f"/features/{quote(name, safe='')}/{quote(feature, safe='')}"
    if found_of_data := _of_data(project, reference):
        return found_of_data
    record = project.get(reference)
    if isinstance(record, Run):
        return f"/{'deployments' if record.kind == 'serve' else 'runs'}/{record.id}"
    return f"/artifacts/{record.digest}"


def _of_data(project: Project, reference: str) -> str | None:
    """The page of a series, a table, a source or an entity of that name."""
    tables = project.tables.names()
    page = quote(reference, safe="")
    if ":" in reference:
        written = reference.replace(":", ".") in tables
        return f"/series/{page}" if written or reference in project.series.transforms() else None
    if reference in tables:
        return f"/tables/{page}"
    if reference in {each.name for each in project.sources()}:
        return f"/sources/{page}"
    return f"/entities/{page}" if reference in {each.name for each in project.entities()} else None

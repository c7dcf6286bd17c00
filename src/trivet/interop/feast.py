"""From Feast: the definitions of a Feast repository as a Python file of Trivet's, with a list of what did not fit.

The answer is source text, because from then on it belongs to the team that imported it. ``feast_repository`` reads,
in a process of its own and without Feast installed; this module says what each definition is called here.
Differences in meaning are said in the file where they matter: Feast's time to live includes the row that is exactly
as old (https://docs.feast.dev/getting-started/concepts/point-in-time-joins), Trivet's does not.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec

from trivet.errors import Invalid, NotFound
from trivet.features.keytypes import KEY_TYPES
from trivet.interop.feast_repository import Function, Object, Repository
from trivet.types import duration_text

__all__ = ["Imported", "import_feast"]

VIEWS = ("FeatureView", "BatchFeatureView", "StreamFeatureView", "batch_feature_view", "stream_feature_view")
ON_DEMAND = ("OnDemandFeatureView", "on_demand_feature_view")
WRAPPED = ("PushSource", "KafkaSource", "KinesisSource")
TYPES = {
    **dict.fromkeys(("Int32", "Int64", "ValueType.INT32", "ValueType.INT64"), "int"),
    **dict.fromkeys(("Float32", "Float64", "ValueType.FLOAT", "ValueType.DOUBLE"), "float"),
    **dict.fromkeys(("String", "ValueType.STRING"), "string"),
    **dict.fromkeys(("Bool", "ValueType.BOOL"), "bool"),
    **dict.fromkeys(("UnixTimestamp", "ValueType.UNIX_TIMESTAMP"), "time"),
}
AGGREGATES = {"sum": "sum", "count": "count", "mean": "mean", "avg": "mean", "min": "min", "max": "max", "std": "std"}
SILENT = ("Field", "ValueType", "Project", "LoggingConfig", "FileLoggingDestination", "Aggregation", "Projection")
WIDTH = 110
HEADER = '''"""Features imported from the Feast repository {name!r}. They are yours now: edit them here."""

from __future__ import annotations

import trivet as tv
'''


class Imported(msgspec.Struct, frozen=True):
    """What came over.

    Attributes:
        code: a Python file with Trivet's definitions.
        entities, sources, views, on_demand, services: their names.
        left_behind: what could not be carried over, and why or what to do; by name.
        notes: differences in meaning that are worth knowing; by name.
    """

    code: str
    entities: list[str]
    sources: list[str]
    views: list[str]
    on_demand: list[str]
    services: list[str]
    left_behind: dict[str, str]
    notes: dict[str, str]

    def __str__(self) -> str:
        kinds = ("entities", "sources", "views", "on_demand", "services")
        lines = [f"{kind.replace('_', '-'):>10}: {', '.join(getattr(self, kind)) or '-'}" for kind in kinds]
        for title, found in (("left behind", self.left_behind), ("to know", self.notes)):
            lines += [f"\n{title}:", *(f"  {name}: {why}" for name, why in found.items())] if found else []
        return "\n".join(lines)


def import_feast(folder: str | Path) -> Imported:
    """Read a Feast repository and write its definitions in Trivet's words.

    The repository's Python files are executed, in a process of their own; Feast itself need not be installed.

    Raises:
        NotFound: there is no such folder.
        Invalid: it holds no Feast definitions, or reading it failed.
    """
    place = Path(folder)
    if not place.is_dir():
        raise NotFound("folder", str(folder), hint="Name the folder with feature_store.yaml.")
    own = place
    if not any(place.glob("feature_store.y*ml")) and (inner := sorted(place.glob("*/feature_store.y*ml"))):
        if len(inner) > 1:
            found = ", ".join(each.parent.name for each in inner)
            raise Invalid(f"{folder} is no Feast repository, and holds several: {found}. Name one of them.")
        place = inner[0].parent
    repository = _read(place)
    written = _Writer(repository, place)
    if place != own:
        written.notes["repository"] = f"{folder} has no feature_store.yaml; what was read is {place}."
    if not written.entities and not written.views:
        reasons = "; ".join(f"{file}: {why}" for file, why in repository.unreadable.items())
        raise Invalid(f"{folder} defines nothing of Feast's. {reasons or 'Name the folder with feature_store.yaml.'}")
    return written.imported()


def _read(place: Path) -> Repository:
    command = [sys.executable, "-m", "trivet.interop.feast_repository", str(place.resolve())]
    done = subprocess.run(command, cwd=place, capture_output=True, check=False, stdin=subprocess.DEVNULL)
    try:
        return msgspec.json.decode(done.stdout, type=Repository)
    except msgspec.DecodeError as exc:
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise Invalid(f"The Feast repository {place} cannot be read: {last[-1] if last else exc}") from exc


@dataclass
class _Name:
    """A definition that came over: its variable in the file that is written, and its features."""

    variable: str
    name: str
    features: list[str] = field(default_factory=list)


class _Writer:
    """Goes through the objects once and writes a block of text for each that fits."""

    def __init__(self, repository: Repository, place: Path) -> None:
        self.objects, self.place = repository.objects, place
        self.blocks: list[str] = []
        self.imports: dict[str, None] = {}
        self.known: dict[int, _Name] = {}
        self.taken: set[str] = {"tv", "annotations"}
        self.entities: list[str] = []
        self.sources: list[str] = []
        self.views: list[str] = []
        self.on_demand: list[str] = []
        self.services: list[str] = []
        self.left_behind = {file: f"It could not be read: {why}" for file, why in repository.unreadable.items()}
        self.notes: dict[str, str] = {}
        self._combined: dict[tuple[str, ...], str] = {}
        for number, each in enumerate(self.objects):
            self._write(number, each)

    def imported(self) -> Imported:
        imports = "\n".join(sorted(self.imports, key=lambda line: (line.startswith("from"), line)))
        head = HEADER.format(name=self.place.resolve().name)
        if imports:
            head = head.replace("import trivet as tv\n", f"{imports}\n\nimport trivet as tv\n")
        listed = ", ".join(each.variable for each in self.known.values() if each.features or each.name in self.services)
        blocks = [f"\n{block}\n" if "def " in block else block for block in self.blocks]
        code = "\n\n".join([head.rstrip("\n"), *blocks, f"DEFINITIONS = [{listed}]"]) + "\n"
        kinds = (self.entities, self.sources, self.views, self.on_demand, self.services)
        return Imported(code, *kinds, self.left_behind, self.notes)

    def _write(self, number: int, each: Object) -> None:
        name = str(_argument(each, "name", 0) or (each.function.name if each.function else "") or each.variable)
        if each.kind == "Entity":
            self._entity(number, each, name)
        elif each.kind == "FileSource":
            self._file_source(number, each, name)
        elif each.kind in VIEWS:
            self._view(number, each, name)
        elif each.kind in ON_DEMAND:
            self._on_demand(number, each, name)
        elif each.kind == "FeatureService":
            self._service(number, each, name)
        elif each.kind.endswith("Source") and each.kind not in (*WRAPPED, "RequestSource"):
            name = name or str(_argument(each, "table", None) or f"a {each.kind} without a name")
            self.left_behind[name] = (
                f"A {each.kind}. Declare it as tv.Source({name!r}, 'postgresql://...', table=...) if SQLAlchemy reaches it."
            )
        elif each.kind in WRAPPED and _argument(each, "batch_source", None) is not None:
            self.notes[name] = "Its batch source came over; send events with project.push instead."
        elif each.kind.endswith("View") and each.kind not in SILENT:
            self.left_behind[name] = f"Trivet has no {each.kind}."

    # --- one kind each -------------------------------------------------------------------------------------

    def _entity(self, number: int, each: Object, name: str) -> None:
        keys = _argument(each, "join_keys", 1) or [_argument(each, "join_key", None) or name]
        kind = TYPES.get(str(_argument(each, "value_type", 2)))
        own = self._name(name)
        if kind not in KEY_TYPES and kind is not None:
            self.notes[f"type of {own.name}"] = f"No key is of type {kind}, so none is declared."
            kind = None
        options = [f"key={_text(keys[0])}"] + ([f"type={_text(kind)}"] if kind else [])
        code = f"{own.variable} = tv.Entity({_text(own.name)}, {', '.join(options)})"
        self._add(number, own, self._comment(each, own) + code)
        self.entities.append(own.name)

    def _file_source(self, number: int, each: Object, name: str) -> None:
        path = str(_argument(each, "path", None) or _argument(each, "file_url", None) or "")
        name = name if _argument(each, "name", None) else Path(path).stem
        if _argument(each, "field_mapping", None):
            self.left_behind[f"field_mapping of {name}"] = (
                "Rename the columns in a query: tv.Source(sql=..., inputs=[...])."
            )
        if self._kind_of(_argument(each, "file_format", None)) == "DeltaFormat":
            path = f"delta:{path}"
        own = self._name(name)
        options = {
            "event_time": _argument(each, "timestamp_field", None) or _argument(each, "event_timestamp_column", None),
            "created": _argument(each, "created_timestamp_column", None),
        }
        given = {option: value for option, value in options.items() if value}
        if given:
            given["timezone"] = "UTC"  # Feast takes times without a zone for UTC
        if _argument(each, "s3_endpoint_override", None):
            self.left_behind[f"s3_endpoint_override of {own.name}"] = "Set AWS_ENDPOINT_URL in the environment instead."
        if options["created"]:
            self.notes[f"created of {own.name}"] = (
                f"Rows count from {options['created']!r} on, when they reached you. Where that is when a file was generated, "
                "long after the events, all history is null: leave created= out then, or fill it with the event's time."
            )
        code = _call(own.variable, "tv.Source", [_text(own.name), _text(path)], _literal(given))
        self._add(number, own, self._comment(each, own) + code)
        self.sources.append(own.name)

    def _view(self, number: int, each: Object, name: str) -> None:
        source = self._source_of(each)
        if source is None:
            self.left_behind[name] = "Its source did not come over."
            return
        entities = [self.known[ref] for ref in _refs(_argument(each, "entities", None)) if ref in self.known]
        if not entities:
            self.left_behind[name] = "It has no entity. Add one with a constant key, or use a source in a query."
            return
        if each.function is not None:
            self.left_behind[f"the function of {name}"] = (
                "Write it as a view with features=: SQL, or over a Narwhals frame."
            )
        keys = {key for ref in _refs(_argument(each, "entities", None)) for key in self._keys(ref)}
        features = self._features(each, keys)
        own = self._name(name, features)
        options = {"entity": self._entity_of(entities, keys), "source": source.variable}
        options |= {"features": self._declared(each, own)}
        ttl = _argument(each, "ttl", None)
        if isinstance(ttl, dict) and ttl.get("seconds"):
            options["ttl"] = _text(duration_text(round(ttl["seconds"] * 1_000_000)))
            self.notes["ttl"] = "Feast's includes the row that is exactly as old as the ttl, Trivet's does not."
        options |= _literal(self._about(each))
        self._add(number, own, _call(own.variable, "tv.FeatureView", [_text(own.name)], options))
        self.views.append(own.name)

    def _on_demand(self, number: int, each: Object, name: str) -> None:
        if each.function is None or each.function.missing:
            missing = f" It uses {', '.join(each.function.missing)}." if each.function else ""
            self.left_behind[name] = f"Its function could not be read.{missing}"
            return
        sources = _refs(_argument(each, "sources", None))
        lost = [ref for ref in sources if self._view_of(ref) is None and self.objects[ref].kind != "RequestSource"]
        if lost or _argument(each, "singleton", None):
            self.left_behind[name] = (
                "A view that it uses did not come over." if lost else "It handles one row at a time."
            )
            return
        inputs = _used([reference for ref in sources for reference in self._references(ref)], each.function.source)
        request = {
            str(_argument(self.objects[field], "name", 0)): self._request_type(name, self.objects[field])
            for ref in sources
            if self.objects[ref].kind == "RequestSource"
            for field in _refs(_argument(self.objects[ref], "schema", None))
        }
        outputs = [str(_argument(self.objects[ref], "name", 0)) for ref in _refs(_argument(each, "schema", None))]
        own = self._name(name, outputs)
        self._take_imports(each.function.needs)
        pandas = _argument(each, "mode", None) in (None, "pandas")
        self.imports["import pandas as pd" if pandas else "import numpy as np"] = None
        self._add(number, own, _adapter(own, each.function, inputs, request, pandas=pandas))
        self.on_demand.append(own.name)

    def _request_type(self, view: str, field: Object) -> str:
        declared = self._kind_of(_argument(field, "dtype", 1))
        if declared not in TYPES:
            asked = f"the request value {_argument(field, 'name', 0)} of {view}"
            self.notes[asked] = f"Feast's type {declared} is none of Trivet's, so it is asked for as text."
        return TYPES.get(declared, "string")

    def _comment(self, each: Object, own: _Name) -> str:
        """What Feast keeps of an entity or a source and Trivet does not, above its declaration."""
        about = self._about(each)
        if not about:
            return ""
        self.notes[f"{' and '.join(about)} of {own.name}"] = "Stands as a comment: Trivet keeps such words with views."
        told = [" ".join(f"{name}: {value}".split()) for name, value in about.items()]
        return "".join(f"# {line}\n" for line in told)

    def _service(self, number: int, each: Object, name: str) -> None:
        members: list[str] = []
        for ref in _refs(_argument(each, "features", 1)):
            whole = self.known.get(ref)
            references = [whole.variable] if whole else [_text(reference) for reference in self._references(ref)]
            members += references
            if not references:
                mapped = self.objects[ref].kind.endswith(".with_join_key_map")
                self.left_behind[f"a part of service {name}"] = (
                    "It reads a view by other keys. Declare a view of that entity over the same source."
                    if mapped
                    else "A view that it names did not come over."
                )
        if not members:
            self.left_behind[name] = "None of its views came over."
            return
        own = self._name(name)
        options = _literal(self._about(each))
        self._add(
            number, own, _call(own.variable, "tv.FeatureService", [_text(own.name), f"[{', '.join(members)}]"], options)
        )
        self.services.append(own.name)

    # --- parts ---------------------------------------------------------------------------------------------

    def _source_of(self, each: Object) -> _Name | None:
        for ref in _refs([_argument(each, "source", None) or _argument(each, "batch_source", None)]):
            while self.objects[ref].kind in WRAPPED and (
                inner := _refs([_argument(self.objects[ref], "batch_source", None)])
            ):
                ref = inner[0]  # noqa: PLW2901 - down to the source with rows
            return self.known.get(ref)
        return None

    def _features(self, each: Object, keys: set[str]) -> list[str]:
        fields = [
            self.objects[ref] for ref in _refs(_argument(each, "schema", None) or _argument(each, "features", None))
        ]
        names = [str(_argument(one, "name", 0)) for one in fields]
        return [name for name in names if name not in keys]

    def _declared(self, each: Object, own: _Name) -> str:
        """The features as an argument: columns, or windowed aggregates where Feast has them."""
        aggregations = [self.objects[ref] for ref in _refs(_argument(each, "aggregations", None))]
        declared = {}
        for one in aggregations:
            column, function = _argument(one, "column", 0), str(_argument(one, "function", 1))
            window = _argument(one, "time_window", 2)
            if function not in AGGREGATES or not isinstance(window, dict):
                self.left_behind[f"{function}({column}) of {own.name}"] = "No such aggregate over a window."
                continue
            length = timedelta(seconds=window["seconds"])
            name = str(_argument(one, "name", None) or f"{function}_{column}_{int(window['seconds'])}s")
            text = duration_text(round(length.total_seconds() * 1_000_000))
            declared[name] = f"tv.{AGGREGATES[function]}({_text(column)}, {_text(text)})"
        if declared:
            own.features[:] = list(declared)
            return "{" + ", ".join(f"{_text(name)}: {text}" for name, text in declared.items()) + "}"
        return _text(own.features)

    def _entity_of(self, entities: list[_Name], keys: set[str]) -> str:
        """One entity as it is; several as a composite one."""
        if len(entities) == 1:
            return entities[0].variable
        names = tuple(sorted(each.variable for each in entities))
        if names not in self._combined:
            own = self._name("_".join(each.name for each in entities))
            self.blocks.append(f"{own.variable} = tv.Entity({_text(own.name)}, keys={_text(sorted(keys))})")
            self.entities.append(own.name)
            self._combined[names] = own.variable
        return self._combined[names]

    def _keys(self, ref: int) -> list[str]:
        each = self.objects[ref]
        return list(
            _argument(each, "join_keys", 1) or [_argument(each, "join_key", None) or _argument(each, "name", 0)]
        )

    def _view_of(self, ref: int) -> _Name | None:
        each = self.objects[ref]
        if each.kind == "Projection":
            return self._view_of(_refs(each.args)[0])
        found = self.known.get(ref)
        return found if found is not None and found.features else None

    def _references(self, ref: int) -> list[str]:
        """``view:feature`` of what a view, or a part of one, holds."""
        view, each = self._view_of(ref), self.objects[ref]
        if each.kind.endswith(".with_name") and (inner := _refs(each.args)):
            other = each.args[1] if len(each.args) > 1 else each.kwargs.get("name")
            self.notes[f"the name {other}"] = "Trivet calls a view by one name, so its features keep that of the view."
            return self._references(inner[0])
        if view is None:
            return []
        chosen = each.args[1] if each.kind == "Projection" else view.features
        return [f"{view.name}:{feature}" for feature in chosen]

    def _kind_of(self, value: object) -> str:
        found = _refs([value])
        return self.objects[found[0]].kind if found else str(value)

    def _about(self, each: Object) -> dict[str, Any]:
        found = {name: _argument(each, name, None) for name in ("description", "owner", "tags")}
        found["description"] = found["description"] or (each.function.doc if each.function else "")
        return {name: value for name, value in found.items() if value}

    def _take_imports(self, needs: Iterable[str]) -> None:
        for need in needs:
            if need.startswith(("import ", "from ")):
                self.imports[need] = None
            elif need.rstrip("\n") not in self.blocks:
                self.blocks.append(need.rstrip("\n"))

    def _name(self, name: str, features: list[str] | None = None) -> _Name:
        """A name that Trivet accepts and a variable that nothing else has."""
        fitting = re.sub(r"_+", "_", re.sub(r"\W", "_", name)).strip("_")
        fitting = fitting if fitting[:1].isalpha() else f"f_{fitting}"
        if fitting != name:
            self.notes[name] = f"It is called {fitting!r} here."
        variable, number = fitting, 2
        while variable in self.taken:
            variable, number = f"{fitting}_{number}", number + 1
        self.taken.add(variable)
        return _Name(variable, fitting, list(features or []))

    def _add(self, number: int, own: _Name, text: str) -> None:
        self.known[number] = own
        self.blocks.append(text)


def _argument(each: Object, name: str, place: int | None) -> Any:
    if name in each.kwargs:
        return each.kwargs[name]
    return each.args[place] if place is not None and len(each.args) > place else None


def _refs(values: Any) -> list[int]:
    return [each["ref"] for each in values or [] if isinstance(each, dict) and "ref" in each]


def _literal(values: dict[str, Any]) -> dict[str, str]:
    return {name: _text(value) for name, value in values.items()}


def _text(value: Any) -> str:
    """A plain value as Python with double quotes, as formatters want it."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str | list | dict) else repr(value)


def _call(variable: str, function: str, first: list[str], options: dict[str, str]) -> str:
    return _wrapped(f"{variable} = {function}", [*first, *(f"{name}={value}" for name, value in options.items())])


def _wrapped(before: str, arguments: list[str], after: str = "") -> str:
    """A call on one line, or an argument a line where that is too long."""
    line = f"{before}({', '.join(arguments)}){after}"
    if len(line) <= WIDTH:
        return line
    return "\n".join([f"{before}(", *(f"    {argument}," for argument in arguments), f"){after}"])


def _used(references: list[str], source: str) -> list[str]:
    """Of the inputs that a function may use those that its text names; all where it asks what there is."""
    named = [each for each in references if re.search(rf"\b{re.escape(each.partition(':')[2])}\b", source)]
    return references if not named or ".columns" in source or ".items()" in source else named


def _adapter(own: _Name, function: Function, inputs: list[str], request: dict[str, str], *, pandas: bool) -> str:
    """Feast's function as it was, and one around it that takes and answers arrays."""
    inner, names = f"_{own.variable}", [*(each.partition(":")[2] for each in inputs), *request]
    body = function.source.replace(f"def {function.name}(", f"def {inner}(", 1)
    decorator = [
        f"inputs={_text(inputs)}",
        *([f"request={_text(request)}"] if request else []),
        f"name={_text(own.name)}",
    ]
    columns = "{" + ", ".join(f"{_text(name)}: {name}" for name in names) + "}"
    given = f"pd.DataFrame({columns})" if pandas else columns
    answer = "answer[name].to_numpy()" if pandas else "np.asarray(answer[name])"
    return "\n".join(
        [
            f"{body}\n\n",
            _wrapped("@tv.on_demand", decorator),
            _wrapped(f"def {own.variable}", names, ":"),
            f"    answer = {inner}({given})",
            f"    return {{name: {answer} for name in {_text(own.features)}}}",
        ]
    )

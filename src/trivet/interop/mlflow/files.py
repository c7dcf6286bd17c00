"""The files of runs and logged models by path: which artifact of the ledger holds which file a client asks for.

Each file is an output of its run, under its path: the artifact that ``run.file(...)`` makes, so what either side keeps the
other can read. Folders that were kept in one piece are listed file by file.

Invariant: a path is relative and stays below its run; it never becomes a path of this machine.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit

from msgspec.structs import replace

from trivet.digest import is_digest
from trivet.interop.mlflow.identity import experiment_there, model_here, model_there, run_here, run_there
from trivet.interop.mlflow.store import MODEL_KIND, Store
from trivet.interop.mlflow.wire import invalid, missing
from trivet.ledger import Artifact, File, Run

__all__ = ["CONTENT", "Files", "Place", "check_path", "listed", "place_of"]

CONTENT: Final = "mlflow_model"
"""The kind of artifacts that hold the whole of a logged model: a folder with an ``MLmodel`` in it."""
_LONGEST = 1000


class Place(NamedTuple):
    """Where an address of ``mlflow-artifacts:`` leads.

    Attributes:
        owner: the id in the ledger of the run (or the run that stands for a logged model), or an artifact's digest.
        kind: ``run``, ``model`` or ``content``.
        path: what is meant below it, ``""`` for all.
    """

    owner: str
    kind: str
    path: str


class Files:
    """Reads and writes the files of a run."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def of(self, place: Place) -> dict[str, File]:
        """All files of the owner by path, with those below ``place.path`` left to the caller.

        Raises:
            MLflowError: there is no such owner.
        """
        if place.kind == "content":
            return dict(self._store.artifact(place.owner).files)
        return self.of_run(self.owner(place))

    def of_run(self, run: Run) -> dict[str, File]:
        """All files of a run by path."""
        files: dict[str, File] = {}
        for slot, digest in run.outputs.items():
            files.update(self._of_artifact(slot, self._store.artifact(digest), run))
        return files

    def owner(self, place: Place) -> Run:
        """The run that a place belongs to.

        Raises:
            MLflowError: there is none.
        """
        run = self._store.find(place.owner)
        if run is None or (run.kind == MODEL_KIND) != (place.kind == "model"):
            what = f"Run with id={run_there(place.owner)}"
            raise missing(f"Logged model with ID '{model_there(place.owner)}'" if place.kind == "model" else what)
        return run

    def add(self, place: Place, file: File) -> None:
        """Note a stored file under its path; what stood there is replaced."""
        base = PurePosixPath(place.path).name
        artifact = Artifact.of("folder", {"form": "file"}, {base: file}, created=self._store.now())
        with self._store.locked(place.owner):
            run = self.owner(place)
            if run.outputs.get(place.path) == artifact.digest:
                return
            outputs = {**run.outputs, place.path: artifact.digest}
            self._store.ledger.write(artifact, replace(run, outputs=outputs))

    def remove(self, place: Place) -> None:
        """Forget a file, or all files below a folder."""
        with self._store.locked(place.owner):
            run = self.owner(place)
            kept = {
                slot: digest
                for slot, digest in run.outputs.items()
                if not _below(slot, place.path) or self._store.artifact(digest).kind == CONTENT
            }
            if len(kept) == len(run.outputs):
                raise missing(f"No such artifact: '{place.path}'")
            self._store.ledger.write(replace(run, outputs=kept))

    def _of_artifact(self, slot: str, artifact: Artifact, run: Run) -> dict[str, File]:
        if artifact.kind == CONTENT and run.kind != MODEL_KIND:
            return {}  # clients find logged models by asking for them
        if len(artifact.files) == 1 and artifact.spec.get("form") == "file":
            return {slot: next(iter(artifact.files.values()))}
        return {f"{slot}/{name}": file for name, file in artifact.files.items()}


def root_of(run: Run) -> str:
    """The address of the files of a run or a logged model."""
    experiment = experiment_there(run.experiment)
    middle = f"models/{model_there(run.id)}" if run.kind == MODEL_KIND else run_there(run.id)
    return f"mlflow-artifacts:/{experiment}/{middle}/artifacts"


def listed(files: Iterable[tuple[str, File]], folder: str, *, whole: bool = False) -> list[dict[str, Any]]:
    """What lies directly in a folder, by name; ``whole`` paths or only their last part.

    Example:
        >>> files = [("model/MLmodel", File("0" * 64, 3)), ("roc.png", File("0" * 64, 5))]
        >>> listed(files, "")
        [{'path': 'model', 'is_dir': True}, {'path': 'roc.png', 'is_dir': False, 'file_size': 5}]
    """
    found: dict[str, dict[str, Any]] = {}
    start = f"{folder}/" if folder else ""
    for path, file in files:
        if not path.startswith(start):
            continue
        name, slash, _ = path[len(start) :].partition("/")
        shown = start + name if whole else name
        found[name] = (
            {"path": shown, "is_dir": True} if slash else {"path": shown, "is_dir": False, "file_size": file.size}
        )
    return [found[name] for name in sorted(found)]


def place_of(address: str) -> Place:
    """Where ``EXPERIMENT/RUN/artifacts/PATH``, ``EXPERIMENT/models/ID/artifacts/PATH`` or ``content/DIGEST/PATH`` leads.

    Raises:
        MLflowError: it climbs out, or belongs to no run.

    Example:
        >>> place_of("0/01563e3ab5d3d6764c61efb99302bd5b/artifacts/a/b.txt")
        Place(owner='01ARZ3NDEKTSV4RRFFQ69G5FAV', kind='run', path='a/b.txt')
    """
    parts = check_path(address).split("/") if address else []
    match parts:
        case [_, "models", id_, "artifacts", *rest] if found := model_here(id_):
            return Place(found, "model", "/".join(rest))
        case [_, id_, "artifacts", *rest] if found := run_here(id_):
            return Place(found, "run", "/".join(rest))
        case ["content", digest, *rest] if is_digest(digest):
            return Place(digest, "content", "/".join(rest))
    raise missing(f"No run and no logged model keeps its artifacts at '{address[:200]}'.")


def place_of_uri(uri: str) -> Place | None:
    """As ``place_of`` for a whole address, or None where it is none of ours."""
    parts = urlsplit(uri)
    if parts.scheme != "mlflow-artifacts":
        return None
    return place_of(unquote(parts.path).lstrip("/").removeprefix("mlflow/artifacts/").rstrip("/"))


def check_path(path: str) -> str:
    """``path``, where it is relative and stays where it is.

    Raises:
        MLflowError: it does not.

    Example:
        >>> check_path("figures/roc.png")
        'figures/roc.png'
    """
    parts = path.split("/")
    strange = "\\" in path or any(ord(letter) < 32 for letter in path) or len(path) > _LONGEST
    encoded = unquote(path) != path and ".." in unquote(path)
    if (
        strange
        or encoded
        or any(part in {"", ".", ".."} for part in parts)
        or (len(parts[0]) == 2 and parts[0][1] == ":")
    ):
        raise invalid("Invalid path")
    try:
        path.encode()
    except UnicodeEncodeError as exc:
        raise invalid("Invalid path") from exc
    return path


def _below(path: str, folder: str) -> bool:
    return not folder or path == folder or path.startswith(f"{folder}/")

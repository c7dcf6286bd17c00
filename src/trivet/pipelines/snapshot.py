"""The code of one execution as it was when it began: captured, recorded and digested once for all its steps.

Workers import the project's files where they are, so that tracebacks and data beside the code are the user's own.
If a file changes while the pipeline runs, later steps get the recorded code from its archive. Invariant: what is
recorded is what ran.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import trivet
from trivet.pipelines.closure import code_closure, distributions
from trivet.pipelines.code import restore_code
from trivet.pipelines.context import Context
from trivet.pipelines.entry import local_folders
from trivet.pipelines.freshness import forget_doubtful_bytecode
from trivet.pipelines.gitignore import walk
from trivet.pipelines.graph import Graph
from trivet.pipelines.recording import Provenance, project_folders, provenance
from trivet.pipelines.task import Pipeline
from trivet.types import Digest

__all__ = ["Snapshot", "worker_path"]


@dataclass(frozen=True)
class Snapshot:
    """What is known of the code of an execution.

    Attributes:
        known: the recorded code and environment.
        closures: of each entry, the digests of all that it reaches.
        versions: of each entry, the distributions that its code imports.
        folders: what the steps import from while nothing has changed.
        stamps: time and size of each module.
    """

    context: Context
    known: Provenance
    closures: Mapping[str, Mapping[str, Digest]]
    versions: Mapping[str, Mapping[str, str]]
    folders: list[str]
    stamps: Mapping[Path, tuple[int, int] | None]

    @classmethod
    def take(cls, context: Context, pipeline: Pipeline[..., Any], graph: Graph) -> Snapshot:
        """Capture what the steps of ``graph`` need.

        Raises:
            Invalid: a task or the pipeline cannot be imported by a name.
        """
        tasks = {step.task.entry.text: step.task.entry for step in graph.steps.values()}
        folders = project_folders(context, [pipeline.entry, *tasks.values()])
        modules = [folder / name for folder in folders for name in walk(folder) if name.endswith(".py")]
        stamps = {module: _stamp(module) for module in modules}  # before the capture: an edit in between is seen
        forget_doubtful_bytecode(modules)
        return cls(
            context=context,
            known=provenance(context, folders),
            closures={text: code_closure(text, folders) for text in tasks},
            versions={text: distributions(text, folders) for text in tasks},
            folders=worker_path([entry.folder for entry in tasks.values() if entry.folder is not None]),
            stamps=stamps,
        )

    def path(self) -> list[str]:
        """The folders that a step which starts now imports from."""
        if all(_stamp(module) == stamp for module, stamp in self.stamps.items()):
            return self.folders
        return self._archived

    @cached_property
    def _archived(self) -> list[str]:
        code = self.known.code
        place = self.context.root / ".trivet" / "code" / code.digest[:16]
        return [str(folder) for folder in restore_code(code, self.context.blobs, place)]


def worker_path(folders: Collection[Path]) -> list[str]:
    """What goes on the path of a worker of this environment, so that it imports what this process would."""
    ours = Path(trivet.__file__).resolve().parents[1]
    local = local_folders()
    return [str(folder) for folder in dict.fromkeys([*folders, *local, *([ours] if ours in local else [])])]


def _stamp(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size

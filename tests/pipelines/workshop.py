"""A project in a folder of its own, with the embedded ledger and blobs, for tests that run real processes."""

import itertools
import sys
from dataclasses import dataclass
from importlib import import_module, invalidate_caches
from pathlib import Path
from textwrap import dedent
from types import ModuleType

from trivet.clock import system_clock
from trivet.config import Blobs, Ledger, Pipelines, Settings
from trivet.pipelines.context import Context
from trivet.plugins import open_url

_numbers = itertools.count(1)


@dataclass
class Workshop:
    """``module`` is imported from ``file``; its name is never used twice, so nothing of an earlier test is seen."""

    context: Context
    name: str
    file: Path

    @property
    def module(self) -> ModuleType:
        return import_module(self.name)

    def edit(self, old: str, new: str) -> None:
        """Change the file on the disk; what is imported here stays as it was."""
        text = self.file.read_text()
        assert old in text
        self.file.write_text(text.replace(old, new))

    def runs(self, **query):
        from trivet.ledger import RunQuery

        return self.context.ledger.runs(RunQuery(**query))


def build(folder: Path, source: str, *, workers: int = 2, threads: int = 1, host: str = "here") -> Workshop:
    """A project with one module; the caller takes its folder off ``sys.path`` again (``tidy``)."""
    folder = folder.resolve()
    name = f"workshop_{next(_numbers)}"
    file = folder / f"{name}.py"
    file.write_text("import trivet.pipelines.task as tv\n\n" + dedent(source).replace("MODULE", name))
    context = open_context(folder, workers=workers, threads=threads, host=host)
    sys.path.insert(0, str(folder))
    invalidate_caches()
    return Workshop(context, name, file)


def open_context(folder: Path, *, workers: int = 2, threads: int = 1, host: str = "here") -> Context:
    """The embedded project in ``folder``, wired by hand."""
    ledger, blobs = Ledger(), Blobs()
    settings = Settings(root=folder, ledger=ledger, blobs=blobs, pipelines=Pipelines(workers=workers, threads=threads))
    (folder / ".trivet").mkdir(exist_ok=True)
    return Context(
        folder,
        settings,
        open_url("ledger", ledger.url, folder),
        open_url("blobs", blobs.url, folder),
        system_clock,
        "ada",
        host,
    )


def tidy(workshop: Workshop) -> None:
    """Undo ``build``."""
    sys.path.remove(str(workshop.context.root))
    workshop.context.ledger.close()

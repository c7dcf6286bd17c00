"""The documentation as something to run: the blocks of a page in order, in an empty folder.

What a page says to the reader and to the tests at once:

* a ``python`` block is run; the blocks of a page share their names, like one script read from top to bottom.
* a block whose first line is ``# steps.py`` (or ``# conf/trivet.toml``, any language) is saved as that file.
* in a ``console`` block every line ``$ trivet ...`` (and ``$ python ...``) is run and must succeed; other commands
  and all output are for the reader.
* ``<!-- not executed: REASON -->`` before a block leaves it out. Without a reason it is an error.

Run as a script, it plays one page: ``python tests/pages.py PAGE`` in the folder where the page should happen.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,}|~{3,})(?P<language>[\w-]*)[^`]*$")
COMMENT = re.compile(r"^ *<!--\s*not executed(?P<rest>.*?)-->\s*$")
FILE = re.compile(r"^(?:#|//|--) (?P<path>[\w./-]+\.(?:py|toml|sql|yaml|yml|json|csv|txt))$")
COMMANDS = ("trivet", "python")


@dataclass(frozen=True)
class Block:
    """A fenced block: where its first line of code is, counted from 1, and what it is."""

    line: int
    language: str
    code: str
    reason: str | None = None  # why it is not executed; "" where the page forgot to say

    @property
    def file(self) -> str | None:
        """The file that the block says it is."""
        match = FILE.match(self.code.partition("\n")[0])
        return match["path"] if match else None

    @property
    def action(self) -> Literal["save", "execute", "command", "show"]:
        """What is done with it."""
        if self.reason is not None:
            return "show"
        if self.file:
            return "save"
        return {"python": "execute", "console": "command"}.get(self.language, "show")  # type: ignore[return-value]


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a Markdown page in order."""
    found: list[Block] = []
    lines = page.read_text("utf-8").splitlines()
    number, reason = 0, None
    while number < len(lines):
        opening = FENCE.match(lines[number])
        number += 1
        if not opening:
            comment = COMMENT.match(lines[number - 1])
            if comment:
                reason = comment["rest"].removeprefix(":").strip()
            elif lines[number - 1].strip():
                reason = None
            continue
        start = number
        while number < len(lines) and lines[number].strip() != opening["fence"]:
            number += 1
        indent = len(opening["indent"])
        code = "\n".join(line[indent:] for line in lines[start:number]) + "\n"
        found.append(Block(start + 1, opening["language"], code, reason))
        number, reason = number + 1, None
    return found


def commands(block: Block) -> list[str]:
    """The commands of a console block that are ours to run; a backslash continues a line."""
    joined = re.sub(r"\\\n>? *", "", block.code)
    prompts = [line.strip()[1:].strip() for line in joined.splitlines() if line.strip().startswith("$ ")]
    return [command for command in prompts if command.split()[0] in COMMANDS]


def play(page: Path, folder: Path) -> None:
    """Do what the page says, in ``folder``; raises as the page raises."""
    every = blocks(page)
    # The script that the reader would have typed, at the lines of the page, so that tracebacks and source code
    # that is looked up lead to the right place.
    script = folder / f"{page.stem.replace('-', '_')}_page.py"
    script.write_text(_script(every), "utf-8")
    main = types.ModuleType("__main__")
    main.__file__ = str(script)
    sys.modules["__main__"] = main
    sys.argv, sys.path[0] = [str(script)], str(folder)
    for block in every:
        if block.action == "save":
            path = folder / str(block.file)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.code, "utf-8")
        elif block.action == "execute":
            exec(compile("\n" * (block.line - 1) + block.code, str(script), "exec"), main.__dict__)
        elif block.action == "command":
            for command in commands(block):
                run(command, folder, f"{page.name}:{block.line}")


def run(command: str, folder: Path, where: str) -> None:
    """One command of the reader, with ``trivet`` and ``python`` being the ones under test."""
    shims = (
        f'trivet() {{ "{sys.executable}" -c "from trivet.cli import main; main()" "$@"; }}\n'
        f'python() {{ "{sys.executable}" "$@"; }}\n'
    )
    shell = ["bash", "-c", shims + command]
    done = subprocess.run(shell, check=False, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise AssertionError(f"{where}: `{command}` left with {done.returncode}\n{done.stdout}{done.stderr}")


def _script(every: list[Block]) -> str:
    lines: list[str] = []
    for block in every:
        if block.action == "execute":
            lines += [""] * (block.line - 1 - len(lines)) + block.code.splitlines()
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    play(Path(sys.argv[1]), Path(os.getcwd()))  # noqa: PTH109 - the folder as the system names it

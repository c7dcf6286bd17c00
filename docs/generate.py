"""Writes the pages of ``docs/reference`` from the code, or with ``--check`` says which are out of date."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable
from pathlib import Path

import click

HERE = Path(__file__).parent / "reference"


def cli() -> str:
    """Every command with its help, as a terminal shows it."""
    from trivet.cli import COMMANDS, main

    lines = ["# The command line", "", "Generated from the commands themselves (`make docs`).", ""]
    for name in COMMANDS:
        command = main.get_command(click.Context(main), name)
        assert command is not None
        context = click.Context(command, info_name=f"trivet {name}", max_content_width=100, terminal_width=100)
        lines += [f"## trivet {name}", "", "```text", command.get_help(context).rstrip(), "```", ""]
    return "\n".join(lines)


def settings() -> str:
    """Every key of ``trivet.toml`` with its default and its environment variable."""
    from trivet.config import SECTIONS

    lines = [
        "# Settings",
        "",
        "`trivet.toml` in the project's folder; an environment variable comes before the file. Every key has a default",
        "that needs no server. Generated from `trivet.config` (`make docs`).",
        "",
    ]
    for section, shape in SECTIONS.items():
        lines += [f"## [{section}]", "", inspect.cleandoc(shape.__doc__ or ""), ""]
        lines += ["| key | default | environment |", "|---|---|---|"]
        for key in shape.__struct_fields__:
            lines.append(f"| `{key}` | `{getattr(shape(), key)!r}` | `TRIVET_{section.upper()}_{key.upper()}` |")
        lines.append("")
    return "\n".join(lines)


def api() -> str:
    """Every public name with its signature and docstring."""
    import trivet

    lines = ["# The Python API", "", "`import trivet as tv`. Generated from the docstrings (`make docs`).", ""]
    for name in trivet.__all__:
        if name.startswith("__"):
            continue
        lines += _entry(f"tv.{name}", getattr(trivet, name), "##")
    lines += ["# Methods of a project", ""]
    for name, member in inspect.getmembers(trivet.Project, inspect.isfunction):
        if not name.startswith("_"):
            lines += _entry(f"project.{name}", member, "##")
    return "\n".join(lines)


def errors() -> str:
    """The tree of errors."""
    module = importlib.import_module("trivet.errors")
    return "\n".join(["# Errors", "", "```text", inspect.cleandoc(module.__doc__ or ""), "```", ""])


PAGES: dict[str, Callable[[], str]] = {"cli.md": cli, "settings.md": settings, "api.md": api, "errors.md": errors}


def main() -> None:
    """Write the pages, or check them."""
    check, stale = "--check" in sys.argv, []
    for name, page in PAGES.items():
        text, path = page().rstrip() + "\n", HERE / name
        if check and (not path.is_file() or path.read_text("utf-8") != text):
            stale.append(name)
        elif not check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, "utf-8")
    if stale:
        sys.exit(f"Out of date: {', '.join(stale)}. Run `make docs` and commit what it writes.")


def _entry(title: str, value: object, level: str) -> list[str]:
    try:
        signature = str(inspect.signature(value)).replace("'", "")  # type: ignore[arg-type]
    except (TypeError, ValueError):
        signature = ""
    body = inspect.cleandoc(getattr(value, "__doc__", None) or "")
    return [f"{level} {title}", "", "```text", f"{title}{signature}", "", body, "```", ""]


if __name__ == "__main__":
    main()

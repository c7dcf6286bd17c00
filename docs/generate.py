"""Writes the pages that the code can write better: the reference, and the lists of pages in the index.

``python -m docs.generate`` (``make docs``) writes them; ``tests/test_docs.py`` fails when they are out of date.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
NOTE = "<!-- written by `make docs` from the code: change it there -->\n"
LISTS = re.compile(r"(<!-- pages: (?P<folder>[\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def pages() -> dict[Path, str]:
    """The generated pages and what they should say."""
    reference = HERE / "reference"
    return {
        reference / "python.md": python_page(),
        reference / "command-line.md": command_page(),
        reference / "settings.md": settings_page(),
        reference / "errors.md": errors_page(),
        HERE / "index.md": index_page(),
    }


def python_page() -> str:
    """Every public name with its signature and docstring."""
    import trivet

    parts = [f"# The Python API\n\n{NOTE}\nEvery public name, as `import trivet as tv` has it.\n"]
    for name in sorted(getattr(trivet, "__all__", []), key=str.casefold):
        value = getattr(trivet, name)
        if name.startswith("_") or not callable(value):
            continue
        parts.append(f"## `tv.{name}`\n\n{_described(name, value)}")
        if inspect.isclass(value):
            for method, function in _methods(value):
                parts.append(f"### `{name}.{method}`\n\n{_described(method, function)}")
    return "\n".join(parts)


def command_page() -> str:
    """Every command with its help."""
    import trivet.cli

    told = "Every command with its help; each calls only the public API.\n"
    return "\n".join([f"# The command line\n\n{NOTE}\n{told}", *_commands(trivet.cli.main, "trivet")])


def settings_page() -> str:
    """Every setting with its default and the environment variable that overrides it."""
    from trivet.config import FILE, SECTIONS

    parts = [f"# Settings\n\n{NOTE}\nIn `{FILE}`, all of them optional; an environment variable overrides the file.\n"]
    for section, shape in SECTIONS.items():
        parts.append(f"## `[{section}]`\n\n{inspect.getdoc(shape)}\n\n| key | default | environment |\n|---|---|---|")
        defaults = shape()
        for key in shape.__struct_fields__:
            variable = f"TRIVET_{section}_{key}".upper()
            parts.append(f"| `{key}` | `{getattr(defaults, key)!r}` | `{variable}` |")
        parts.append("")
    return "\n".join(parts)


def errors_page() -> str:
    """Every error that Trivet raises on purpose."""
    from trivet import errors

    told = "What Trivet raises on purpose, each a sentence: what was asked, what exists, what to do.\n"
    parts = [f"# Errors\n\n{NOTE}\n{told}", f"```text\n{_tree(errors.__doc__ or '')}```\n"]
    for name in errors.__all__:
        error = getattr(errors, name)
        if inspect.isclass(error):
            parts.append(f"## `{name}`\n\n{_prose(error)}")
    return "\n".join(parts)


def index_page() -> str:
    """The index as it stands, with its lists of pages brought up to date."""
    path = HERE / "index.md"

    def listed(match: re.Match[str]) -> str:
        lines = [_line(page) for page in sorted((HERE / match["folder"]).rglob("*.md"))]
        return match[1] + "".join(lines) + match[3]

    return LISTS.sub(listed, path.read_text("utf-8"))


def _line(page: Path) -> str:
    text = re.sub(r"<!--.*?-->", "", page.read_text("utf-8"), flags=re.DOTALL)
    title, _, rest = text.partition("\n")
    first = next((part for part in rest.split("\n\n") if re.match(r"\s*(?!```)[A-Z`*]", part)), "")
    sentence = re.match(r"(.+?[.!?:])(?=\s|$)", " ".join(first.split()))
    said = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", sentence[1].rstrip(":.")) if sentence else ""
    after = f". {said}" + "." * (not said.endswith(("?", "!"))) if said else ""
    return f"- [{title.lstrip('# ')}]({page.relative_to(HERE)}){after}\n"


def _described(name: str, value: Any) -> str:
    said = f": {_returned(value.fget)}" if isinstance(value, property) else _signature(value)
    return f"```text\n{name}{said}\n```\n\n{_prose(value)}"


def _returned(getter: Any) -> str:
    return str(_written(inspect.signature(getter).return_annotation))


class _Written(str):
    """An annotation as it stands in the code, without the quotes that it got by being postponed."""

    __slots__ = ()
    __repr__ = str.__str__


def _signature(value: Any) -> str:
    try:
        found = inspect.signature(value)
    except (TypeError, ValueError):  # some classes of C extensions tell no signature
        return "(...)"
    parameters = [each.replace(annotation=_written(each.annotation)) for each in found.parameters.values()]
    returns = inspect.Signature.empty if found.return_annotation == "None" else _written(found.return_annotation)
    text = str(found.replace(parameters=parameters, return_annotation=returns))
    return re.sub(r" at 0x[0-9a-f]+", "", text)


def _written(annotation: Any) -> Any:
    return _Written(annotation) if isinstance(annotation, str) else annotation


def _prose(value: Any) -> str:
    """The docstring, its examples and its sections of arguments shown as written."""
    text = inspect.getdoc(value) or ""
    parts = re.split(r"\n(?=(?:Args|Attributes|Example|Examples|Raises|Returns|Yields):\n)", text)
    shown = [parts[0].replace("::\n", ":\n")]
    for part in parts[1:]:
        title, _, body = part.partition("\n")
        language = "pycon" if title.startswith("Example") else "text"
        shown.append(f"**{title.rstrip(':')}**\n\n```{language}\n{inspect.cleandoc(body)}\n```")
    return "\n\n".join(part.strip() for part in shown) + "\n"


def _methods(value: type) -> Iterator[tuple[str, Any]]:
    """The public methods and properties that a class says something about."""
    ours = [each for each in reversed(value.__mro__) if each.__module__.startswith("trivet.")]
    for name, member in {name: each for one in ours for name, each in vars(one).items()}.items():
        function = member.__func__ if isinstance(member, classmethod | staticmethod) else member
        function = property(function.func) if isinstance(function, cached_property) else function
        told = inspect.isfunction(function) or isinstance(function, property)
        if not name.startswith("_") and told and function.__doc__:
            yield name, function


def _commands(command: Any, path: str, parent: Any = None) -> list[str]:
    import click

    settings = command.context_settings | {"terminal_width": 100, "max_content_width": 100}
    context = click.Context(command, info_name=path.rpartition(" ")[2], parent=parent, **settings)
    parts = [f"## `{path}`\n\n```text\n{command.get_help(context).strip()}\n```\n"]
    for name in command.list_commands(context) if isinstance(command, click.Group) else []:
        found = command.get_command(context, name)
        if found is not None and not found.hidden:
            parts += _commands(found, f"{path} {name}", context)
    return parts


def _tree(text: str) -> str:
    return "".join(line[4:] + "\n" for line in text.splitlines() if line.startswith("    "))


def write() -> None:
    """Write every generated page; twice, because the index quotes the others."""
    for _ in range(2):
        for path, text in pages().items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")


if __name__ == "__main__":
    write()

"""What every command shares: the project, ``--json``, tables, and errors as one sentence with an exit code.

Exit codes: 0 done, 1 the answer is no or the work failed, 2 the call was wrong, 130 interrupted.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click
import msgspec

from trivet.errors import TrivetError

if TYPE_CHECKING:
    from rich.console import Console

    from trivet.project import Project

__all__ = ["Output", "age", "command", "console", "percent", "table"]


class Output:
    """Where a command says what it found: once for people and once for machines."""

    def __init__(self, *, as_json: bool, project: str | None) -> None:
        self.as_json = as_json
        self._folder = project

    @functools.cached_property
    def project(self) -> Project:
        """The project of ``--project``, opened when first asked for."""
        from trivet.project import open  # noqa: A004

        return open(self._folder)

    def say(self, data: Any, *shown: Any) -> None:
        """Print ``data`` as JSON, or ``shown`` (text or Rich renderables) for people."""
        if self.as_json:
            text = msgspec.json.format(msgspec.json.encode(data, enc_hook=_plain), indent=2)
            click.echo(text.decode())
            return
        for item in shown:
            console().print(item, highlight=False)

    def note(self, text: str) -> None:
        """A line for people on standard error; nothing for machines."""
        if not self.as_json:
            console(stderr=True).print(text, style="dim", highlight=False)


def command(name: str, **settings: Any) -> Callable[[Callable[..., None]], click.Command]:
    """A click command that gets an ``Output`` first, has ``--json`` and ``--project``, and fails in a sentence."""

    def decorate(function: Callable[..., None]) -> click.Command:
        @functools.wraps(function)
        def wrapped(*, as_json: bool, project: str | None, **arguments: Any) -> None:
            output = Output(as_json=as_json, project=project)
            try:
                function(output, **arguments)
            except TrivetError as exc:
                _fail(output, exc)
            except KeyboardInterrupt:
                click.echo("Interrupted. What was recorded stays; run the same command again to go on.", err=True)
                sys.exit(130)
            finally:
                if "project" in output.__dict__:
                    output.project.close()

        with_json = click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
        with_project = click.option("--project", metavar="FOLDER", help="The project's folder. [default: this one]")
        made: click.Command = with_project(with_json(click.command(name, **settings)(wrapped)))
        return made

    return decorate


@functools.cache
def console(*, stderr: bool = False) -> Console:
    """The terminal, as wide as it is; 120 columns where there is none, so that pipes are readable."""
    from rich.console import Console

    made = Console(stderr=stderr, soft_wrap=False)
    return made if made.is_terminal else Console(stderr=stderr, width=120)


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, title: str | None = None) -> Any:
    """A table without ruled boxes; numbers to the right."""
    from rich.table import Table
    from rich.text import Text

    made = Table(title=title, box=None, pad_edge=False, title_justify="left", header_style="bold", padding=(0, 2, 0, 0))
    for index, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[index], int | float | None) for row in rows)
        made.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        made.add_row(*(Text(_cell(value)) for value in row))
    return made


def age(moment: datetime | None, now: datetime) -> str:
    """How long ago, in the largest unit that fits.

    Example:
        >>> from datetime import UTC, timedelta
        >>> now = datetime(2026, 1, 2, tzinfo=UTC)
        >>> age(now - timedelta(hours=5), now), age(None, now)
        ('5 h ago', 'never')
    """
    if moment is None:
        return "never"
    seconds = max(0, int((now - moment).total_seconds()))
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit} ago"
    return f"{seconds} s ago"


def percent(value: float | None) -> str:
    """A share as text.

    Example:
        >>> percent(0.2314), percent(None)
        ('23.1 %', '-')
    """
    return "-" if value is None else f"{100 * value:.1f} %"


def _cell(value: Any) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.4g}"
        case datetime():
            return value.strftime("%Y-%m-%d %H:%M:%S")
        case Mapping():
            return ", ".join(f"{key}={_cell(item)}" for key, item in value.items())
        case list() | tuple():
            return ", ".join(map(_cell, value))
        case _:
            return str(value)


def _fail(output: Output, exc: TrivetError) -> None:
    if output.as_json:
        click.echo(msgspec.json.encode({"error": exc.code, "message": exc.message}).decode())
    else:
        click.echo(f"Error: {exc.message}", err=True)
    sys.exit(1)


def _plain(value: Any) -> Any:
    if hasattr(value, "to_json"):
        return value.to_json()
    if hasattr(value, "__fspath__"):
        return str(value)
    raise NotImplementedError(type(value).__name__)

"""What every command shares: the project, ``--json``, tables, and errors as one sentence with an exit code.

Exit codes: 0 done, 1 the answer is no or the work failed, 2 the call was wrong, 130 interrupted. Where "no" and "could
not be answered" must be told apart, the latter is 3 (``reproduce``).
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn

import click
import msgspec

from trivet.cli.outline import said
from trivet.errors import TrivetError

if TYPE_CHECKING:
    from trivet.project import Project

__all__ = ["Noun", "Output", "age", "command", "fail", "seconds", "shortlist", "table"]

_WIDE = 200


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
        """Print ``data`` as JSON, or ``shown`` for people: text, Rich renderables, or bytes exactly as they are."""
        if self.as_json:
            text = msgspec.json.format(msgspec.json.encode(data, enc_hook=_plain), indent=2)
            click.echo(text.decode())
            return
        for item in shown:
            click.echo(item if isinstance(item, str | bytes) else _rendered(item), nl=not isinstance(item, bytes))

    def note(self, text: str) -> None:
        """A line for people on standard error; nothing for machines."""
        if not self.as_json:
            click.secho(text, err=True, dim=True)


def command(name: str, **settings: Any) -> Callable[[Callable[..., None]], click.Command]:
    """A click command that gets an ``Output`` first, has ``--json`` and ``--project``, and fails in a sentence."""

    def decorate(function: Callable[..., None]) -> click.Command:
        @functools.wraps(function)
        def wrapped(*, as_json: bool, project: str | None, **arguments: Any) -> None:
            output = Output(as_json=as_json, project=project)
            try:
                function(output, **arguments)
            except TrivetError as exc:
                fail(output, exc)
            except KeyboardInterrupt:
                click.echo("Interrupted. What was recorded stays; run the same command again to go on.", err=True)
                sys.exit(130)
            finally:
                if "project" in output.__dict__:
                    output.project.close()

        with_json = click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
        with_project = click.option("--project", metavar="FOLDER", help="The project's folder. [default: this one]")
        make: Callable[[Callable[..., None]], click.Command] = click.command(name, **settings)
        return with_project(with_json(make(wrapped)))

    return decorate


class Noun(click.Group):
    """A group that takes what is none of its verbs for the name of a thing to show."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put ``show`` in front where no verb is given."""
        if not args or (args[0] not in self.commands and args[0] not in ctx.help_option_names):
            args = ["show", *args]
        return super().parse_args(ctx, args)


def _rendered(item: Any) -> str:
    """A table or tree as text: as wide as the terminal; as wide as it needs, to 200, where it is read by a program."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDE)
    with console.capture() as captured:
        console.print(item, highlight=False)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, fold: Collection[str] = ()) -> Any:
    """A table without ruled boxes; numbers to the right. Only the columns of ``fold`` may run over several lines."""
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0), show_header=any(columns))
    for index, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[index], int | float | None) for row in rows)
        made.add_column(column, justify="right" if numeric else "left", no_wrap=column not in fold, overflow="fold")
    for row in rows:
        made.add_row(*(Text(said(value)) for value in row))
    return made


def shortlist(metrics: Mapping[str, float], most: int = 3) -> dict[str, float] | None:
    """The metrics that a line of a table has room for."""
    return dict(sorted(metrics.items())[:most]) or None


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


def seconds(value: float | None) -> str:
    """A length of time.

    Example:
        >>> seconds(0.0691), seconds(28.17), seconds(89.8), seconds(7300.0), seconds(None)
        ('69 ms', '28.2 s', '1 min 30 s', '2 h 1 min', '-')
    """
    if value is None:
        return "-"
    if value < 60:
        return f"{value:.1f} s" if value >= 1 else f"{1000 * value:.0f} ms"
    whole = round(value)
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"


def fail(output: Output, exc: TrivetError, *, status: int = 1) -> NoReturn:
    """Say in a sentence, or in JSON, what went wrong, and leave."""
    if output.as_json:
        click.echo(msgspec.json.encode({"error": exc.code, "message": exc.message}).decode())
    else:
        click.echo(f"Error: {exc.message}", err=True)
    sys.exit(status)


def _plain(value: Any) -> Any:
    if hasattr(value, "to_json"):
        return value.to_json()
    if hasattr(value, "__fspath__"):
        return str(value)
    raise NotImplementedError(type(value).__name__)

"""``trivet server``: the web pages and the API."""

from __future__ import annotations

import click

from trivet.cli.output import Output
from trivet.cli.output import command as trivet_command

__all__ = ["command"]


@trivet_command("server", short_help="Show the web pages and the API.")
@click.option("--port", type=click.IntRange(0, 65_535), help="[default: 8416, or [server] port]")
@click.option("--host", help="[default: 127.0.0.1; other addresses are refused without authentication]")
def command(output: Output, port: int | None, host: str | None) -> None:
    """Show the project's pages on a loopback address, until interrupted."""
    from trivet.interop.mlflow import routes
    from trivet.server.app import create_app
    from trivet.serving.service import run

    settings = output.project.context.settings.server

    def ready(host: str, port: int) -> None:
        address = f"http://{host}:{port}"
        output.say({"address": address}, f"The pages of {output.project.root} are at {address} until Ctrl-C.")

    run(
        create_app(output.project, routes(output.project.context)),
        host or settings.host,
        settings.port if port is None else port,
        on_ready=ready,
    )

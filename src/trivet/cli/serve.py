"""``trivet serve``: answer predictions of a model, or features alone, over HTTP."""

from __future__ import annotations

import click

from trivet.cli.output import Output
from trivet.cli.output import command as trivet_command

__all__ = ["command"]


@trivet_command("serve", short_help="Answer predictions of a model, or features, over HTTP.")
@click.argument("model", required=False)
@click.option(
    "--features", "wanted", metavar="NAMES", help="Answer these features without a model: 'weather:*,planes'."
)
@click.option("--port", type=click.IntRange(0, 65_535), help="[default: 8417, or [serving] port]")
@click.option("--host", help="[default: 127.0.0.1; other addresses are refused without authentication]")
@click.option("--max-silence", metavar="DURATION", help="Longer without a prediction raises the dead-model alarm.")
@click.option("--allow-ungated", metavar="REASON", help="Serve without a passing gate report; who and why is recorded.")
def command(
    output: Output,
    *,
    model: str | None,
    wanted: str | None,
    port: int | None,
    host: str | None,
    max_silence: str | None,
    allow_ungated: str | None,
) -> None:
    """Answer predictions of MODEL (delay@champion) by entity key, until interrupted.

    Only a model with a passing gate report is served. Its features are answered at POST /features. With --features and
    no model that is all: views, references and services, by entity key, for teams that score elsewhere.
    """
    project = output.project
    if (model is None) == (wanted is None):
        raise click.UsageError("Give a MODEL, or --features without one.")
    if wanted is not None:
        names = [name.strip() for name in wanted.split(",") if name.strip()]
        project.serve_features(names, host=host, port=port, ready=lambda address: _told(output, wanted, address))
        return
    assert model is not None
    deployment = project.deploy(model, allow_ungated=allow_ungated, max_silence=max_silence)

    def ready(address: str) -> None:
        output.say(
            {"deployment": deployment.id, "address": address},
            f"{deployment.name}@{deployment.version} answers on {address} (deployment run:{deployment.id}).",
            f"Try: curl -s {address}/ ; stop it with Ctrl-C.",
        )

    project.serve(deployment, host=host, port=port, ready=ready)


def _told(output: Output, wanted: str, address: str) -> None:
    output.say(
        {"features": wanted, "address": address},
        f"The features {wanted} answer on {address}/features.",
        f"Try: curl -s {address}/ ; stop it with Ctrl-C.",
    )

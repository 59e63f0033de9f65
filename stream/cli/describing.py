"""The command that describes the topics to other programs: asyncapi."""

import sys

import typer


def register(app: typer.Typer) -> None:
    """Add this module's commands to *app*."""
    app.command()(asyncapi)


def asyncapi() -> None:
    """Print the topics and their messages as an AsyncAPI 3 document (YAML)."""
    from stream.asyncapi.document import yaml_text

    sys.stdout.write(yaml_text())
    sys.stdout.flush()  # a reader that has gone away is met here, and not at the exit

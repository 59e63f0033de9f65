"""The application: commands put together from their modules, and how they end.

Exit codes: 0 done, 1 an error of which one sentence is printed, 2 wrong usage, 130 interrupted.
"""

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from scoring.errors import ScoringError
from stream.cli import (
    boarding,
    burying,
    checking,
    collecting,
    describing,
    forgetting,
    importing,
    kpis,
    notifying,
    operating,
    reading,
    resolving,
    running,
    saving,
    scoring_files,
)
from stream.cli.output import say
from stream.errors import SurgelineError


class Commands(TyperGroup):
    """Our commands; errors that are meant for people end as one line on standard error."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that *ctx* names."""
        try:
            return super().invoke(ctx)
        except (ScoringError, SurgelineError) as error:
            say(str(error))
            raise typer.Exit(1) from None


def create_app() -> typer.Typer:
    """Return the command line with all its commands."""
    app = typer.Typer(
        name="surgeline",
        cls=Commands,
        help="Tells a sales team which accounts are warming up, and why.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    for module in (
        running,
        reading,
        kpis,
        boarding,
        collecting,
        scoring_files,
        operating,
        checking,
        saving,
        burying,
        notifying,
        resolving,
        importing,
        describing,
        forgetting,
    ):
        module.register(app)
    return app


def _version(asked: bool) -> None:
    if asked:
        from stream.version import installed_version

        print(f"surgeline {installed_version()}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and end.", callback=_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Tells a sales team which accounts are warming up, and why."""


def main() -> None:
    """Run the command that the process's arguments name."""
    create_app()(prog_name="surgeline")


if __name__ == "__main__":
    main()

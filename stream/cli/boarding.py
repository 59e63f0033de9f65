"""Commands of the board: serve it, and make tokens for it."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from stream.cli.options import KafkaUrl, ModelFile, RedisUrl
from stream.cli.output import say
from stream.cli.running import PortFile, run_fast


class RoleName(StrEnum):
    """What the holder of a token may do."""

    READER = "reader"
    OPERATOR = "operator"


def register(app: typer.Typer) -> None:
    """Add this module's commands to *app*."""
    app.command()(board)
    app.command(name="board-token")(board_token)


def board(
    host: Annotated[str | None, typer.Option(help="Instead of SURGELINE_BOARD_HOST.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="Instead of SURGELINE_BOARD_PORT.")
    ] = None,
    redis_url: RedisUrl = None,
    kafka_url: KafkaUrl = None,
    model: ModelFile = None,
    port_file: PortFile = None,
) -> None:
    """Serve the page and the HTTP API until it is told to stop."""
    from stream.logs import process_logs
    from stream.settings import load_settings

    settings = load_settings(
        board_host=host, board_port=port, redis_url=redis_url, kafka_url=kafka_url, model=model
    )
    with process_logs("board", settings.log_level, settings.log_format):
        from stream.board.serving import run_board

        run_fast(run_board(settings, port_file=port_file))


def board_token(
    name: Annotated[str, typer.Argument(help="Whose token it is.")],
    role: Annotated[
        RoleName, typer.Option(help="operator: may acknowledge and mute too.")
    ] = RoleName.READER,
    file: Annotated[
        Path | None,
        typer.Option(help="Add it to this file, instead of SURGELINE_BOARD_TOKENS_FILE."),
    ] = None,
) -> None:
    """Make a token for the board and print it, once: the file holds only its hash."""
    from stream.board.tokens import add_token_line, new_token
    from stream.settings import load_settings

    token, line = new_token(name, role.value)
    chosen = file or load_settings().board_tokens_file
    if chosen is None:
        say(f"add this line to the file that SURGELINE_BOARD_TOKENS_FILE will name: {line}")
    else:
        add_token_line(chosen, line)
        say(f"{name} is in {chosen}; the board knows it within seconds.")
    print(token)

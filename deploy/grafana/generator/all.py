"""All dashboards, as the JSON that Grafana reads."""

import json
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from deploy.grafana.generator import engagement, funnel, pipeline, revenue


def dashboards() -> dict[str, str]:
    """Return file name -> JSON of every dashboard, the same every time."""
    boards = (funnel.board(), engagement.board(), revenue.board(), pipeline.board())
    return {
        f"{str(each.uid).removeprefix('surgeline-')}.json": json.dumps(
            each, cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False
        )
        + "\n"
        for each in (board.build() for board in boards)
    }


def written(directory: Path) -> None:
    """Write every dashboard into *directory*."""
    for name, text in dashboards().items():
        (directory / name).write_text(text, encoding="utf-8")

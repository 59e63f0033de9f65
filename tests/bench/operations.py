"""What operators ask: backlogs, bursts, crashes, cold starts and rolling restarts, in figures.

On Apache Kafka and Redis of its own for each situation, with the settings and the broker's
rebalance delay as they are by default.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.table import Table

from stream.cli.output import terminal
from tests.bench import backlog, burst, cold_start, recovery, rolling
from tests.bench.ground import BROKER, Ground, Result, prepared, servers
from tests.bench.meter import machine
from tests.bench.plan import PARTITIONS, SESSION_SECONDS
from tests.bench.processes import NotMeasured
from tests.kafka_node import KAFKA_VERSION, ServerUnavailable

BEGIN, END = "<!-- operations -->", "<!-- /operations -->"


class Situation(NamedTuple):
    """One thing that happens to an installation."""

    title: str
    measure: Callable[[Ground], Awaitable[Result]]
    partitions: int = PARTITIONS


SITUATIONS: Mapping[str, Situation] = {
    "backlog": Situation("Backpressure", backlog.measure),
    "burst": Situation("Burst", burst.measure),
    "recovery": Situation("Recovery", recovery.measure, partitions=1),
    "cold": Situation("Cold start", cold_start.measure),
    "rolling": Situation("Rolling restart", rolling.measure),
}

Results = Mapping[str, Result]


def run(names: Sequence[str], *, small: bool, logs: Path | None) -> dict[str, Result]:
    """Measure the situations *names*, each on servers of its own."""
    found = {}
    for name in names:
        situation = SITUATIONS[name]
        print(f"{situation.title} ...", file=sys.stderr, flush=True)
        own_logs = None if logs is None else logs / name
        with servers(own_logs) as (kafka, redis, directory):
            found[name] = asyncio.run(
                _measure(situation, kafka.address, redis.url, directory, small=small)
            )
    return found


async def _measure(
    situation: Situation, kafka: str, redis_url: str, directory: Path, *, small: bool
) -> Result:
    async with prepared(
        kafka, redis_url, directory, small=small, partitions=situation.partitions
    ) as ground:
        return await situation.measure(ground)


def conditions(results: Results, described: Mapping[str, Any], *, small: bool) -> str:
    """Return the sentence that says on what the figures were measured."""
    size = ", a small run" if small else ""
    return (
        f"`make bench-operations`{size}, on {described['cpus']} cores shared with everything else "
        f"(Python {described['python']}): Apache Kafka {KAFKA_VERSION}, {PARTITIONS} partitions"
        f"{' (recovery: 1)' if 'recovery' in results else ''}, sessions of {SESSION_SECONDS:.0f} s, "
        f"`group.initial.rebalance.delay.ms={BROKER['group.initial.rebalance.delay.ms']}`."
    )


def markdown(results: Results, sentence: str) -> str:
    """Return the table for a Markdown file."""
    lines = [sentence, "", "| | measured | goal |", "| --- | ---: | ---: |"]
    for name, result in results.items():
        for number, figure in enumerate(result.figures):
            title = f"**{SITUATIONS[name].title}**: " if number == 0 else ""
            lines.append(f"| {title}{figure.what} | {figure.measured} | {figure.goal} |")
    return "\n".join(lines)


def rewrite(path: Path, text: str) -> None:
    """Put *text* between the markers of the file at *path*."""
    before, begin, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise NotMeasured(f"{path} has no {BEGIN} ... {END}.")
    path.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


def table(results: Results, sentence: str) -> Table:
    """Return the table for a terminal."""
    made = Table(title="Operations", caption=sentence.replace("`", ""))
    made.add_column("")
    made.add_column("what")
    made.add_column("measured", justify="right")
    made.add_column("goal", justify="right")
    for name, result in results.items():
        for number, figure in enumerate(result.figures):
            made.add_row(SITUATIONS[name].title if number == 0 else "", *figure)
        made.add_section()
    return made


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.operations", description=__doc__)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--only", default="", help=f"some of {','.join(SITUATIONS)}")
    parser.add_argument("--small", action="store_true", help="smaller numbers, less time")
    parser.add_argument("--write", type=Path, help="Markdown file whose table is replaced")
    parser.add_argument("--logs", type=Path, help="directory in which the workers' logs are kept")
    asked = parser.parse_args(arguments)
    asked.names = asked.only.split(",") if asked.only else list(SITUATIONS)
    if unknown := set(asked.names) - set(SITUATIONS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    if asked.write and (asked.only or asked.small):
        parser.error("--write wants all figures, in full")
    return asked


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark; return the exit code."""
    asked, described = _parsed(arguments), machine()
    try:
        results = run(asked.names, small=asked.small, logs=asked.logs)
        sentence = conditions(results, described, small=asked.small)
        terminal().print(table(results, sentence))
        if asked.write is not None:
            rewrite(asked.write, markdown(results, sentence))
    except (NotMeasured, ServerUnavailable) as error:
        print(error, file=sys.stderr)
        return 1
    if asked.json is not None:
        written = {"machine": described, **{n: each.data for n, each in results.items()}}
        asked.json.write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

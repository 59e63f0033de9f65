"""The audit: what a stream left behind, against the scores of its files and against itself."""

import datetime as dt
import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.place import Place
from tests.system.faults.cluster import Cluster, Read
from tests.system.faults.stream import Kind, Stream
from tests.system.harness import Json, differences, rows

ENTER_MINUTES = 5.0
LEAVE_MINUTES = 2.5
HALF_LIFE_SECONDS = 14 * 86_400.0
IN_THE_BAND = {"target", "engaged"}
SHOWN = 20


@dataclass
class Audit:
    """What is wrong, and how much was lost or counted twice."""

    lost: int = 0
    double: int = 0
    problems: list[str] = field(default_factory=list)

    def compare(self, what: str, *, expected: int, found: int) -> None:
        """Count what is missing as lost, what is too much as double."""
        self.lost += max(0, expected - found)
        self.double += max(0, found - expected)
        if expected != found:
            self.problems.append(f"{what}: {found} instead of {expected}")

    def blame(self, problems: Iterable[str]) -> None:
        """Note what is wrong."""
        self.problems += problems

    def __str__(self) -> str:
        shown = self.problems[:SHOWN]
        return "\n".join([f"{len(self.problems)} problems, such as:", *shown])


def audited(place: Place, cluster: Cluster, stream: Stream, reference: Sequence[Json]) -> Audit:
    """Compare what *place* holds with *reference*, once it has settled."""
    audit = Audit()
    found = place.accounts(stream.as_of)
    _scores(audit, found, reference)
    hashes = place.hashes()
    funnel = place.funnel()
    audit.blame(board_problems(place, hashes))
    audit.blame(funnel_problems(funnel, hashes))
    if place.outbox():
        audit.blame([f"{place.outbox()} entries wait in the outbox"])
    _announcements(audit, cluster, funnel, hashes)
    for topic, kind in (("dead-letters", Kind.BAD), ("unresolved", Kind.UNRESOLVED)):
        expected = stream.count(kind)
        origins = _origins(cluster, topic, expected)
        audit.compare(topic, expected=expected, found=len(origins))
    return audit


def scored_alone(place: Place, stream: Stream, directory: Path) -> list[Json]:
    """Return the accounts that `surgeline score` makes of the stream's files."""
    files = [str(each) for each in stream.write(directory)]
    done = place.run("score", *files, "--as-of", stream.as_of, "--json")
    assert done.returncode == 0, done.stderr
    return rows(done.stdout)


def transitions(cluster: Cluster) -> dict[str, Json]:
    """Return id -> transition of all that was announced by now."""
    return _by_id(cluster.read("score-changes", bool))


def _scores(audit: Audit, found: Sequence[Json], reference: Sequence[Json]) -> None:
    ours = {each["account_id"]: each for each in found}
    theirs = {each["account_id"]: each for each in reference}
    for name in sorted(ours.keys() | theirs.keys()):
        mine, other = ours.get(name, {}), theirs.get(name, {})
        audit.compare(
            f"events of {name!r}", expected=other.get("events", 0), found=mine.get("events", 0)
        )
        if mine and other and not _same_stage(mine, other):
            audit.blame([f"{name!r} is {mine['stage']} instead of {other['stage']}"])
    audit.blame(differences(found, reference))


def _same_stage(mine: Json, other: Json) -> bool:
    if mine["stage"] == other["stage"]:
        return True
    inside = LEAVE_MINUTES - 1e-6 <= mine["engagement_minutes"] <= ENTER_MINUTES + 1e-6
    return inside and {mine["stage"], other["stage"]} == IN_THE_BAND


def board_problems(place: Place, hashes: dict[str, dict[str, str]]) -> list[str]:
    """Compare the leaderboards with the account hashes, which round to four places."""
    problems = []
    for board in ("engagement", "intent_surge", "relationship"):
        ranked: dict[str, float] = {}
        for shard in range(place.partitions):
            key = f"sl:{{{shard}}}:top:{board}"
            members: Any = place.redis.zrange(key, 0, -1, withscores=True)
            ranked.update({name.decode(): score for name, score in members})
        for name, stored in hashes.items():
            at, shown = ranked.pop(name, None), _on_board(board, stored)
            if at is None and float(stored[_FIELD[board]]) > 0:
                problems.append(f"{name!r} is missing from {board}")
            elif (
                at is not None and shown is not None and abs(at - shown) > _tolerance(board, stored)
            ):
                problems.append(f"{name!r} is at {at} of {board}, its hash says {shown}")
        problems += [f"{name!r} is on {board} without an account" for name in ranked]
    return problems


_FIELD = {
    "engagement": "engagement_minutes",
    "intent_surge": "intent_surge",
    "relationship": "relationship",
}


def _on_board(board: str, stored: dict[str, str]) -> float | None:
    value = float(stored[_FIELD[board]])
    if board != "engagement":
        return value
    return math.log2(value) + _unix(stored["as_of"]) / HALF_LIFE_SECONDS if value > 0 else None


def _tolerance(board: str, stored: dict[str, str]) -> float:
    if board != "engagement":
        return 1e-4
    return 1e-4 / (float(stored["engagement_minutes"]) * math.log(2)) + 1e-6


def funnel_problems(funnel: dict[str, int], hashes: dict[str, dict[str, str]]) -> list[str]:
    stages = Counter(
        f"{each['tier'] or 'none'}|{each['stage']}" for each in hashes.values() if each["stage"]
    )
    counted = {name: count for name, count in funnel.items() if "|" in name}
    surging = sum(each["surging"] == "1" for each in hashes.values())
    problems = [
        f"funnel {name}: {counted.get(name, 0)} instead of {stages[name]}"
        for name in sorted(counted.keys() | stages.keys())
        if counted.get(name, 0) != stages[name]
    ]
    if funnel.get("surging", 0) != surging:
        problems.append(f"funnel surging: {funnel.get('surging', 0)} instead of {surging}")
    return problems


def _announcements(
    audit: Audit, cluster: Cluster, funnel: dict[str, int], hashes: dict[str, dict[str, str]]
) -> None:
    """Compare the announced moves with the counted, the newest announcements with the hashes."""
    wanted = {name: count for name, count in funnel.items() if ">" in name}

    def complete(found: list[Read]) -> bool:
        return all(_moves(found)[name] >= count for name, count in wanted.items())

    found = cluster.read("score-changes", complete)
    moves = _moves(found)
    for name in sorted(wanted.keys() | moves.keys()):
        audit.compare(f"moves {name}", expected=wanted.get(name, 0), found=moves[name])
    newest: dict[str, str] = {}
    for each in sorted(found, key=lambda read: (read.partition, read.offset)):
        told = json.loads(each.value or b"{}")
        newest[told["account_id"]] = told["as_of"]
    audit.blame(
        f"the newest announcement of {name!r} is as of {newest.get(name)}, not {stored['as_of']}"
        for name, stored in hashes.items()
        if newest.get(name) != stored["as_of"]
    )


def _moves(found: Iterable[Read]) -> Counter[str]:
    told = _by_id(found).values()
    return Counter(each["subject"] for each in told if each["rule"] == "stage_changed")


def _by_id(found: Iterable[Read]) -> dict[str, Json]:
    return {t["id"]: t for each in found for t in json.loads(each.value or b"{}")["transitions"]}


def _origins(cluster: Cluster, topic: str, expected: int) -> set[tuple[bytes, ...]]:
    """Return where each record that *topic* holds came from."""
    headers = ("surgeline-topic", "surgeline-partition", "surgeline-offset")

    def of(found: Iterable[Read]) -> set[tuple[bytes, ...]]:
        # Of a record that was replayed, its topic holds a receipt too.
        letters = [each.headers for each in found if headers[0] in each.headers]
        return {tuple(each[name] for name in headers) for each in letters}

    return of(cluster.read(topic, lambda found: len(of(found)) >= expected))


def _unix(time: str) -> float:
    return dt.datetime.fromisoformat(time).timestamp()

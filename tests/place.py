"""A worker as a process, in a corner of its own on servers that tests share.

Nothing of the scoring is imported here: what is asked of a worker is asked from outside.
"""

import asyncio
import itertools
import json
import os
import secrets
import signal
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import aiokafka
import redis

from stream.leash import leashed
from tests.system.harness import (
    PATIENCE,
    SURGELINE,
    Json,
    environment,
    eventually,
    rows,
    write_lines,
)

# aiokafka's own types are incomplete; what leaves this module is typed.
_aiokafka: Any = aiokafka

PARTITIONS = 3
"""Unless the settings say otherwise."""
RESOLVED_TOPICS = (
    "ad-impressions", "page-visits", "chats", "emails", "meetings", "intent-signals", "accounts",
    "contacts", "opportunities", "surveys", "identities", "unresolved",
)  # fmt: skip
"""Topics that must be read before everybody's account is known."""
READY_SECONDS = 60.0
SCORED_SECONDS = 60.0
COMMAND_SECONDS = 60.0
STOP_SECONDS = 5.0
REDIS_DATABASES = 15
"""Of the usual sixteen; the first is left to tests that ask for no other."""


@dataclass(frozen=True)
class Servers:
    """A Kafka broker and a Redis that tests share."""

    kafka: str
    redis_url: str
    session_seconds: str
    """The shortest session that the broker allows workers."""
    redis_is_own: bool = False
    """Nobody else uses this Redis; it may be started later, and be gone at the end."""


class Sent(NamedTuple):
    """One record to be produced."""

    topic: str
    """Without the prefix."""
    value: bytes | None
    key: bytes | None = None
    partition: int | None = None


class Found(NamedTuple):
    """One record read back."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: dict[str, bytes]

    @property
    def json(self) -> Json:
        """Return the value as an object."""
        assert self.value is not None
        found: Json = json.loads(self.value)
        return found


class Place:
    """One Surgeline on shared servers: its own topics, consumer group and Redis database."""

    def __init__(self, servers: Servers, directory: Path, **settings: str) -> None:
        name = secrets.token_hex(4)
        self.prefix = f"t{name}."
        self.group = f"g{name}"
        self.kafka = servers.kafka
        self.directory = directory
        self._redis_is_own = servers.redis_is_own
        self.redis_url = (
            servers.redis_url if servers.redis_is_own else _own_database(servers.redis_url)
        )
        self.redis = redis.Redis.from_url(self.redis_url)
        self.workers: list[Worker] = []
        self._settings = {
            "SURGELINE_KAFKA_URL": servers.kafka,
            "SURGELINE_REDIS_URL": self.redis_url,
            "SURGELINE_TOPIC_PREFIX": self.prefix,
            "SURGELINE_GROUP": self.group,
            "SURGELINE_PARTITIONS": str(PARTITIONS),
            "SURGELINE_CLOCK": "event",
            "SURGELINE_WORKER_PORT": "0",
            "SURGELINE_RESOLVER_PORT": "0",
            "SURGELINE_SESSION_SECONDS": servers.session_seconds,
            **settings,
        }
        self.partitions = int(self._settings["SURGELINE_PARTITIONS"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            worker.close()
        if not self._redis_is_own:
            forget(self.redis)
        self.redis.close()

    def environment(self, **settings: str) -> dict[str, str]:
        """Return the environment of a command in this place."""
        return environment(**(self._settings | settings))

    def run(self, *arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
        """Run a command to its end."""
        return subprocess.run(
            [SURGELINE, *arguments],
            capture_output=True,
            text=True,
            env=self.environment(**settings),
            timeout=PATIENCE * COMMAND_SECONDS,
            check=False,
        )

    def answer(self, *arguments: str, **settings: str) -> list[Json]:
        """Run a command with --json and return the rows that it prints."""
        done = self.run(*arguments, "--json", **settings)
        assert done.returncode == 0, done.stderr
        return rows(done.stdout)

    def start_worker(self, **settings: str) -> "Worker":
        """Start a worker; it is not ready yet."""
        log = self.directory / f"{self.group}-{len(self.workers)}.log"
        worker = Worker(self.environment(**settings), log)
        self.workers.append(worker)
        return worker

    def ready_resolver(self, **settings: str) -> "Worker":
        """Start a resolver, after a worker, and wait until it is ready."""
        log = self.directory / f"{self.group}-{len(self.workers)}.log"
        resolver = Worker(self.environment(**settings), log, "resolver")
        self.workers.append(resolver)
        resolver.wait_ready()
        return resolver

    def wait_resolved(
        self, *, resolver: bool = True, within_seconds: float = SCORED_SECONDS
    ) -> None:
        """Wait until workers, and the *resolver*, have read all, each other's records too."""

        def settled() -> bool:
            ends = self.ends()
            noted = self._hash("sl:directory:progress")
            for (topic, number), end in ends.items():
                told = topic == "opportunities" or int(noted.get(f"{topic}/{number}", 0)) >= end
                scored = topic == "unresolved" or self.fence(topic, number) >= end
                if not (scored and (told or not resolver)):
                    return False
            return self.ends() == ends

        assert eventually(settled, within_seconds=within_seconds), self.logs()

    def ends(self) -> dict[tuple[str, int], int]:
        """Return the end of every partition of the inputs and of `unresolved`."""
        return asyncio.run(self._ends())

    async def _ends(self) -> dict[tuple[str, int], int]:
        tps = [
            _aiokafka.TopicPartition(self.prefix + topic, number)
            for topic in RESOLVED_TOPICS
            for number in range(self.partitions)
        ]
        async with _aiokafka.AIOKafkaConsumer(bootstrap_servers=self.kafka) as consumer:
            consumer.assign(tps)
            ends = await consumer.end_offsets(tps)
        return {(tp.topic.removeprefix(self.prefix), tp.partition): end for tp, end in ends.items()}

    def ready_worker(self, **settings: str) -> "Worker":
        """Start a worker and wait until it is ready."""
        worker = self.start_worker(**settings)
        worker.wait_ready()
        return worker

    def ready_collector(self, **settings: str) -> "Worker":
        """Start a collector and wait until it takes events."""
        log = self.directory / f"{self.group}-{len(self.workers)}.log"
        env = self.environment(**({"SURGELINE_COLLECTOR_PORT": "0"} | settings))
        collector = Worker(env, log, "collector")
        self.workers.append(collector)
        collector.wait_ready()
        return collector

    def replay(self, events: Sequence[Json]) -> None:
        """Produce *events* by the command, and return once they are scored."""
        path = write_lines(self.directory / f"replay-{secrets.token_hex(4)}.jsonl", events)
        done = self.run("replay", str(path), "--wait")
        assert done.returncode == 0, done.stderr

    def declare_topics(self) -> None:
        """Declare the topics before the first worker does."""
        done = self.run("topics", "--create", "--json")
        assert done.returncode == 0, done.stderr

    def produce(self, records: Iterable[Sent]) -> list[tuple[str, int, int]]:
        """Produce *records* in order; return (topic, partition, offset) of each."""
        return asyncio.run(self._produce(list(records)))

    async def _produce(self, records: list[Sent]) -> list[tuple[str, int, int]]:
        async with _aiokafka.AIOKafkaProducer(
            bootstrap_servers=self.kafka, linger_ms=20, max_request_size=8 * 2**20
        ) as producer:
            waiting = [
                await producer.send(
                    self.prefix + each.topic, each.value, each.key, partition=each.partition
                )
                for each in records
            ]
            stored = await asyncio.gather(*waiting)
        return [
            (record.topic, at.partition, at.offset)
            for record, at in zip(records, stored, strict=True)
        ]

    def wait_scored(self, stored: Iterable[tuple[str, int, int]]) -> None:
        """Wait until the fences have passed the records at *stored*."""
        ends: dict[tuple[str, int], int] = {}
        for topic, partition, offset in stored:
            at = topic, partition
            ends[at] = max(ends.get(at, 0), offset + 1)
        passed = eventually(
            lambda: all(self.fence(*at) >= end for at, end in ends.items()),
            within_seconds=SCORED_SECONDS,
        )
        assert passed, self.logs()

    def fence(self, topic: str, partition: int) -> int:
        """Return the committed next offset of a partition."""
        return int(self._hash(f"sl:{{{partition}}}:fence").get(topic, 0))

    def clock(self, shard: int) -> float | None:
        """Return the event clock of a shard at its last commit, Unix seconds."""
        time = self._hash(f"sl:{{{shard}}}:fence").get("time")
        return None if time is None else float(time)

    def committed(self) -> int:
        """Return how many records are behind all fences."""
        apart = {"owner", "seq", "commit", "time"}
        fences = [self._hash(f"sl:{{{shard}}}:fence") for shard in range(self.partitions)]
        return sum(int(at) for each in fences for name, at in each.items() if name not in apart)

    def accounts(self, as_of: str) -> list[Json]:
        """Return every account as of a time, as `surgeline top` prints it."""
        return self.answer("top", "--all", "--as-of", as_of)

    def hashes(self) -> dict[str, dict[str, str]]:
        """Return account -> the hash that is stored of it for other programs."""
        found = {}
        for key in self.redis.scan_iter(match="sl:{*}:account:*", count=1_000):
            found[key.decode().split(":account:", 1)[1]] = self._hash(key)
        return found

    def funnel(self) -> dict[str, int]:
        """Return the funnel's counters that are not zero, summed over the shards."""
        total: dict[str, int] = {}
        for shard in range(self.partitions):
            for name, count in self._hash(f"sl:{{{shard}}}:funnel").items():
                total[name] = total.get(name, 0) + int(count)
        return {name: count for name, count in total.items() if count}

    def outbox(self) -> int:
        """Return how many entries wait in the outboxes."""
        return sum(len(self._hash(f"sl:{{{shard}}}:outbox")) for shard in range(self.partitions))

    def _hash(self, key: str | bytes) -> dict[str, str]:
        found: Mapping[bytes, bytes] = self.redis.hgetall(key)  # type: ignore[assignment]
        return {name.decode(): value.decode("utf-8", "replace") for name, value in found.items()}

    def read(
        self, topic: str, enough: Callable[[list[Found]], bool], *, within_seconds: float = 30.0
    ) -> list[Found]:
        """Read an output topic from its beginning until *enough*; return what was read by then."""
        return asyncio.run(self._read(self.prefix + topic, enough, within_seconds))

    async def _read(
        self, topic: str, enough: Callable[[list[Found]], bool], within_seconds: float
    ) -> list[Found]:
        found: list[Found] = []
        partitions = [_aiokafka.TopicPartition(topic, number) for number in range(self.partitions)]
        async with _aiokafka.AIOKafkaConsumer(
            bootstrap_servers=self.kafka, auto_offset_reset="earliest", enable_auto_commit=False
        ) as consumer:
            consumer.assign(partitions)
            give_up_at = time.monotonic() + PATIENCE * within_seconds
            while not enough(found) and time.monotonic() < give_up_at:
                fetched = await consumer.getmany(timeout_ms=300)
                found += [_found(each) for each in itertools.chain(*fetched.values())]
        assert enough(found), f"{len(found)} records of {topic} were not enough; {self.logs()}"
        return found

    def logs(self) -> str:
        """Return what all workers have logged, to be shown when a test fails."""
        return "\n".join(worker.log() for worker in self.workers)


class Worker:
    """A `surgeline worker`, or another *process* of Surgeline that serves its metrics.

    It is on a leash, so that it ends with the tests however they end.
    """

    def __init__(
        self, env: Mapping[str, str], log: Path, process: str = "worker", *options: str
    ) -> None:
        self._log = log
        self._port_file = log.with_suffix(".port")
        command = [str(SURGELINE), process, "--port-file", str(self._port_file), *options]
        leash_input, self._hold = os.pipe()
        report, report_to = os.pipe()
        try:
            with log.open("wb") as output:
                self._leash = subprocess.Popen(
                    leashed(command, report_to=report_to),
                    stdin=leash_input,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    pass_fds=(report_to,),
                    env=dict(env),
                    start_new_session=True,
                )
        finally:
            os.close(leash_input)
            os.close(report_to)
        with os.fdopen(report, "rb") as answer:
            self.pid = int(answer.readline())

    @property
    def exit_code(self) -> int | None:
        """Return the exit code, None while it runs."""
        return self._leash.poll()

    def log(self) -> str:
        """Return what it has printed so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def wait_ready(self) -> None:
        """Wait until it scores."""
        eventually(
            lambda: self.exit_code is not None or self.get("/readyz")[0] == 200,
            within_seconds=READY_SECONDS,
        )
        assert self.get("/readyz")[0] == 200, self.log()

    @property
    def url(self) -> str:
        """Return the address of its HTTP endpoint, once it listens."""
        return f"http://127.0.0.1:{self._port_file.read_text(encoding='utf-8')}"

    def get(self, path: str) -> tuple[int, str]:
        """Return status and text at *path* of its HTTP endpoint, status 0 when none answers."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refusal:
            return refusal.code, refusal.read().decode()
        except (OSError, ValueError):
            return 0, ""

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of all samples *name* that carry *labels*."""
        total = 0.0
        for line in self.get("/metrics")[1].splitlines():
            sample, _, value = line.rpartition(" ")
            wanted = all(f'{label}="{text}"' in sample for label, text in labels.items())
            if sample.partition("{")[0] == name and wanted:
                total += float(value)
        return total

    def kill(self) -> None:
        """End it by SIGKILL, as a crash would."""
        os.kill(self.pid, signal.SIGKILL)
        self._leash.wait()

    def terminate(self, *, within_seconds: float = STOP_SECONDS) -> int:
        """End it by SIGTERM; return its exit code. Raises TimeoutExpired when it does not end."""
        os.kill(self.pid, signal.SIGTERM)
        return self._leash.wait(within_seconds)  # a promise, so not with patience

    def wait(self, within_seconds: float = 30.0) -> int:
        """Wait for its end by itself; return its exit code."""
        return self._leash.wait(PATIENCE * within_seconds)

    def close(self) -> None:
        """End it if it runs, and let go of it."""
        if self._leash.poll() is None:
            self.kill()
        if self._hold >= 0:
            os.close(self._hold)
        self._hold = -1


def forget(client: "redis.Redis") -> None:
    """Delete what a Surgeline has stored."""
    keys = list(client.scan_iter(match="sl:*", count=1_000))
    if keys:
        client.unlink(*keys)


def _own_database(url: str) -> str:
    """Return the URL of a database of *url*'s Redis that no other running test uses, emptied."""
    with redis.Redis.from_url(url) as shared:
        taken = int(shared.incr("surgeline-tests:databases"))
    number = 1 + taken % REDIS_DATABASES
    own = urllib.parse.urlsplit(url)._replace(path=f"/{number}").geturl()
    with redis.Redis.from_url(own) as client:
        forget(client)
    return own


def _found(record: Any) -> Found:
    return Found(record.partition, record.offset, record.key, record.value, dict(record.headers))

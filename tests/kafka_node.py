"""Apache Kafka as one small node: its settings, and without a container its jars and Java."""

import functools
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

KAFKA_VERSION = "4.1.1"
LOG4J_VERSION = "2.24.3"  # the log4j-core that Kafka brings along; the binding must match it
OLDEST_JAVA = 17
COPY_DEPENDENCIES = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
DOWNLOAD_SECONDS = 600
SHORT_LIVED = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
"""For a Java that runs for minutes: it starts with two thirds of the CPU otherwise taken."""

# Kafka's own artifact has no SLF4J binding among its dependencies and would log nothing. Of the
# tools one is needed, kafka-acls, and none of what the others depend on.
POM = f"""\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>surgeline</groupId>
  <artifactId>kafka-for-tests</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>{KAFKA_VERSION}</version>
    </dependency>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka-tools</artifactId>
      <version>{KAFKA_VERSION}</version>
      <exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions>
    </dependency>
    <dependency>
      <groupId>org.apache.logging.log4j</groupId>
      <artifactId>log4j-slf4j-impl</artifactId>
      <version>{LOG4J_VERSION}</version>
    </dependency>
  </dependencies>
</project>
"""

LOG4J = """\
status = off
shutdownHook = disable
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{HH:mm:ss.SSS} %p %c: %m%n
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
"""

# Broker properties that make one node start and stop fast, wherever it runs.
NODE_CONFIG: Mapping[str, str] = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "auto.create.topics.enable": "false",
    "group.initial.rebalance.delay.ms": "0",
    "offsets.topic.num.partitions": "4",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "log.cleaner.dedupe.buffer.size": "4194304",  # its 128 MiB would be a quarter of the heap
    # After a kill the node may come back only when its former session is over.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
}


class ServerUnavailable(Exception):
    """A real server cannot be had on this machine; the text says what is missing."""


@functools.cache
def find_java() -> str:
    """Return the path of a Java, 17 or newer. Raise ServerUnavailable when there is none."""
    program = shutil.which("java")
    if program is None:
        raise ServerUnavailable(f"Kafka needs Java {OLDEST_JAVA} or newer, and none is on PATH.")
    answer = subprocess.run([program, "-version"], capture_output=True, text=True, check=False)
    found = re.search(r'version "(\d+)', answer.stderr)
    if found is None or int(found[1]) < OLDEST_JAVA:
        version = found[1] if found else "of an unknown version"
        raise ServerUnavailable(f"Kafka needs Java {OLDEST_JAVA} or newer; {program} is {version}.")
    return program


@functools.cache
def find_jars() -> Path:
    """Return the directory of Kafka's jars, filled by Maven the first time (about 45 MB).

    It lies in `.cache/kafka` of the repository, or where SURGELINE_TEST_CACHE says. Raise
    ServerUnavailable when Maven is missing or cannot get them.
    """
    cache = Path(
        os.environ.get("SURGELINE_TEST_CACHE")
        or Path(__file__).resolve().parent.parent / ".cache" / "kafka"
    ).absolute()
    jars = cache / f"{KAFKA_VERSION}-tools"
    if jars.is_dir():
        return jars
    maven = shutil.which("mvn")
    if maven is None:
        raise ServerUnavailable("Kafka's jars are not cached, and there is no Maven on PATH.")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="download-", dir=cache) as directory:
        _download(maven, Path(directory))
        try:
            (Path(directory) / "jars").rename(jars)
        except OSError:
            if not jars.is_dir():  # else another test process was faster
                raise
    return jars


def _download(maven: str, directory: Path) -> None:
    (directory / "pom.xml").write_text(POM, encoding="utf-8")
    where = f"-DoutputDirectory={directory / 'jars'}"
    try:
        done = subprocess.run(
            [maven, "-B", "-q", COPY_DEPENDENCIES, "-DincludeScope=runtime", where],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=DOWNLOAD_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ServerUnavailable(
            f"Maven did not deliver Kafka's jars within {DOWNLOAD_SECONDS} s."
        ) from error
    if done.returncode != 0:
        last = "\n".join(done.stdout.splitlines()[-15:])
        raise ServerUnavailable(f"Maven could not get Kafka's jars. It said:\n{last}")

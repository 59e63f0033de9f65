"""The half of fuzzing that follows the code's branches: one target under atheris.

Run as `python -m tests.fuzz.guided records|models [libFuzzer's options] [corpus]`; `tests.fuzz`
does. The first byte of an input chooses the topic of a record.
"""

import atexit
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import atheris

_atheris: Any = atheris  # it has no types

with _atheris.instrument_imports(include=["scoring", "stream"]):
    from scoring.events import TOPIC_TYPES
    from tests.fuzz import seeds
    from tests.fuzz.properties import check_model, check_record

TOPICS = tuple(TOPIC_TYPES)


def _record(data: bytes) -> None:
    if data:
        check_record(TOPICS[data[0] % len(TOPICS)], data[1:])


def _model() -> Callable[[bytes], None]:
    directory = Path(tempfile.mkdtemp(prefix="surgeline-fuzz-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return lambda data: check_model(data, directory)


def inputs(target: str) -> Iterator[bytes]:
    """Yield the seeds of *target* as inputs."""
    if target == "models":
        yield from seeds.models()
    else:
        for topic, value in seeds.records():
            yield bytes([TOPICS.index(topic)]) + value


def main() -> None:
    """Fuzz what the arguments name."""
    target, *options = sys.argv[1:]
    corpus = next((Path(each) for each in options if not each.startswith("-")), None)
    if corpus is not None:
        for number, data in enumerate(inputs(target)):
            (corpus / f"seed-{number}").write_bytes(data)
    check = _model() if target == "models" else _record
    _atheris.Setup([sys.argv[0], *options], check)
    _atheris.Fuzz()


if __name__ == "__main__":
    main()

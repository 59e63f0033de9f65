"""Fuzz records and models for some minutes each: `python -m tests.fuzz --minutes 10`."""

import argparse
import importlib.util
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from hypothesis import HealthCheck, given, settings

from tests.fuzz import shapes
from tests.fuzz.properties import check_model, check_record

ROUND = 1_000
EXAMPLE_SECONDS = 10
TARGETS: Mapping[str, Any] = MappingProxyType(
    {"records": shapes.records(), "models": shapes.models()}
)
TOKENS = (
    *(
        [
            "id",
            "source",
            "type",
            "time",
            "account_id",
            "contact_id",
            "email",
            "url",
            "action",
            "direction",
        ]
    ),
    *(
        [
            "target",
            "tier",
            "seniority",
            "kind",
            "amount",
            "duration_seconds",
            "strength",
            "attendee_ids",
        ]
    ),
    *(
        [
            "engagement",
            "surge",
            "relationship",
            "funnel",
            "pages",
            "points",
            "topics",
            "half_life_days",
        ]
    ),
    *(["T", "Z", "+00:00", "2025-12-01T09:30:00Z", "1e308", "nan", "inf", "true", "null"]),
)


def _too_long(*_: object) -> None:
    raise TimeoutError(f"one example took {EXAMPLE_SECONDS} s")


def by_hypothesis(target: str, seconds: float, directory: Path) -> bool:
    """Draw examples of *target* for *seconds*; tell whether all held."""
    signal.signal(signal.SIGALRM, _too_long)
    give_up_at, drawn = time.monotonic() + seconds, 0
    check: Callable[..., None] = (
        (lambda text: check_model(text, directory))
        if target == "models"
        else (lambda pair: check_record(*pair))
    )

    @settings(
        max_examples=ROUND, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(TARGETS[target])
    def holds(example: Any) -> None:
        nonlocal drawn
        drawn += 1
        signal.alarm(EXAMPLE_SECONDS)
        try:
            check(example)
        finally:
            signal.alarm(0)

    while time.monotonic() < give_up_at:
        try:
            holds()
        except Exception:  # noqa: BLE001  # whatever it is is a finding
            traceback.print_exc()
            return False
    print(f"{target}: {drawn:,} examples of Hypothesis held.", flush=True)
    return True


def by_atheris(target: str, seconds: float, directory: Path) -> bool:
    """Follow the branches of *target* for *seconds*; tell whether all held."""
    corpus, tokens = directory / "corpus", directory / "tokens"
    corpus.mkdir()
    tokens.write_text("".join(f'"{each}"\n' for each in TOKENS), encoding="utf-8")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.fuzz.guided", target),
            f"-max_total_time={seconds:.0f}",
            "-max_len=4096",
            "-timeout=20",
            "-print_final_stats=1",
            f"-dict={tokens}",
            f"-artifact_prefix={directory}/",
            str(corpus),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    said = done.stdout.decode("utf-8", "replace").splitlines()
    if done.returncode != 0:
        print("\n".join(said[-60:]), flush=True)
        return False
    units = [each.split()[-1] for each in said if "number_of_executed_units" in each]
    print(f"{target}: {' '.join(units)} inputs of atheris held.", flush=True)
    return True


def main() -> int:
    """Fuzz as the arguments say; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="for each part")
    parser.add_argument("--target", choices=sorted(TARGETS), help="one of both")
    parser.add_argument("--engine", choices=("hypothesis", "atheris"), help="one of both")
    chosen = parser.parse_args()
    # In this order: the memory that Hypothesis takes here would count as that of atheris, whose
    # process begins as a copy of this one.
    engines = {"atheris": by_atheris, "hypothesis": by_hypothesis}
    if importlib.util.find_spec("atheris") is None:
        print("atheris is not installed here (the extra `fuzz`): Hypothesis alone.", flush=True)
        del engines["atheris"]
    held = True
    for engine, run in engines.items():
        for target in TARGETS:
            if chosen.engine in (None, engine) and chosen.target in (None, target):
                with tempfile.TemporaryDirectory(prefix="surgeline-fuzz-") as directory:
                    held &= run(target, chosen.minutes * 60, Path(directory))
    return 0 if held else 1


if __name__ == "__main__":
    raise SystemExit(main())

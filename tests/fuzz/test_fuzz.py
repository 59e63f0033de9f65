"""What fuzzing asserts, over its seeds and a few drawn examples; `make fuzz` goes on for minutes."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from tests.fuzz import seeds, shapes
from tests.fuzz.properties import check_model, check_record


@pytest.mark.parametrize(("topic", "value"), list(seeds.records()))
def test_seed_record_is_scored_or_buried(topic: str, value: bytes) -> None:
    check_record(topic, value)


@pytest.mark.parametrize("text", list(seeds.models()))
def test_seed_model_scores_or_is_refused(text: bytes, tmp_path: Path) -> None:
    check_model(text, tmp_path)


@settings(max_examples=200, deadline=None)
@given(shapes.records())
def test_any_record_is_scored_or_buried(drawn: tuple[str, bytes | None]) -> None:
    check_record(*drawn)


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=shapes.models())
def test_any_model_scores_or_is_refused(text: bytes, tmp_path: Path) -> None:
    check_model(text, tmp_path)

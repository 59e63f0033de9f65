"""Exponential decay and saturation, against powers of two."""

import pytest

from scoring.decay import decayed, saturated, weight


@pytest.mark.parametrize(
    ("elapsed", "expected"),
    [(0.0, 8.0), (60.0, 4.0), (120.0, 2.0), (180.0, 1.0), (-60.0, 16.0), (30.0, 8.0 / 2**0.5)],
)
def test_a_mass_halves_with_every_half_life(elapsed: float, expected: float) -> None:
    left = decayed(8.0, elapsed_seconds=elapsed, half_life_seconds=60.0)

    assert left == pytest.approx(expected, rel=1e-15)


def test_a_weight_too_small_for_a_double_is_zero() -> None:
    assert weight(elapsed_seconds=2_000.0, half_life_seconds=1.0) == 0.0


def test_a_weight_too_large_for_a_double_is_refused() -> None:
    with pytest.raises(OverflowError):
        weight(elapsed_seconds=-1_025.0, half_life_seconds=1.0)


@pytest.mark.parametrize(
    ("mass", "expected"),
    # 1 - 2^-(mass / 30): nothing, one, two and three times the half saturation.
    [(0.0, 0.0), (30.0, 0.5), (60.0, 0.75), (90.0, 0.875), (1e9, 1.0)],
)
def test_saturation_halves_what_is_missing(mass: float, expected: float) -> None:
    assert saturated(mass, half_saturation=30.0) == expected

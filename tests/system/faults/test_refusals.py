"""Starts that would score wrongly: refused with one sentence, and what is stored stays as it is."""

from pathlib import Path

import pytest

from tests.system.faults.audit import scored_alone
from tests.system.faults.conftest import SEED, SceneOf
from tests.system.faults.scene import PARTITIONS, Fault, Scene
from tests.system.faults.stream import mixed_stream

pytestmark = [pytest.mark.faults]

EVENTS = 2_000
HASTY = 'name = "hasty"\n[engagement]\nhalf_life_days = 7.0\n'


def refusal(scene: Scene, fault: Fault, **settings: str) -> str:
    """Start a worker that must be refused; return its one sentence."""
    done = scene.place.run("worker", "--port-file", str(scene.place.directory / "none"), **settings)
    fault.injected += 1
    assert done.returncode == 1, done.stderr
    (sentence,) = done.stderr.splitlines()
    return sentence


def test_worker_refuses_another_model_and_another_number_of_partitions(
    scene_of: SceneOf, tmp_path: Path
) -> None:
    fault = Fault("another model, more partitions in one topic, in all topics: start refused")
    scene = scene_of(mixed_stream(EVENTS, seed=SEED))
    hasty = tmp_path / "hasty.toml"
    hasty.write_text(HASTY)
    load = scene.load(hold_at=0.5)
    worker = scene.place.ready_worker()
    scene.wait_committed(EVENTS // 4)
    assert worker.terminate() == 0

    other_model = refusal(scene, fault, SURGELINE_MODEL=str(hasty))
    with scene.recovery(fault):
        load.hurry()
        worker = scene.place.start_worker()
    scene.settle()
    assert worker.terminate() == 0
    scene.cluster.add_partitions(PARTITIONS + 2, only="page-visits")
    one_topic = refusal(scene, fault)
    scene.cluster.add_partitions(PARTITIONS + 2)
    all_topics = refusal(scene, fault)

    scene.conclude(fault, scored_alone(scene.place, scene.stream, tmp_path))
    assert "digest" in other_model
    assert "partitions" in one_topic
    assert f"partitions {PARTITIONS}" in all_topics
    assert "surgeline reset --replay" in other_model
    assert "surgeline reset --replay" in all_topics

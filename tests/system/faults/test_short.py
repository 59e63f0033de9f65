"""The short form of the fault suite, on the embedded stack: for every run of the tests."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.place import Servers
from tests.system.faults.audit import scored_alone
from tests.system.faults.scene import Fault, Scene
from tests.system.faults.stream import mixed_stream

pytestmark = [pytest.mark.embedded]

EVENTS = 3_000
SHARES = (0.3,)


def test_worker_killed_on_the_embedded_stack_loses_and_doubles_nothing(
    embedded_servers: Any,
    tmp_path_factory: pytest.TempPathFactory,
    record_property: Callable[[str, object], None],
) -> None:
    servers = Servers(embedded_servers.kafka, embedded_servers.redis_url, session_seconds="3")
    stream = mixed_stream(EVENTS, seed=7)
    with Scene(
        servers,
        tmp_path_factory.mktemp("short"),
        stream,
        record=record_property,
        idempotent=False,
        settings={"SURGELINE_FLUSH_RECORDS": "50"},
    ) as scene:
        fault = Fault("worker killed (SIGKILL), embedded stack")
        load = scene.load(seconds=4, hold_at=0.0)
        worker = scene.place.start_worker()
        for share in SHARES:
            # However slow this machine is, there are records left to be scored after the kill.
            load.hold_at(share + 0.3)
            scene.wait_committed(round(share * EVENTS))
            worker.kill()
            fault.injected += 1
            with scene.recovery(fault):
                load.hold_at(share + 0.6)
                worker = scene.place.start_worker()
        load.finish()
        reference = scored_alone(scene.place, stream, tmp_path_factory.mktemp("alone"))
        scene.conclude(fault, reference)

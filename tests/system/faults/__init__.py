"""Faults: a Surgeline under load is broken on purpose, and nothing may be lost or counted twice.

The suite drives the real commands as processes, on a real Apache Kafka 4 and a real Redis with an
append-only file, both its own so that they can be killed; nothing of the project is imported. Run
it with ``make test-faults``; SURGELINE_FAULT_EVENTS=10000 makes it shorter, FAULTS_TABLE=FILE
writes the table that is printed at the end.

One test is one row of that table. To add one::

    pytestmark = [pytest.mark.faults]

    def test_redis_that_is_killed_loses_nothing(
        scene: Scene, own_redis: RedisServer, references: References
    ) -> None:
        fault = Fault("Redis killed (SIGKILL) and started again")
        scene.load(seconds=20)                     # writes the stream in the background
        scene.place.ready_worker()
        scene.wait_committed(1_000)                # under load: break it
        own_redis.kill()
        fault.injected += 1
        with scene.recovery(fault):                # the block mends it; then the next commit is
            own_redis.start()                      # waited for, and the seconds are noted
        scene.conclude(fault, references.of(scene))

`Scene.conclude` writes the rest of the stream, waits until all of it is scored, announced and
looked at again, audits everything that is left behind (see `audit`), puts down the row and fails
when anything is wrong. What can be asked of this one fault alone goes into its ``more`` argument,
or before `conclude`. A fault must be mended before the stream ends: pick ``seconds`` of the load
longer than the fault, and use `Load.hold_at` to be sure that records are left.

Fixtures (in conftest.py): ``scene`` is a place with topics for the ``market`` stream, without a
worker; ``scene_of(stream, **settings)`` makes others; ``own_kafka`` (one for all tests, with its
data kept when it is killed) and ``own_redis`` (a new one for every test) are the servers.
"""

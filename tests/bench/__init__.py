"""Benchmarks: how fast, how late, how large. They measure, and assert nothing about time.

`python -m tests.bench` compares the worker with stock Faust and plain aiokafka on the embedded
servers; `python -m tests.bench.delay` measures the delay to a committed score on Apache Kafka,
`python -m tests.bench.operations` what bursts, crashes and restarts do to it there.
What is measured here imports the project; the figures come from processes of their own.
"""

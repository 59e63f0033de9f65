"""The imperative shell: everything here does I/O (Kafka, Redis, HTTP, processes, terminals).

It may import `scoring`, the functional core; nothing imports it but entry points: the commands,
the processes that they start, and the tests. Nothing is done on import, and only
`stream.settings` reads the environment.
"""

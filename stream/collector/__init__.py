"""The collector: the front door through which events come over HTTP, and go to Kafka.

What Segment's clients, CloudEvents and our own contract say is made one in ``segment``,
``tracks`` and ``cloud_events``, pure functions; keys, bodies, Kafka and the routes are met in the
other modules. It answers yes only to what Kafka has acknowledged. No score is computed here.
"""

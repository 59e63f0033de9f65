"""The doctor: whether everything is well that a Surgeline stands on.

`facts` are values; `redis_checks`, `kafka_checks` and `score_checks` judge them and do no I/O;
`asking_redis`, `asking_kafka` and `examination` gather them, reading only, in bounded time.
"""

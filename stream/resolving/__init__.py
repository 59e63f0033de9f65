"""The resolver: feeds the directory, and finds accounts for events that waited for one.

What lives here: the process `surgeline resolver`, the events that wait in Redis, what becomes of
them. The rules are in `scoring`; what a worker asks of the directory is in `stream.finding`.
"""

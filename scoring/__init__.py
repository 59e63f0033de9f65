"""The functional core: every rule of Surgeline as values in, values out.

What lives here: the event contract, the scoring model, the account state, the three
scores, the funnel and the fold that applies one event to one account. What may not:
I/O of any kind, clocks, environment, logging, randomness. ``now`` is always an argument;
import-linter holds the wall.
"""

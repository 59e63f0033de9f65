"""What the board and the collector share as servers of HTTP.

Listening, problems, rates, files of secrets' hashes and files that are served: nothing here knows
an account or an event.
"""

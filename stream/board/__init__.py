"""The board: an HTTP API over what is stored, and the page that shows it.

Everything here reads, but for two things that people do: they acknowledge alerts and mute them.
Lists are answered from memory, what is asked of one account from Redis. Nothing here scores.
"""

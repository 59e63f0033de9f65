"""The command line: `surgeline`.

What lives here: the commands, what they take from a person and how they show it. What they do is
in the modules of `stream`, which are imported by the command that needs them and not before, so
that `surgeline --help` answers at once.
"""

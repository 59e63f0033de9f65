"""Errors of the shell: one root, one sentence each, with what to do about it."""


class SurgelineError(Exception):
    """Root of all errors that end a command; its text is the one line that a person reads."""


class InvalidSetting(SurgelineError):
    """A setting is wrong; the sentence names the variable and what it must be."""


class RefusedStart(SurgelineError):
    """What is stored, or what Kafka holds, does not fit this start."""


class DataGone(SurgelineError):
    """Records between the fence and the log are not there: retention passed them."""


class FencedOff(SurgelineError):
    """Another worker owns the shard, or Redis went back in time."""


class Unreachable(SurgelineError):
    """A server cannot be reached."""


class EmbeddedUnavailable(SurgelineError):
    """A server of the embedded stack is missing or does not start."""


class ProcessNotStarted(SurgelineError):
    """A command could not be run; the text carries what it printed."""


class NotFound(SurgelineError):
    """What was asked for is not stored."""


class RefusedReading(SurgelineError):
    """The reading asked for cannot be answered truthfully."""

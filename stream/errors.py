"""Errors of the shell: one root, one sentence each, with what to do about it."""

from typing import Final, TypeVar

E = TypeVar("E", bound=BaseException)

SAID_CHARACTERS: Final = 200


def said(error: BaseException) -> str:
    r"""Return what *error* says in one short line without its full stop, its name if nothing.

    >>> said(ValueError("wrong.\nand long")), said(TimeoutError())
    ('wrong', 'TimeoutError')
    """
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")[:SAID_CHARACTERS]


def cause(error: BaseException, kind: type[E]) -> E | None:
    """Return the first of *kind* among *error* and what it was raised from or during."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, kind):
            return found
        found = found.__cause__ or found.__context__
    return None


def first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first error in *group* that is no group itself."""
    first = group.exceptions[0]
    return first_of(first) if isinstance(first, BaseExceptionGroup) else first


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


class TooManyDeadLetters(SurgelineError):
    """So many records of a topic are bad that going on would drain it into `dead-letters`."""


class BadDeadLetter(SurgelineError):
    """A line that should be a dead letter is none, or what it holds cannot be produced."""


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


class BadBackup(SurgelineError):
    """A backup file is not one of ours, is damaged, or was made by another version."""


class NotSettled(SurgelineError):
    """What was to be read as one was written to again and again meanwhile."""


class NotDelivered(SurgelineError):
    """An endpoint did not take a message."""

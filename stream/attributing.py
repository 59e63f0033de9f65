"""Attributing: what becomes of a worker's records whose account is looked up."""

from collections.abc import Callable, Sequence

from scoring.attribution import changed, given, to_resolve
from scoring.domains import Label
from scoring.events import Event
from scoring.fold import Outcome
from scoring.resolution import NotFound, Resolution
from scoring.resolution_rules import ResolutionModel
from stream.finding import AccountFinder
from stream.metrics import WorkerMetrics
from stream.micro_batch import Record
from stream.outputs import Message, attributed, unresolved

Decided = tuple[Outcome, Message]


class Attributor:
    """Decides where records go that name no account, or that of a subsidiary which rolls up.

    Without a *finder* nobody is found.
    """

    def __init__(
        self,
        finder: AccountFinder | None,
        model: ResolutionModel,
        metrics: WorkerMetrics,
        *,
        prefix: str,
        shard_of: Callable[[str], int],
    ) -> None:
        self._finder = finder
        self._model = model
        self._metrics = metrics
        self._prefix = prefix
        self._shard_of = shard_of
        self.rolls_up = finder is not None and model.roll_up != "none"
        """Whether events that name an account may go to another."""

    def concerns(self, event: Event | None) -> bool:
        """Tell whether the directory must be asked for the account of *event*."""
        return event is not None and to_resolve(event, self._model)

    async def decide(
        self, topic: str, records: Sequence[tuple[Record, Event]]
    ) -> list[Decided | None]:
        """Return what becomes of each of *records*, None where it stays what it is."""
        events = [event for _, event in records]
        if self._finder is None:
            found: list[Resolution] = [NotFound(Label.UNKNOWN)] * len(events)
        else:
            found = await self._finder.find(events)
        return [
            self._decided(topic, record, resolution)
            for (record, _), resolution in zip(records, found, strict=True)
        ]

    def _decided(self, topic: str, record: Record, resolution: Resolution) -> Decided | None:
        if isinstance(resolution, NotFound):
            why = resolution.why.value
            self._metrics.unresolved.labels(why).inc()
            return Outcome.UNRESOLVED, unresolved(record, why=why, prefix=self._prefix)
        if not changed(resolution):
            return None
        self._metrics.resolved.labels(resolution.by).inc()
        home = self._shard_of(resolution.account_id)
        return Outcome.REKEYED, attributed(record, topic, given(resolution), home)

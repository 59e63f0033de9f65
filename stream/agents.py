"""The agents: one, over all input topics, so that an account's events meet in one place."""

from typing import Any

import faust

from stream.ownership import Ownership
from stream.transport import Undecoded


def score_events(app: faust.App, topics: list[str], ownership: Ownership) -> None:
    """Add the agent that scores micro-batches of *topics*.

    It acknowledges nothing itself: a micro-batch is acknowledged with the commit of its last
    record. Whatever escapes here ends the process, since Faust would go on with the next.
    """

    async def score(stream: Any) -> None:
        async for event in stream.noack().events():
            try:
                await ownership.score(event)
            except Exception as error:
                ownership.fail(error)
                raise

    app.agent(app.topic(*topics, schema=Undecoded()), name="score_events")(score)

"""Renaming: other numbers stand for an erased person in the facts of an account.

The facts stay, and what is counted of them; whoever knows the id cannot find them by it any more.
"""

import importlib.resources
from collections.abc import Mapping

from stream.fact_logs import OF_PEOPLE
from stream.state_store import RedisStore


async def rename_in_facts(store: RedisStore, key: bytes, people: Mapping[int, int]) -> int:
    """Let other numbers stand for *people* (old -> new) in one log; return in how many facts.

    In one step of Redis, so that a worker may append to the log meanwhile.
    """
    text = (importlib.resources.files("stream.people") / "rename_in_facts.lua").read_text("utf-8")
    numbers = [each.to_bytes(8, "little") for pair in people.items() for each in pair]
    call = store.client.register_script(text)(keys=[key], args=[bytes(sorted(OF_PEOPLE)), *numbers])
    changed: int = await store.ask(call)
    return changed

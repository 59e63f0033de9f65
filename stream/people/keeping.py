"""Keeping erasures over a new start: reading Kafka's log again must bring nobody back.

An account in which people were erased begins with that knowledge, so that what they did until
then is nobody's from the first record on, and weighs what it weighed before.
"""

from collections.abc import Mapping

from scoring.account import AccountState, Erased, Ledger, decode_state, encode_state
from stream.routing import shard_of
from stream.state_store import RedisStore, state_key


async def erased_in_accounts(store: RedisStore) -> dict[str, dict[str, Erased]]:
    """Return account id -> the erasures that its state remembers."""
    found = {}
    async for data in store.all_states():
        state = decode_state(data)
        if state.ledger is not None and state.ledger.erased:
            found[state.account_id] = state.ledger.erased
    return found


async def put_back(
    store: RedisStore, people: Mapping[str, dict[str, Erased]], partitions: int
) -> None:
    """Store accounts that know of nothing but their erasures; call it before any worker starts."""
    for account_id, erased in people.items():
        state = AccountState(account_id, ledger=Ledger(erased=erased))
        key = state_key(shard_of(account_id, partitions), account_id)
        await store.ask(store.client.set(key, encode_state(state)))

"""What always holds of what is known of a person, whoever tells it first."""

from hypothesis import given, settings
from hypothesis import strategies as st

from scoring.directory import ContactEntry, after, joined
from tests.directory import newest_word

ACCOUNTS = ("a", "b", "c")
words = st.builds(
    lambda at, who, removed: ContactEntry(
        float(at), who, None if removed else f"{at}@{who}.example", removed
    ),
    st.integers(1, 5),
    st.sampled_from(ACCOUNTS),
    st.booleans(),
)


def of_each(told: list[ContactEntry]) -> dict[str, list[ContactEntry]]:
    """Return what each account says, in its order."""
    return {name: [each for each in told if each.account_id == name] for name in ACCOUNTS}


def known(entry: ContactEntry) -> tuple[object, ...]:
    return entry.account_id, entry.recorded_at, entry.removed, entry.email


@settings(max_examples=400)
@given(told=st.lists(words, min_size=1, max_size=12), data=st.data())
def test_same_is_known_however_the_records_of_accounts_interleave(
    told: list[ContactEntry], data: st.DataObject
) -> None:
    order = data.draw(st.permutations([each.account_id for each in told]))
    waiting = {name: iter(entries) for name, entries in of_each(told).items()}
    shuffled = [next(waiting[name]) for name in order]

    one, other = after(None, told), after(None, shuffled)

    assert isinstance(one, ContactEntry)
    assert isinstance(other, ContactEntry)
    assert known(one) == known(other)
    naive = newest_word(told)
    assert known(one)[:3] == (naive.account_id, naive.recorded_at, naive.removed)


@given(told=st.lists(words, min_size=1, max_size=12))
def test_telling_all_once_more_changes_nothing(told: list[ContactEntry]) -> None:
    first = after(None, told)
    assert first is not None

    assert after(first, told) == first


@given(entry=words)
def test_what_is_known_stays_the_same_value(entry: ContactEntry) -> None:
    held = joined(None, entry)

    assert joined(held, entry) is held

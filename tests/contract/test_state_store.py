"""The contract of the state store, kept by the fake and by Redis alike.

Every test has a shard of its own, with a number that nothing else uses, so that a Redis given by
URL is left as it was.
"""

import asyncio
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
import redis.asyncio

from scoring.history import DAYS_KEPT, DayScores
from scoring.kpis.codes import TOUCH, Code
from scoring.kpis.facts import FACT
from stream.fact_logs import HEAD, NEVER, FactWrite, cut
from stream.state_store import BOARDS, Answer, Fence, RedisStore
from tests.contract.subject import InsideMemory, InsideRedis, Subject, account_write, full_write
from tests.fakes import InMemoryStore

STRANGE_IDS = [
    "a:b",
    "acme:ad:20000",
    "{acme}",
    "}{",
    "two words",
    "tab\tand\nline",
    "nul\x00inside",
    "*?[a-z]\\",
    "sl:{0}:state:acme",
    "0",
    "naïve-Œuvre-日本-𝄞",
    "x" * 512,
    "𝄞" * 512,
]

REAL = [
    pytest.param("embedded", marks=pytest.mark.embedded),
    pytest.param("kafka", marks=pytest.mark.kafka),
]


@pytest.fixture(params=["memory", *REAL])
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    shard = secrets.randbelow(10**9)
    with asyncio.Runner() as runner:
        if request.param == "memory":
            fake = InMemoryStore()
            yield Subject(runner, fake, InsideMemory(fake), shard)
            return
        url = (
            request.getfixturevalue("embedded_servers").redis_url
            if request.param == "embedded"
            else request.getfixturevalue("redis_server").url
        )
        store, client = RedisStore(url), redis.asyncio.Redis.from_url(url)
        inside = InsideRedis(client)
        yield Subject(runner, store, inside, shard)
        for each in (shard, shard + 1):
            runner.run(inside.remove(each))
        runner.run(store.close())
        runner.run(client.aclose())


def test_first_claim_returns_an_empty_fence(subject: Subject) -> None:
    assert subject.claim() == Fence(seq=0, offsets={}, time=None)


def test_claim_returns_where_the_last_owner_stopped(subject: Subject) -> None:
    subject.claim("old")
    offsets = [("ad-impressions", None, 7), ("chats", None, 3)]
    subject.commit(subject.unit(owner="old", offsets=offsets, time=1_767_225_600.123456))

    fence = subject.claim("new")

    assert fence == Fence(1, {"ad-impressions": 7, "chats": 3}, 1_767_225_600.123456)


def test_fences_are_read_without_claiming(subject: Subject) -> None:
    subject.claim()
    subject.commit(subject.unit(offsets=[("chats", None, 3)]))

    assert subject.fence() == Fence(1, {"chats": 3}, None)
    assert subject.commit(subject.unit(1)) is Answer.APPLIED


def test_commit_to_a_shard_that_nobody_claimed_is_refused(subject: Subject) -> None:
    assert subject.commit(subject.unit()) is Answer.REFUSED_OWNER


def test_claim_fences_the_former_owner_off(subject: Subject) -> None:
    subject.claim("old")
    subject.claim("new")

    assert subject.commit(subject.unit(owner="old")) is Answer.REFUSED_OWNER
    assert subject.commit(subject.unit(owner="new")) is Answer.APPLIED


def test_claim_of_one_shard_leaves_the_others_to_their_owners(subject: Subject) -> None:
    subject.claim("me")
    subject.claim("other", shard=subject.shard + 1)

    assert subject.commit(subject.unit(owner="me")) is Answer.APPLIED
    assert subject.commit(subject.unit(owner="other", shard=subject.shard + 1)) is Answer.APPLIED


def test_applied_commit_moves_the_fence(subject: Subject) -> None:
    subject.claim()
    subject.commit(subject.unit(0, offsets=[("chats", None, 3)]))

    answer = subject.commit(
        subject.unit(1, offsets=[("chats", 3, 5_000), ("emails", None, 0)], time=12.5)
    )

    assert answer is Answer.APPLIED
    assert subject.fence() == Fence(2, {"chats": 5_000, "emails": 0}, 12.5)


def test_commit_without_a_time_keeps_the_last_one(subject: Subject) -> None:
    subject.claim()
    subject.commit(subject.unit(0, time=1_767_225_600.1))

    subject.commit(subject.unit(1))

    assert subject.fence().time == 1_767_225_600.1


def test_commit_without_offsets_still_counts(subject: Subject) -> None:
    subject.claim()
    subject.commit(subject.unit(0, offsets=[("chats", None, 3)]))

    assert subject.commit(subject.unit(1, accounts=[account_write()])) is Answer.APPLIED
    assert subject.fence() == Fence(2, {"chats": 3}, None)


def test_offsets_beyond_what_a_double_holds_stay_exact(subject: Subject) -> None:
    subject.claim()
    subject.commit(subject.unit(0, offsets=[("chats", None, 2**62 + 1)]))

    answer = subject.commit(subject.unit(1, offsets=[("chats", 2**62 + 2, 2**62 + 3)]))

    assert answer is Answer.REFUSED_OFFSETS
    assert subject.fence().offsets == {"chats": 2**62 + 1}


def test_repeated_commit_is_answered_and_changes_nothing(subject: Subject) -> None:
    subject.claim()
    commit = subject.unit(offsets=[("chats", None, 3)], accounts=[full_write()], announcement=b"x")
    subject.commit(commit)
    before = subject.everything()

    answer = subject.commit(commit)

    assert answer is Answer.ALREADY
    assert subject.everything() == before


def test_repeated_commit_of_a_former_owner_is_refused(subject: Subject) -> None:
    subject.claim("old")
    commit = subject.unit(owner="old")
    subject.commit(commit)
    subject.claim("new")

    assert subject.commit(commit) is Answer.REFUSED_OWNER


def test_commit_repeated_after_the_next_one_is_refused(subject: Subject) -> None:
    subject.claim()
    commit = subject.unit(0)
    subject.commit(commit)
    subject.commit(subject.unit(1))

    assert subject.commit(commit) is Answer.REFUSED_SEQUENCE


@pytest.mark.parametrize("expected", [0, 1, 3], ids=["behind", "same unit, other id", "ahead"])
def test_commit_out_of_sequence_is_refused(subject: Subject, expected: int) -> None:
    subject.claim()
    subject.commit(subject.unit(0))
    subject.commit(subject.unit(1))

    assert subject.commit(subject.unit(expected)) is Answer.REFUSED_SEQUENCE


@pytest.mark.parametrize(
    ("topic", "folded_from"),
    [("chats", 2), ("chats", 4), ("chats", None), ("emails", 0), ("emails", 5)],
)
def test_commit_folded_from_other_offsets_is_refused(
    subject: Subject, topic: str, folded_from: int | None
) -> None:
    subject.claim()
    subject.commit(subject.unit(0, offsets=[("ad-impressions", None, 9), ("chats", None, 3)]))

    answer = subject.commit(
        subject.unit(1, offsets=[("ad-impressions", 9, 10), (topic, folded_from, 8)])
    )

    assert answer is Answer.REFUSED_OFFSETS


def test_offset_zero_is_not_the_same_as_none(subject: Subject) -> None:
    subject.claim()
    subject.commit(subject.unit(0, offsets=[("chats", None, 0)]))

    answer = subject.commit(subject.unit(1, offsets=[("chats", None, 1)]))

    assert answer is Answer.REFUSED_OFFSETS


@pytest.mark.parametrize(
    ("refusal", "changed"),
    [
        (Answer.REFUSED_OWNER, {"owner": "somebody"}),
        (Answer.REFUSED_SEQUENCE, {"seq": 2}),
        (Answer.REFUSED_OFFSETS, {"offsets": [("chats", 4, 5)]}),
    ],
    ids=lambda each: each.value if isinstance(each, Answer) else "",
)
def test_refused_commit_changes_nothing_at_all(
    subject: Subject, refusal: Answer, changed: dict[str, Any]
) -> None:
    subject.claim()
    subject.commit(subject.unit(0, offsets=[("chats", None, 3)], accounts=[account_write()]))
    before = subject.everything()
    wanted: dict[str, Any] = {
        "seq": 1,
        "offsets": [("chats", 3, 5)],
        "accounts": [full_write(), full_write("new")],
        "time": 5.0,
        "announcement": b"never",
    }

    answer = subject.commit(subject.unit(**(wanted | changed)))

    assert answer is refusal
    assert subject.everything() == before


def test_states_come_in_the_order_asked_for(subject: Subject) -> None:
    subject.claim()
    subject.write(0, account_write("a", state=b"1"), account_write("b", state=b"2"))

    assert subject.states("b", "unknown", "a", "b") == [b"2", None, b"1", b"2"]


def test_no_states_are_asked_for_in_vain(subject: Subject) -> None:
    assert subject.states() == []


def test_newer_state_replaces_the_stored_one(subject: Subject) -> None:
    subject.claim()
    subject.write(0, account_write(state=b"a longer state"))

    subject.write(1, account_write(state=b"short"))

    assert subject.states("acme") == [b"short"]


@pytest.mark.parametrize("data", [bytes(range(256)), b"", b"\r\n$-1\r\n", b"\xff" * 100_000])
def test_bytes_are_kept_as_they_are(subject: Subject, data: bytes) -> None:
    subject.claim()

    subject.write(0, account_write(state=data, fresh=[("ad:1", data)]), announcement=data)

    assert subject.states("acme") == [data]
    assert subject.seen(("acme", "ad:1")) == [data]
    assert subject.outbox() == {1: data}


@pytest.mark.parametrize("account_id", STRANGE_IDS, ids=lambda text: ascii(text[:20]))
def test_any_text_can_be_an_account_id(subject: Subject, account_id: str) -> None:
    subject.claim()

    subject.write(0, account_write("neighbour", state=b"other"), full_write(account_id))

    assert subject.states(account_id, "neighbour") == [b"full", b"other"]
    assert subject.account(account_id)["engagement"] == "1.5"
    assert subject.seen((account_id, "ad:20000"), ("neighbour", "ad:20000")) == [b"12345678", b""]
    assert subject.due() == [account_id]
    assert [subject.leaders(board) for board in BOARDS] == [[account_id]] * 3


def test_hash_of_an_account_holds_its_fields(subject: Subject) -> None:
    subject.claim()
    subject.write(0, account_write(fields=["engagement", "1.0", "owner_id", "Zoë ☕"]))

    subject.write(1, account_write(fields=["engagement", "2.0", "owner_id", ""]))

    assert subject.account("acme") == {
        "bucket": "",
        "surging": "0",
        "engagement": "2.0",
        "owner_id": "",
    }
    assert subject.account("unknown") == {}


def test_one_commit_carries_five_hundred_accounts(subject: Subject) -> None:
    ids = [f"account-{number}" for number in range(500)]
    subject.claim()

    subject.write(
        0,
        *(
            account_write(
                each,
                state=each.encode(),
                scores=(float(number), None, 1.0),
                due=float(number),
                bucket=f"{number % 3}|engaged",
                moves=["none>engaged"],
                fresh=[("ad:1", b"a" * 8), ("chat:2", each.encode())],
                fields=[text for name in range(16) for text in (f"field-{name}", each)],
            )
            for number, each in enumerate(ids)
        ),
    )

    assert subject.states(*ids) == [each.encode() for each in ids]
    assert subject.seen(*((each, "chat:2") for each in ids)) == [each.encode() for each in ids]
    assert subject.due(limit=1_000) == ids
    assert subject.leaders("engagement", 1_000) == ids[::-1]
    assert subject.funnel() == {
        "0|engaged": 167,
        "1|engaged": 167,
        "2|engaged": 166,
        "none>engaged": 500,
    }
    assert subject.account("account-499")["field-15"] == "account-499"


def test_leaders_come_best_first_and_no_more_than_asked_for(subject: Subject) -> None:
    subject.claim()
    scores = {"low": -3.25, "high": 1_460.75, "middle": 0.5, "lowest": -1e300}

    subject.write(0, *(account_write(each, scores=(at, None, None)) for each, at in scores.items()))

    assert subject.leaders("engagement") == ["high", "middle", "low", "lowest"]
    assert subject.leaders("engagement", 2) == ["high", "middle"]
    assert subject.leaders("relationship") == []


def test_equal_leaders_come_in_one_order(subject: Subject) -> None:
    subject.claim()

    subject.write(0, *(account_write(each, scores=(1.0, None, None)) for each in "bZaé"))

    assert subject.leaders("engagement") == ["é", "b", "a", "Z"]


def test_board_holds_scores_to_the_last_bit(subject: Subject) -> None:
    score = 1_472.123_456_789_012_3
    subject.claim()

    subject.write(0, account_write(scores=(score, 0.1 + 0.2, 5e-324)))

    assert [subject.board(board)["acme"] for board in BOARDS] == [score, 0.1 + 0.2, 5e-324]


def test_account_without_a_score_leaves_that_board(subject: Subject) -> None:
    subject.claim()
    subject.write(0, account_write(scores=(1.0, 2.0, 3.0)))

    subject.write(1, account_write(scores=(4.0, None, 0.0)))

    assert [subject.board(board) for board in BOARDS] == [{"acme": 4.0}, {}, {"acme": 0.0}]


def test_due_accounts_come_earliest_first(subject: Subject) -> None:
    subject.claim()
    instants = {"third": 30.25, "first": -1.0, "second": 30.125}

    subject.write(0, *(account_write(each, due=at) for each, at in instants.items()))

    assert subject.due() == ["first", "second", "third"]
    assert subject.due(limit=2) == ["first", "second"]


def test_account_is_due_at_its_instant_and_not_before(subject: Subject) -> None:
    instant = 1_767_225_600.123_456_7
    subject.claim()

    subject.write(0, account_write(due=instant))

    assert subject.due(instant - 2**-20) == []
    assert subject.due(instant) == ["acme"]


def test_due_instant_moves_and_goes(subject: Subject) -> None:
    subject.claim()
    subject.write(0, account_write("moves", due=1.0), account_write("goes", due=2.0))

    subject.write(1, account_write("moves", due=3.0), account_write("goes", due=None))

    assert subject.due(2.5) == []
    assert subject.due() == ["moves"]


def test_account_is_counted_in_its_bucket(subject: Subject) -> None:
    subject.claim()

    subject.write(
        0,
        account_write("a", bucket="1|target"),
        account_write("b", bucket="1|target"),
        account_write("c", bucket="none|engaged"),
        account_write("no target"),
    )

    assert subject.funnel() == {"1|target": 2, "none|engaged": 1}


def test_account_moves_from_the_stored_bucket_to_the_new_one(subject: Subject) -> None:
    subject.claim("old")
    subject.commit(subject.unit(owner="old", accounts=[account_write(bucket="1|target")]))
    subject.claim("me")

    subject.write(1, account_write(bucket="2|engaged"))

    assert subject.funnel() == {"2|engaged": 1}


def test_account_that_stays_in_its_bucket_is_not_counted_again(subject: Subject) -> None:
    subject.claim()
    subject.write(0, account_write(bucket="1|target"))

    subject.write(1, account_write(bucket="1|target"))

    assert subject.funnel() == {"1|target": 1}


def test_account_that_is_no_target_any_more_leaves_the_funnel(subject: Subject) -> None:
    subject.claim()
    subject.write(0, account_write(bucket="1|target"))

    subject.write(1, account_write(bucket=""))

    assert subject.funnel() == {}


def test_moves_between_stages_are_counted(subject: Subject) -> None:
    subject.claim()
    subject.write(0, account_write("a", moves=["target>engaged", "engaged>target"]))

    subject.write(
        1,
        account_write("a", moves=["target>engaged"]),
        account_write("b", moves=["target>engaged", "engaged>target", "target>engaged"]),
    )

    assert subject.funnel() == {"target>engaged": 4, "engaged>target": 2}


def test_surging_accounts_are_counted(subject: Subject) -> None:
    subject.claim()
    subject.write(0, *(account_write(each, surging=True) for each in "abc"))

    subject.write(1, account_write("a", surging=False), account_write("b", surging=True))

    assert subject.funnel() == {"surging": 2}


def test_funnel_is_summed_over_shards(subject: Subject) -> None:
    other = subject.shard + 1
    subject.claim()
    subject.claim(shard=other)
    subject.write(0, account_write(bucket="1|target"))

    subject.commit(subject.unit(accounts=[account_write("b", bucket="1|target")], shard=other))

    assert subject.funnel(other) == {"1|target": 2}


def test_outbox_keeps_what_is_not_announced(subject: Subject) -> None:
    subject.claim("old")
    for seq, entry in enumerate([b"first", None, b"third"]):
        subject.commit(subject.unit(seq, owner="old", announcement=entry))

    subject.claim("new")

    assert subject.outbox() == {1: b"first", 3: b"third"}


def test_outbox_is_ordered_by_sequence_number(subject: Subject) -> None:
    subject.claim()
    for seq in range(12):
        subject.write(seq, announcement=str(seq + 1).encode())

    assert list(subject.outbox()) == list(range(1, 13))


def test_announced_entries_leave_the_outbox(subject: Subject) -> None:
    subject.claim()
    for seq in range(3):
        subject.write(seq, announcement=b"entry")

    removed = subject.announced(1, 3, 77)

    assert removed == 2
    assert list(subject.outbox()) == [2]


def test_entries_that_another_worker_announced_are_told_by_their_number(subject: Subject) -> None:
    subject.claim()
    subject.write(0, announcement=b"entry")
    subject.announced(1)

    assert subject.announced(1) == 0


def test_accounts_to_look_at_again_are_due_at_once(subject: Subject) -> None:
    subject.claim()
    subject.write(0, account_write("a", due=500.0), account_write("b"), account_write("c", due=7.0))

    subject.look_again("a", "b")

    assert subject.due(now=8.0) == ["a", "b", "c"]
    assert subject.due(now=0.0) == ["a", "b"]


def test_unknown_accounts_are_not_looked_at_again(subject: Subject) -> None:
    subject.claim()
    subject.write(0, account_write("a"))

    subject.look_again("nobody")
    subject.look_again()

    assert subject.due() == []


def test_announcing_nothing_changes_nothing(subject: Subject) -> None:
    subject.claim()
    subject.write(0, announcement=b"entry")

    subject.announced()

    assert subject.outbox() == {1: b"entry"}


def test_seen_ids_are_appended(subject: Subject) -> None:
    subject.claim()
    subject.write(0, account_write(fresh=[("ad:1", b"aaaaaaaa")]))

    subject.write(1, account_write(fresh=[("ad:1", b"bbbbbbbbcccccccc"), ("ad:2", b"dddddddd")]))

    assert subject.seen(("acme", "ad:2"), ("acme", "ad:1")) == [
        b"dddddddd",
        b"aaaaaaaabbbbbbbbcccccccc",
    ]


def test_ids_never_seen_are_empty(subject: Subject) -> None:
    assert subject.seen(("acme", "ad:1"), ("acme", "ad:2")) == [b"", b""]
    assert subject.seen() == []


def test_seen_ids_are_kept_per_account_type_and_day(subject: Subject) -> None:
    subject.claim()

    subject.write(
        0,
        account_write("a", fresh=[("ad:1", b"11111111"), ("chat:1", b"22222222")]),
        account_write("b", fresh=[("ad:1", b"33333333")]),
    )

    keys = [("a", "ad:1"), ("a", "chat:1"), ("a", "ad:2"), ("b", "ad:1")]
    assert subject.seen(*keys) == [b"11111111", b"22222222", b"", b"33333333"]


def test_dropped_days_are_forgotten(subject: Subject) -> None:
    subject.claim()
    subject.write(0, account_write(fresh=[("ad:1", b"11111111"), ("ad:2", b"22222222")]))

    subject.write(1, account_write(fresh=[("ad:4", b"44444444")], dropped=["ad:1", "ad:0"]))

    keys = [("acme", "ad:1"), ("acme", "ad:2"), ("acme", "ad:4")]
    assert subject.seen(*keys) == [b"", b"22222222", b"44444444"]


def test_days_that_ended_are_kept_oldest_first(subject: Subject) -> None:
    subject.claim()
    first, second = DayScores(19_000, 12.5, 0.0, 99.998), DayScores(19_001, 11.0, 100.0, 0.002)

    subject.write(0, account_write(days=[first]), account_write("other"))
    subject.write(1, account_write(days=[second]))

    assert subject.history("acme", "other", "unknown") == [[first, second], [], []]
    assert subject.history() == []


def test_day_that_is_told_again_is_replaced(subject: Subject) -> None:
    subject.claim()
    subject.write(0, account_write(days=[DayScores(19_000, 1.0, 2.0, 3.0)]))

    subject.write(1, account_write(days=[DayScores(19_000, 4.0, 5.0, 6.0)]))

    assert subject.history("acme") == [[DayScores(19_000, 4.0, 5.0, 6.0)]]


def test_thirteen_weeks_of_days_are_kept(subject: Subject) -> None:
    subject.claim()
    days = [DayScores(19_000 + n, float(n % 100), 0.0, 0.0) for n in range(200)]

    for seq, start in enumerate(range(0, 200, 50)):
        subject.write(seq, account_write(days=days[start : start + 50]))

    assert subject.history("acme") == [days[-DAYS_KEPT:]]


def test_days_before_a_long_silence_are_forgotten(subject: Subject) -> None:
    subject.claim()
    subject.write(0, account_write(days=[DayScores(19_000, 1.0, 0.0, 0.0)]))

    subject.write(1, account_write(days=[DayScores(19_000 + DAYS_KEPT, 2.0, 0.0, 0.0)]))

    assert subject.history("acme") == [[DayScores(19_000 + DAYS_KEPT, 2.0, 0.0, 0.0)]]


def fact(time: float, code: int = Code.PAGE_VISIT, flags: int = TOUCH) -> bytes:
    return FACT.pack(time, 1.0, 0.5, 1, 2, 3, code, flags)


def test_facts_are_appended_in_order(subject: Subject) -> None:
    subject.claim()

    subject.write(0, account_write(facts=FactWrite(fact(1.0), fact(2.0))))
    subject.write(1, account_write(facts=FactWrite(fact(3.0))))

    assert subject.facts("acme", "unknown") == [(fact(1.0) + fact(3.0), fact(2.0)), (b"", b"")]


def test_a_log_of_any_length_is_appended_to(subject: Subject) -> None:
    subject.claim()
    hundreds = [
        b"".join(fact(float(n)) for n in range(at, at + 100)) for at in range(0, 1_200, 100)
    ]

    for seq, new in enumerate(hundreds):
        subject.write(seq, account_write(facts=FactWrite(new, new)))

    whole = b"".join(hundreds)
    assert len(whole) > 48_000
    assert subject.facts("acme") == [(whole, whole)]


def test_a_log_beyond_its_bounds_loses_its_oldest_facts_and_says_so(subject: Subject) -> None:
    subject.claim()
    facts = [fact(float(n), flags=TOUCH if n % 2 else 0) for n in range(40)]
    expected = b""

    for seq, start in enumerate(range(0, 40, 5)):
        new = b"".join(facts[start : start + 5])
        subject.write(seq, account_write(facts=FactWrite(new, new, most=16)))
        expected = cut(expected + new, oldest=NEVER, spare_seconds=0.0, most=16)

    ((events, records),) = subject.facts("acme")
    assert events == records == expected
    assert len(events) < 20 * FACT.size
    newest, _, _, earliest, _, touches, code, _ = HEAD.unpack_from(events)
    assert (earliest, touches, code) == (1.0, (newest + 1) // 2, Code.CUT)
    assert events[FACT.size :] == b"".join(facts[int(newest) + 1 :])


def test_facts_before_the_oldest_kept_are_dropped_with_the_spare_time(subject: Subject) -> None:
    subject.claim()
    both = FactWrite(fact(5.0) + fact(12.0), oldest=10.0, spare_seconds=5.0)
    subject.write(0, account_write(facts=both))
    assert subject.facts("acme")[0][0] == fact(5.0) + fact(12.0)

    subject.write(1, account_write(facts=FactWrite(fact(20.0), oldest=11.0, spare_seconds=5.0)))

    assert subject.facts("acme")[0][0][FACT.size :] == fact(12.0) + fact(20.0)


def test_a_refused_commit_appends_no_facts(subject: Subject) -> None:
    subject.claim()

    answer = subject.commit(
        subject.unit(3, accounts=[account_write(facts=FactWrite(fact(1.0), fact(1.0)))])
    )

    assert answer is Answer.REFUSED_SEQUENCE
    assert subject.facts("acme") == [(b"", b"")]


def test_names_and_spend_are_kept_once(subject: Subject) -> None:
    subject.claim()
    spend = [(20.0, b"b" * 32), (10.5, b"a" * 32)]
    names = {2**64 - 1: "/pricing", 7: "naïve-𝄞"}

    subject.commit(subject.unit(0, names=names, spend=spend))
    subject.commit(subject.unit(1, names={7: "other"}, spend=spend[:1]))

    assert subject.names() == names
    assert subject.spend() == sorted(spend)

"""Noise: who is labelled, with which reason, and that a labelled event adds nothing."""

from typing import Any

import crawleruseragents
import pytest

from scoring.account import decode_state, encode_state
from scoring.crawlers import known_crawler
from scoring.errors import InvalidModel
from scoring.fold import Account, Outcome, fold
from scoring.gateway import EMAILS_KEPT
from scoring.model import default_model, parse_model
from scoring.noise import Noise
from scoring.report import account_report
from scoring.rules import Rules
from tests.builders import decoded, default_rules, fold_all, new_account
from tests.strategies import START, rfc3339

Json = dict[str, Any]

BROWSERS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36 Edg/141.0.0.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:143.0) Gecko/20100101 Firefox/143.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Safari/605.1.15",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (Linux; Android 14; SM-S918B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 [LinkedInApp]/9.31",
    "Mozilla/5.0 (Linux; Android 9; CUBOT_X18_Plus) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Mobile Safari/537.36",
    "Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 10.0; Microsoft Outlook 16.0.5197; ms-office; MSOffice 16)",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Thunderbird/128.0",
    "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
    "YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html",
    "Mozilla/5.0",
    "Opera/9.80 (Windows NT 6.1) Presto/2.12.388 Version/12.18",
)
CRAWLERS = (
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
    "python-requests/2.32.3",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/141.0.0.0 Safari/537.36",
)
PROBES = ("kube-probe/1.33", "ELB-HealthChecker/2.0", "GoogleHC/1.0", "Pingdom.com_bot_version_1.4")


def visit(number: int = 0, *, seconds: float = 0.0, **fields: Any) -> Json:
    common = {"id": f"v{number}", "source": "web", "time": rfc3339(START + seconds)}
    page = {"type": "page_visit", "account_id": "acme", "url": "https://x.example/pricing"}
    return common | page | {"duration_seconds": 60} | fields


def email(action: str, seconds: float, *, number: int = 0, **fields: Any) -> Json:
    common = {"id": f"{action}{seconds}-{number}", "source": "mail", "account_id": "acme"}
    event = {"type": "email", "action": action, "direction": "outbound", "contact_id": "ann"}
    return common | event | {"campaign_id": "c1", "time": rfc3339(START + seconds)} | fields


def rules_of(text: str) -> Rules:
    return Rules.of(parse_model(text))


def labels(events: list[Json], rules: Rules | None = None) -> list[Any]:
    return fold_all(events, rules=rules)[1]


GATEWAY = rules_of("[noise.gateway]\nenabled = true\n")


# --- user agents


@pytest.mark.parametrize("user_agent", BROWSERS)
def test_no_browser_and_no_mail_reader_is_labelled(user_agent: str) -> None:
    assert labels([visit(user_agent=user_agent)]) == [Outcome.SCORED]


@pytest.mark.parametrize("user_agent", CRAWLERS)
def test_a_crawlers_visit_is_labelled(user_agent: str) -> None:
    assert labels([visit(user_agent=user_agent)]) == [Noise.CRAWLER]


@pytest.mark.parametrize("user_agent", PROBES)
def test_a_probes_visit_is_labelled(user_agent: str) -> None:
    assert labels([visit(user_agent=user_agent)]) == [Noise.HEALTH_CHECK]


def test_a_crawler_that_opens_an_email_is_labelled() -> None:
    assert labels([email("opened", 9, user_agent=CRAWLERS[2])]) == [Noise.CRAWLER]


def test_a_visit_to_a_health_check_is_labelled_where_it_says_what_asked() -> None:
    url = "https://x.example/healthz"

    found = labels([visit(1, url=url, user_agent=BROWSERS[0]), visit(2, url=url)])

    assert found == [Noise.HEALTH_CHECK, Outcome.SCORED]


def test_crawlers_are_known_as_the_list_knows_them() -> None:
    examples = [
        text for each in crawleruseragents.CRAWLER_USER_AGENTS_DATA for text in each["instances"]
    ]
    assert len(examples) > 1_000

    differing = [
        text for text in examples if known_crawler(text) != crawleruseragents.is_crawler(text)
    ]

    assert differing == []


def test_rules_can_be_switched_off_one_by_one() -> None:
    rules = rules_of("[noise.crawler]\nenabled = false\n")

    found = labels([visit(1, user_agent=CRAWLERS[0]), visit(2, user_agent=PROBES[0])], rules)

    assert found == [Outcome.SCORED, Noise.HEALTH_CHECK]


def test_the_model_can_name_further_crawlers_and_exceptions() -> None:
    rules = rules_of("[noise.crawler]\nuser_agents = ['AcmeScan']\nnever = ['python-requests']\n")

    found = labels([visit(1, user_agent="acmescan/1"), visit(2, user_agent=CRAWLERS[2])], rules)

    assert found == [Noise.CRAWLER, Outcome.SCORED]


def test_nothing_looks_at_types_that_no_rule_of_the_default_model_is_about() -> None:
    kinds = default_rules().kinds

    looked_at = {type_ for type_, kind in kinds.items() if kind.label is not None}

    assert looked_at == {"page_visit", "email"}


# --- what a label does


def test_a_labelled_event_is_counted_and_adds_nothing() -> None:
    account, _ = fold_all([visit(n, seconds=n, user_agent=CRAWLERS[0]) for n in range(50)])

    report = account_report(account.state, START + 60.0, default_rules())

    scores = ("engagement", "engagement_minutes", "intent_surge", "relationship")
    assert [report[name] for name in scores] == [0.0] * 4
    assert (report["events"], report["surge"], report["surging"]) == (50, {}, [])
    assert report["noise"] == {"crawler": 50}
    assert report["last_event_at"] is not None
    live = account.live
    assert (live.announced, live.alerts, live.facts) == ([], [], [])


def test_a_repeat_of_a_labelled_event_is_a_duplicate() -> None:
    event = visit(user_agent=CRAWLERS[0])

    assert labels([event, event]) == [Noise.CRAWLER, Outcome.DUPLICATE]


def test_labelled_events_between_others_change_no_score() -> None:
    people = [visit(n, seconds=60 * n, contact_id="ann") for n in range(9)]
    crawls = [visit(n + 100, seconds=60 * n, user_agent=CRAWLERS[0]) for n in range(9)]
    mixed = [each for pair in zip(people, crawls, strict=True) for each in pair]
    now, rules = START + 3_600.0, default_rules()

    alone = account_report(fold_all(people)[0].state, now, rules)
    beside = account_report(fold_all(mixed)[0].state, now, rules)

    assert beside | {"events": 9, "noise": {}} == alone


# --- our own people


STAFF = rules_of(
    "[noise.staff]\ndomains = ['seller.example']\naddresses = ['dana@home.example']\n"
    "networks = ['203.0.113.0/24', '2001:db8::/32']\n"
)


@pytest.mark.parametrize(
    "fields",
    [
        {"email": "Dana@Seller.example"},
        {"email": "dana@de.seller.example"},
        {"email": "DANA@home.example"},
        {"ip": "203.0.113.9"},
        {"ip": "::ffff:203.0.113.9"},
        {"ip": "2001:db8::1"},
        {"network_host": "vpn.seller.example."},
    ],
)
def test_our_own_people_are_known_by_address_and_network(fields: Json) -> None:
    assert labels([visit(**fields)], STAFF) == [Noise.STAFF]


@pytest.mark.parametrize(
    "fields",
    [
        {"email": "ann@notseller.example"},
        {"email": "erin@home.example"},
        {"ip": "203.0.114.9"},
        {"ip": "not an address"},
        {"network_host": "seller.example.org"},
        {},
    ],
)
def test_others_are_not_taken_for_our_own_people(fields: Json) -> None:
    assert labels([visit(**fields)], STAFF) == [Outcome.SCORED]


def test_nobody_is_ours_until_the_model_says_who() -> None:
    assert labels([visit(email="dana@seller.example", ip="203.0.113.9")]) == [Outcome.SCORED]


@pytest.mark.parametrize(
    "line",
    [
        "networks = ['203.0.113.1/24']",
        "networks = ['office']",
        "domains = ['Seller.example']",
        "domains = ['dana@seller.example']",
        "addresses = ['dana']",
    ],
)
def test_what_is_no_network_domain_or_address_is_refused(line: str) -> None:
    with pytest.raises(InvalidModel, match=r"noise\.staff"):
        parse_model(f"[noise.staff]\n{line}\n")


# --- mail security gateways


def test_gateways_are_not_looked_for_by_default() -> None:
    found = labels([email("sent", 0), email("opened", 1), email("clicked", 1)])

    assert found == [Outcome.SCORED] * 3


def test_opens_and_clicks_within_seconds_of_the_email_are_a_gateways() -> None:
    late = [email("opened", 5.5), email("clicked", 9)]

    found = labels([email("sent", 0), email("opened", 1), email("clicked", 5), *late], GATEWAY)

    assert found == [Outcome.SCORED, Noise.GATEWAY, Noise.GATEWAY, Outcome.SCORED, Outcome.SCORED]


def test_an_email_to_somebody_else_or_of_another_campaign_is_no_evidence() -> None:
    others = [email("opened", 1, contact_id="bob"), email("clicked", 1, campaign_id="c2")]

    found = labels([email("sent", 0), *others, email("sent", 50, direction="inbound")], GATEWAY)

    assert found == [Outcome.SCORED] * 4


def test_of_many_clicks_at_once_those_from_the_fourth_on_are_a_gateways() -> None:
    clicks = [email("clicked", 100 + n / 4, number=n) for n in range(6)]

    found = labels([email("sent", 0), *clicks, email("clicked", 110)], GATEWAY)

    assert found == [Outcome.SCORED] * 4 + [Noise.GATEWAY] * 3 + [Outcome.SCORED]


def test_visits_from_a_gateways_network_are_labelled() -> None:
    rules = rules_of("[noise.gateway]\nenabled = true\nnetworks = ['198.51.100.0/24']\n")
    visits = [visit(1, network_host="mx1.pphosted.com"), visit(2, ip="198.51.100.7"), visit(3)]

    assert labels(visits, rules) == [Noise.GATEWAY, Noise.GATEWAY, Outcome.SCORED]


def test_the_same_emails_are_labelled_alike_however_they_were_batched() -> None:
    events = [
        email(action, float(seconds), number=seconds, contact_id=f"p{seconds % 3}")
        for seconds, action in enumerate(["sent", "sent", "opened", "clicked", "clicked"] * 8)
    ]
    whole, account, parted = labels(events, GATEWAY), new_account(), []

    for event in events:
        account = Account(decode_state(encode_state(account.state)), account.seen)
        parted.append(fold(account, *decoded(event), GATEWAY))

    assert parted == whole
    assert Noise.GATEWAY in whole


def test_what_is_kept_of_emails_is_bounded_and_the_longest_untouched_goes_first() -> None:
    sent = [email("sent", n / 100, contact_id=f"p{n}") for n in range(EMAILS_KEPT + 5)]
    account, _ = fold_all(sent, rules=GATEWAY)

    assert len(account.state.emails) == EMAILS_KEPT
    assert labels([*sent, email("opened", 1, contact_id="p0")], GATEWAY)[-1] is Outcome.SCORED
    assert labels([*sent, email("opened", 1, contact_id="p9")], GATEWAY)[-1] is Noise.GATEWAY


def test_clicks_kept_of_one_email_are_bounded() -> None:
    account, _ = fold_all([email("clicked", n / 100, number=n) for n in range(100)], rules=GATEWAY)

    (kept,) = account.state.emails.values()
    assert len(kept) == 1 + default_model().noise.gateway.links_at_once


def test_nothing_is_kept_of_emails_where_nobody_looks_for_gateways() -> None:
    account, _ = fold_all([email("sent", 0), email("clicked", 1)])

    assert account.state.emails == {}


def test_rules_on_noise_do_not_change_what_stored_scores_fit() -> None:
    assert parse_model("[noise.gateway]\nenabled = true\n").digest == default_model().digest

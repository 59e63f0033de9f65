"""*Engagement*: channels, content, surges, coverage."""

from grafana_foundation_sdk.builders import dashboard as build

from deploy.grafana.generator.kpi import kpi
from deploy.grafana.generator.look import (
    BUSINESS,
    board_variable,
    dashboard,
    more_is_better,
    more_is_worse,
    tier_variable,
    to_board,
)
from deploy.grafana.generator.panels import About, Panel, bars, figure, filled, lines

TO_TODAY = to_board("Accounts to call today")
MONTH = "Over the last 30 days."


def board() -> build.Dashboard:
    """Return the dashboard."""
    text = "What buying committees do: by channel and content, who surges, whom we know. KPIs are of the last 30 days."
    empty = (
        dashboard("engagement", "Engagement", text, alerts=BUSINESS)
        .time("now-30d", "now")
        .with_variable(tier_variable("surgeline_kpi_target_accounts", every=False))
        .with_variable(board_variable())
    )
    rows = (
        ("At a glance", _glance()),
        ("Channels", _channels()),
        ("Content", _content()),
        ("Surges and interest", _surges()),
        ("Coverage and relationship", _coverage()),
    )
    return filled(empty, rows)


def _share(
    title: str, text: str, *, good: float, doubtful: float, no_value: str = "not enough data"
) -> About:
    steps = more_is_better(doubtful, good)
    return About(title, text, unit="percentunit", steps=steps, greatest=1, no_value=no_value)


def _glance() -> list[Panel]:
    engaged = _share(
        "Engaged rate",
        "Share of target accounts that are engaged or deeper. Falling: compare the channels below "
        "with last month's.",
        good=0.25,
        doubtful=0.1,
    )
    aware = _share(
        "Awareness",
        f"Share of target accounts with a visit, an opened email or a held meeting. {MONTH} Low: "
        "they do not know you yet; ads and outreach come before selling.",
        good=0.5,
        doubtful=0.25,
    )
    penetration = _share(
        "Account penetration",
        f"Share of the known contacts with a touch. {MONTH} Low: only a few people of each "
        "committee are reached; widen it (contacts on the account's page).",
        good=0.3,
        doubtful=0.1,
    )
    surging = About(
        "Surging accounts",
        "Accounts surging now on any topic. Call them this week, the highest scores first.",
        links=(TO_TODAY,),
    )
    score = About(
        "Relationship, median",
        "Median relationship score of target accounts, 0 to 100; one contact alone reaches 60. "
        "Low: single-threaded or one-sided; get answers from a second person.",
        steps=more_is_better(20, 40),
        decimals=0,
    )
    known = _share(
        "De-anonymised visitors",
        f"Share of the anonymous visitors of target accounts that became known people. {MONTH} "
        "Near zero: forms, chat or the identify events of the site do not work.",
        good=0.1,
        doubtful=0.02,
    )
    return [
        figure(engaged, kpi("engaged_rate_ratio")),
        figure(aware, kpi("awareness_ratio")),
        figure(penetration, kpi("account_penetration_ratio")),
        figure(surging, kpi("intent_surges_any")),
        figure(score, kpi("relationship_score_median")),
        figure(known, kpi("deanonymisation_rate_ratio")),
    ]


def _channels() -> list[Panel]:
    arriving = About(
        "Events by type",
        "Records a second of each type as workers score them; all accounts. A type that goes to "
        "zero is a feed that stopped: ask whoever runs that producer.",
        unit="reqps",
    )
    reach = About(
        "Reach by channel",
        f"Share of target accounts touched through each channel. {MONTH} A channel that reaches "
        "few of them, and costs much, is spent on others: see focus.",
        unit="percentunit",
        greatest=1,
    )
    focus = About(
        "Focus by channel",
        f"Share of all touches that come from target accounts. {MONTH} Low: the campaign draws "
        "people you do not sell to; narrow its audience.",
        unit="percentunit",
        greatest=1,
    )
    time = About(
        "Time spent by channel",
        f"Attention given to you, with page value, per channel. {MONTH} A channel that shrinks "
        "month by month: renew what it offers.",
        unit="s",
    )
    mail = About(
        "Email rates",
        f"Opened, clicked and replied, of the emails that your people sent. {MONTH} Opened but not "
        "replied: the text; not opened: the subject or the list. Above 100 % means that mail is "
        "opened several times.",
        unit="percentunit",
    )
    ads = About(
        "Ad impressions and clicks",
        f"{MONTH} Impressions without clicks or view-through visits: the creative, or the audience.",
    )
    events = "sum by (event) (rate(surgeline_events_total[$__rate_interval]))"
    return [
        lines(arriving, (events, "{{event}}"), stacked=True, span=16),
        bars(reach, f"sort_desc({kpi('reach_by_channel_share_ratio', 'channel')})", "{{channel}}"),
        bars(focus, f"sort_desc({kpi('reach_by_channel_focus_ratio', 'channel')})", "{{channel}}"),
        lines(time, (kpi("time_spent_seconds", "channel"), "{{channel}}"), stacked=True, span=16),
        lines(
            mail,
            (kpi("email_open_rate_ratio"), "opened"),
            (kpi("email_click_rate_ratio"), "clicked"),
            (kpi("email_reply_rate_ratio"), "replied"),
        ),
        lines(
            ads,
            (kpi("ad_impressions", "placement"), "impressions, {{placement}}"),
            (kpi("ad_clicks", "placement"), "clicks, {{placement}}"),
            (kpi("view_through_visits"), "view-through visits"),
            (kpi("view_through_conversions"), "view-through conversions"),
        ),
    ]


def _content() -> list[Panel]:
    visits = About(
        "Visits by part of the funnel",
        f"tofu: ordinary pages, mofu: product and customers, bofu: prices and demos. {MONTH} Much "
        "tofu and no bofu: nothing leads readers on to the prices.",
    )
    time = About(
        "Time by part of the funnel",
        f"Attention by the value that the scoring model gives the page. {MONTH} Many visits and "
        "little time: people do not find what the link promised.",
        unit="s",
    )
    site = About(
        "Website",
        f"Visits, those to high-value pages, and chats. {MONTH} High-value visits are worth a call "
        "within the hour; if they are many and meetings few, alerts are not acted upon.",
        links=(TO_TODAY,),
    )
    part = "content_engagement_part"
    return [
        bars(visits, kpi(f"{part}_visits", "part"), "{{part}}"),
        bars(time, kpi(f"{part}_time_seconds", "part"), "{{part}}"),
        lines(
            site,
            (kpi("website_visits"), "visits"),
            (kpi("high_value_page_visits"), "high-value visits"),
            (kpi("chat_conversations"), "chat conversations"),
            span=8,
        ),
    ]


def _surges() -> list[Panel]:
    surging = About(
        "Surging accounts",
        "Accounts with more interest than usual for them, and those whose interest is in our own "
        "pages (spikes). Third-party surges without spikes: they look, but not at you; advertise.",
        links=(TO_TODAY,),
    )
    raised = About(
        "Alerts raised, an hour",
        "By rule; all accounts. A flood of one rule wears people out: raise its threshold in the "
        "scoring model, or mute it for a while (surgeline mute rule NAME --for 4h).",
        no_value="no alerts",
    )
    distribution = About(
        "Engagement scores",
        "Accounts in each band of ten points, named by its lower end. All at the left: nobody is "
        "engaged; a hump at 90: the scoring model is too generous for this market.",
    )
    fit = About(
        "Fit of target accounts",
        "Share of target accounts by fit with the ideal customer. Much low or unknown: the target "
        "list needs work before any campaign does.",
        unit="percentunit",
        greatest=1,
    )
    return [
        lines(
            surging,
            (kpi("intent_surges_any"), "surging"),
            (kpi("engagement_spikes"), "on our own pages"),
            (kpi("competitor_surges"), "customers on competitors"),
        ),
        lines(
            raised,
            ("sum by (rule) (increase(surgeline_alerts_total[1h]))", "{{rule}}"),
            stacked=True,
        ),
        bars(
            distribution,
            'max by (band) (surgeline_kpi_score_distribution{score="engagement", tier="$tier"})',
            "{{band}}",
            span=12,
        ),
        bars(fit, kpi("icp_fit_share_ratio", "fit"), "{{fit}}", span=12),
    ]


def _coverage() -> list[Panel]:
    three = _share(
        "Accounts with three contacts",
        "Share of target accounts of which at least three people are known. Low: buying committees "
        "have six or seven; find the others before writing to the one.",
        good=0.7,
        doubtful=0.4,
    )
    people = About(
        "People known per account",
        "Known contacts per target account, mean; the guides' average committee is 6.8. Low: buy "
        "or research contacts for tier 1 first.",
        steps=more_is_better(2, 4),
        decimals=1,
    )
    weak = About(
        "Weak relationships",
        "Share of target accounts with a relationship score under 20. High: nobody there answers; "
        "write less and call more.",
        unit="percentunit",
        steps=more_is_worse(0.6, 0.8),
        greatest=1,
    )
    fields = About(
        "What is known of contacts",
        "Share of known contacts with an email address, a role, a seniority. Without seniority a "
        "director counts like anybody: fill it in the CRM.",
        unit="percentunit",
        greatest=1,
    )
    course = About(
        "Relationships improving and degrading",
        "Target accounts whose score is above or below that of 30 days ago. More degrading for "
        "weeks: outreach has slackened; the board shows per account who fell silent.",
    )
    return [
        figure(three, kpi("coverage_three_or_more_ratio")),
        figure(people, kpi("stakeholders_mean")),
        figure(weak, kpi("relationship_score_under_20_ratio")),
        lines(
            fields,
            (kpi("coverage_with_email_ratio"), "email"),
            (kpi("coverage_with_role_ratio"), "role"),
            (kpi("coverage_with_seniority_ratio"), "seniority"),
        ),
        lines(
            course,
            (kpi("relationship_score_improving"), "improving"),
            (kpi("relationship_score_degrading"), "degrading"),
        ),
    ]

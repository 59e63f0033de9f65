"""*Revenue*: pipeline, velocity, win rate, cost, lifetime value against acquisition cost."""

from grafana_foundation_sdk.builders import dashboard as build

from deploy.grafana.generator.kpi import cost, kpi, money
from deploy.grafana.generator.look import (
    BUSINESS,
    board_variable,
    currency_variable,
    dashboard,
    more_is_better,
    more_is_worse,
    tier_variable,
    to_board,
)
from deploy.grafana.generator.panels import About, Panel, bars, figure, filled, lines

MONTH = "Over the last 30 days."
NOT_ENOUGH = "not enough data"
TO_DEALS = to_board("Open opportunities on the board", "/?stage=opportunity")


def board() -> build.Dashboard:
    """Return the dashboard."""
    text = "What comes of it: pipeline, speed, wins, and what they cost. KPIs are of the last 30 days; costs have no tier."
    empty = (
        dashboard("revenue", "Revenue", text, alerts=BUSINESS)
        .time("now-90d", "now")
        .with_variable(tier_variable("surgeline_kpi_target_accounts", every=False))
        .with_variable(currency_variable())
        .with_variable(board_variable())
    )
    rows = (
        ("At a glance", _glance()),
        ("Pipeline and revenue", _pipeline()),
        ("Velocity", _velocity()),
        ("Win rate", _winning()),
        ("Cost and value", _costs()),
        ("Customers", _customers()),
    )
    return filled(empty, rows)


def _glance() -> list[Panel]:
    pipeline = About(
        "Pipeline, $currency",
        "Newest amounts of the open opportunities of target accounts. Less than three times what "
        "is to be sold this quarter: more accounts must become engaged (Funnel).",
        links=(TO_DEALS,),
        no_value="no open opportunity",
    )
    won = About(
        "Revenue won, $currency",
        f"New business, renewals and expansions. {MONTH} Falling while the pipeline holds: deals "
        "are stuck; see the deal cycle.",
        no_value="nothing won",
    )
    rate = About(
        "Win rate of decided deals",
        f"New deals won, of those won or lost. {MONTH} Falling: are opportunities opened before "
        "the committee is engaged? See influenced pipeline.",
        unit="percentunit",
        steps=more_is_better(0.15, 0.25),
        greatest=1,
        no_value="nothing decided",
    )
    cycle = About(
        "Deal cycle, median",
        f"From the first touch to the win. {MONTH} Longer than before: engage more than one person "
        "early (Engagement, penetration).",
        unit="s",
        no_value="nothing won",
    )
    cac = About(
        "Acquisition cost, $currency",
        f"Spend for each account won. {MONTH} Rising: look which programs spend without reaching "
        "target accounts (Engagement, focus).",
        no_value="nothing spent or won",
    )
    ratio = About(
        "LTV:CAC, $currency",
        "Lifetime value of a customer against what winning one costs. From 2 to 4 and rising is on "
        "the right track; under 1 each new customer loses money: cut the spend or the churn.",
        steps=more_is_better(2, 3),
        decimals=1,
        no_value=NOT_ENOUGH,
    )
    return [
        figure(pipeline, money("pipeline")),
        figure(won, money("revenue_won")),
        figure(rate, kpi("win_rate_of_decided_ratio")),
        figure(cycle, kpi("deal_cycle_median_seconds")),
        figure(cac, cost("cac")),
        figure(ratio, cost("ltv_to_cac_ratio")),
    ]


def _pipeline() -> list[Panel]:
    course = About(
        "Pipeline, $currency, over time",
        "Open amounts, and the part of accounts that were engaged before the opportunity opened. "
        "A small part: marketing and sales work on different accounts.",
        links=(TO_DEALS,),
        no_value="no open opportunity",
    )
    won = About(
        "Won in 30 days, $currency",
        "All wins, and the new business among them. New business at zero for weeks: see the "
        "conversion on Funnel from opportunity to customer.",
        no_value="nothing won",
    )
    tam = About(
        "Addressable market, $currency",
        "Mean new win times the accounts that fit. It should be far above the pipeline; if not, "
        "the list of accounts is too short.",
        no_value="nothing won",
    )
    share = About(
        "Influenced share of the pipeline",
        "Share of the pipeline whose accounts were engaged before. Low: deals come from elsewhere, "
        "so engagement says little about revenue yet.",
        unit="percentunit",
        greatest=1,
        no_value="no open opportunity",
    )
    return [
        lines(
            course,
            (money("pipeline"), "pipeline"),
            (money("influenced_pipeline"), "influenced"),
        ),
        lines(won, (money("revenue_won"), "all wins"), (money("new_revenue_won"), "new business")),
        lines(share, (money("influenced_pipeline_share_ratio"), "influenced")),
        lines(tam, (money("tam"), "addressable market")),
    ]


def _velocity() -> list[Panel]:
    opening = About(
        "First touch to opportunity",
        f"How long it takes from an account's first touch to its first opportunity. {MONTH} Longer "
        "than before: alerts are not followed up; see Pipeline health, notifications.",
        unit="s",
        no_value="no first opportunity",
    )
    cycle = About(
        "Deal cycle",
        f"From the first touch to the win. {MONTH} A mean far above the median: a few old deals; "
        "close or drop them.",
        unit="s",
        no_value="nothing won",
    )
    meetings = About(
        "Outreach to conversation to meeting",
        f"Share of accounts written to that answered, and of those that met. {MONTH} Answers but "
        "no meetings: propose a time; no answers: change the text or the person.",
        unit="percentunit",
        greatest=1,
        no_value="no outreach",
    )
    touches = About(
        "Touches before a win",
        f"Mean number of touches before an account's first win. {MONTH} Many more than before: "
        "interest is not turned into offers.",
        no_value="nothing won",
    )
    first, deal = "first_touch_to_opportunity", "deal_cycle"
    return [
        lines(
            opening,
            (kpi(f"{first}_median_seconds"), "median"),
            (kpi(f"{first}_mean_seconds"), "mean"),
        ),
        lines(
            cycle,
            (kpi(f"{deal}_median_seconds"), "median"),
            (kpi(f"{deal}_mean_seconds"), "mean"),
        ),
        lines(
            meetings,
            (kpi("conversations_to_meetings_conversations_ratio"), "outreach → conversation"),
            (kpi("conversations_to_meetings_meetings_ratio"), "conversation → meeting"),
        ),
        lines(touches, (kpi("touches_per_won_account"), "touches")),
    ]


def _winning() -> list[Panel]:
    rates = About(
        "Rates",
        "Target accounts with an opportunity or a win; target accounts won in 30 days; deals won "
        "of those decided. The first high and the last low: too many opportunities, too early.",
        unit="percentunit",
        greatest=1,
    )
    effect = About(
        "Win rate by engagement",
        "Accounts in the top quarter of engagement against those in the bottom quarter. No "
        "difference: the scoring model misses what matters here; review its points.",
        unit="percentunit",
        no_value="fewer than 8 accounts",
    )
    relation = About(
        "Relationship by engagement",
        "Mean relationship in the top and in the bottom quarter of engagement. Top engaged and "
        "badly connected: readers whom nobody talks to; call them.",
        no_value="fewer than 8 accounts",
    )
    quarter = "quartile_effect"
    return [
        lines(
            rates,
            (kpi("opportunity_rate_ratio"), "with an opportunity"),
            (kpi("win_rate_ratio"), "won in 30 days"),
            (kpi("win_rate_of_decided_ratio"), "won, of decided"),
            (kpi("conversion_rate_ratio"), "won, per touch"),
        ),
        bars(effect, kpi(f"{quarter}_win_rate_ratio", "quarter"), "{{quarter}}", span=6),
        bars(relation, kpi(f"{quarter}_relationship", "quarter"), "{{quarter}}", span=6),
    ]


def _costs() -> list[Panel]:
    each = About(
        "Cost per account, $currency",
        f"Spend for each account that became engaged, got an opportunity, was won. {MONTH} One "
        "that rises alone names the step that has become dear.",
        no_value="nothing spent",
    )
    value = About(
        "Lifetime value and acquisition cost, $currency",
        "What a customer brings over its lifetime, and what winning one costs. The lines should "
        "part, not meet.",
        no_value=NOT_ENOUGH,
    )
    ratio = About(
        "LTV:CAC, $currency, over time",
        "Rising from 2 to 4 is on the right track. Falling: cost, churn or contract values; the "
        "panels beside it say which.",
        steps=more_is_better(2, 3),
        no_value=NOT_ENOUGH,
    )
    acv = About(
        "Annual contract value, $currency",
        f"Mean amount for a year of contract of the period's wins. {MONTH} Falling: discounts, or "
        "smaller accounts than the target list names.",
        no_value="nothing won",
    )
    return [
        lines(
            each,
            (cost("cost_per_engaged_account"), "engaged"),
            (cost("cost_per_opportunity_account"), "with an opportunity"),
            (cost("cost_per_won_account"), "won"),
        ),
        lines(value, (money("clv"), "lifetime value"), (cost("cac"), "acquisition cost")),
        lines(ratio, (cost("ltv_to_cac_ratio"), "LTV:CAC")),
        lines(acv, (money("acv"), "annual contract value")),
    ]


def _customers() -> list[Panel]:
    renewals = About(
        "Renewal rate",
        f"Renewals won, of those decided. {MONTH} Under nine in ten: look at cooling relationships "
        "three months before the renewal, not after it.",
        unit="percentunit",
        steps=more_is_better(0.8, 0.9),
        greatest=1,
        no_value="none decided",
    )
    nps = About(
        "Net promoter score",
        f"Share of 9 and 10 minus share of 0 to 6, in points. {MONTH} Falling: read the answers; "
        "it comes before the churn.",
        steps=more_is_better(0, 30),
        no_value="no answers",
    )
    cooling = About(
        "Cooling customers",
        "Customers whose relationship fell by 20 or more within 30 days. Call each of them; the "
        "board shows who fell silent.",
        steps=more_is_worse(1, 5),
        links=(to_board("Customers on the board", "/?stage=customer"),),
    )
    leaving = About(
        "Customers looking at competitors",
        "Customers surging on a competitor topic now. Their owners were alerted: ask what came of it.",
        steps=more_is_worse(1, 3),
    )
    return [
        figure(renewals, kpi("renewal_rate_ratio")),
        figure(nps, kpi("nps")),
        figure(cooling, kpi("relationship_cooling")),
        figure(leaving, kpi("competitor_surges")),
    ]

"""*Funnel*: six stages of target accounts, what moves between them, by tier."""

from itertools import pairwise

from grafana_foundation_sdk.builders import dashboard as build

from deploy.grafana.generator.look import (
    BUSINESS,
    STAGE_COLOURS,
    board_variable,
    dashboard,
    fixed_colour,
    more_is_better,
    more_is_worse,
    tier_variable,
    to_board,
)
from deploy.grafana.generator.panels import About, Panel, bars, by_stage, figure, filled, lines
from scoring.funnel import STAGES

ACCOUNTS = 'max by (tier, stage) (surgeline_funnel_accounts{tier=~"$tier"})'
"""Every exporter tells the same: the largest, not the sum."""
MOVES = "max by (from, to) (surgeline_funnel_moves_total)"
GROWTH = "max by (from, to) (increase(surgeline_funnel_moves_total[$__range]))"
TO_FUNNEL = to_board("Funnel on the board", "/funnel")
TO_TODAY = to_board("Accounts to call today")


def board() -> build.Dashboard:
    """Return the dashboard."""
    text = "How many target accounts are in each of the six stages, and how they move."
    empty = (
        dashboard("funnel", "Funnel", text, alerts=BUSINESS)
        .time("now-7d", "now")
        .with_variable(tier_variable("surgeline_funnel_accounts", every=True))
        .with_variable(board_variable())
    )
    rows = (
        ("Now", _now()),
        ("Stages", _stages()),
        ("Conversion", _conversion()),
        ("Moves", _moves()),
    )
    return filled(empty, rows)


def accounts(*stages: str) -> str:
    """Return the expression for the number of accounts in *stages*."""
    matcher = f'{{stage=~"{"|".join(stages)}", tier=~"$tier"}}'
    return f"sum(max by (tier, stage) (surgeline_funnel_accounts{matcher}))"


def _share(deeper: int) -> str:
    """Return the share of accounts at stage number *deeper* - 1 or further that got further."""
    return f"{accounts(*STAGES[deeper:])} / ({accounts(*STAGES[deeper - 1 :])} > 0)"


def _now() -> list[Panel]:
    target = About(
        "Target accounts",
        "Accounts whose newest record says target. Many more than your salespeople can work on "
        "(guides: 20 to 50 in tier 1, about 200 in tier 2): trim the list in the CRM.",
        links=(TO_FUNNEL,),
    )
    engaged = About(
        "Engaged or further",
        "Share of target accounts that are engaged or in a deeper stage. When it falls, look at "
        "Moves below: whose engagement ended, and at Engagement: which channel fell silent.",
        unit="percentunit",
        steps=more_is_better(0.1, 0.25),
        greatest=1,
    )
    surging = About(
        "Surging accounts",
        "Accounts with more interest than usual for them on at least one topic, right now. They "
        "are this week's calls: open them on the board. None for days: do visits and intent "
        "signals still arrive (Pipeline health)?",
        links=(TO_TODAY,),
    )
    deals = About(
        "With an open opportunity",
        "Accounts in stage opportunity. Falling while engagement holds: the hand-over to sales "
        "waits; see the stage's accounts on the board.",
        links=(to_board("Its accounts on the board", "/?stage=opportunity"),),
    )
    customers = About(
        "Customers",
        "Accounts in stage customer, retained or expanded. Falling: churn; see Revenue, renewals.",
    )
    back = About(
        "Fell back in the period",
        "Accounts that went from engaged back to target within the time shown. Twice as many as "
        "became engaged is a warning (SurgelineMoreFallBackThanEngage).",
        steps=more_is_worse(10, 50),
        decimals=0,
    )
    fell = 'from="engaged", to="target"'
    return [
        figure(target, accounts(*STAGES)),
        figure(engaged, _share(1)),
        figure(surging, "max(surgeline_accounts_surging)"),
        figure(deals, accounts("opportunity")),
        figure(customers, accounts("customer", "retained", "expanded")),
        figure(
            back,
            f"max(increase(surgeline_funnel_moves_total{{{fell}}}[$__range])) or vector(0)",
        ),
    ]


def _stages() -> list[Panel]:
    now = About(
        "Accounts in each stage",
        "The funnel as it is now, of the chosen tiers. A stage much wider than the one after it is "
        "where accounts get stuck: open its accounts on the board.",
        links=(TO_FUNNEL,),
        data_links=(to_board("Its accounts on the board", "/?stage=${__field.labels.stage}"),),
    )
    course = About(
        "Accounts in each stage over time",
        "How the stages fill and empty. A step in all at once is an import of accounts; slow "
        "losses of engaged come two to four weeks after a campaign has ended.",
    )
    tiers = About(
        "Engaged or further, by tier",
        "Share of each tier's target accounts that are engaged or deeper. Tier 1 should lead: if "
        "not, the most important accounts get too little attention.",
        unit="percentunit",
        greatest=1,
    )
    by_stages = f"sum by (stage) ({ACCOUNTS})"
    deeper = "|".join(STAGES[1:])
    engaged = (
        "sum by (tier) (max by (tier, stage) "
        f'(surgeline_funnel_accounts{{stage=~"{deeper}", tier=~"$tier"}}))'
        f" / (sum by (tier) ({ACCOUNTS}) > 0)"
    )
    return [
        by_stage(bars(now, by_stages, "{{stage}}", span=8)),
        by_stage(lines(course, (by_stages, "{{stage}}"), stacked=True, span=16)),
        lines(tiers, (engaged, "tier {{tier}}"), span=24),
    ]


def _conversion() -> list[Panel]:
    steps: list[Panel] = []
    for number, (before, after) in enumerate(pairwise(STAGES), start=1):
        about = About(
            f"{before} → {after}",
            f"Of the accounts that are {before} or further, the share that is {after} or further. "
            "Lower than usual: look at those that stay in "
            f"{before} on the board, the longest first.",
            unit="percentunit",
            greatest=1,
            links=(to_board(f"Accounts in {before}", f"/?stage={before}"),),
            no_value="no account got that far",
        )
        steps.append(figure(about, _share(number)))
    course = About(
        "Conversion over time",
        "The same shares over time, each named by the stage that was reached. One that falls while "
        "the others hold is the step to work on.",
        unit="percentunit",
        greatest=1,
    )
    queries = [(_share(number), STAGES[number]) for number in range(1, len(STAGES))]
    return [*steps, by_stage(lines(course, *queries, span=24))]


def _moves() -> list[Panel]:
    total = About(
        "Moves so far",
        "Every move between stages since the first event, also those of a replay; none is the "
        "outside of the funnel. Many from engaged to target: see Fell back.",
    )
    period = About(
        "Moves in the period",
        "Moves within the time shown. Many to none: accounts lost their target mark in the CRM.",
        decimals=0,
    )
    rate = About(
        "Became engaged and fell back, a day",
        "How many accounts became engaged and how many fell back, taken over a day. The second "
        "above the first for weeks: what made them look has ended.",
    )
    surging = About(
        "Surging accounts over time",
        "A jump to three times the usual is a campaign, news of a competitor, or a robot: explain "
        "some of them (surgeline explain ID). A fall to nothing: a feed has stopped.",
        links=(TO_TODAY,),
    )
    a_day = "max(increase(surgeline_funnel_moves_total{%s}[1d])) or vector(0)"
    became = (a_day % 'from="target", to="engaged"', "became engaged")
    fell = (a_day % 'from="engaged", to="target"', "fell back")
    both = lines(rate, became, fell)
    both.override_by_name("became engaged", fixed_colour(STAGE_COLOURS["engaged"]))
    both.override_by_name("fell back", fixed_colour(STAGE_COLOURS["target"]))
    return [
        bars(total, f"sort_desc({MOVES})", "{{from}} → {{to}}", span=12),
        bars(period, f"sort_desc({GROWTH})", "{{from}} → {{to}}", span=12),
        both,
        lines(surging, ("max(surgeline_accounts_surging)", "surging")),
    ]

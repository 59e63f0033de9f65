"""The KPIs once more, in SQL over the events themselves: the reference of the engine's test.

Every query yields (kpi, measure, slice, labels, value[, accounts]); nothing of the engine is used.
"""

import datetime as dt
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb

from scoring.model import ScoringModel

Json = dict[str, Any]
Key = tuple[str, str, str, tuple[tuple[str, str], ...]]
"""KPI, measure, slice, labels."""

COLUMNS = {
    "line": "BIGINT", "t": "DOUBLE", "id": "VARCHAR", "source": "VARCHAR", "type": "VARCHAR",
    "action": "VARCHAR", "account_id": "VARCHAR", "contact_id": "VARCHAR",
    "anonymous_id": "VARCHAR", "email": "VARCHAR", "campaign_id": "VARCHAR",
    "placement": "VARCHAR", "url": "VARCHAR", "duration_seconds": "DOUBLE",
    "conversation_id": "VARCHAR", "direction": "VARCHAR", "rep_id": "VARCHAR",
    "duration_minutes": "DOUBLE", "attendee_ids": "VARCHAR[]", "topic": "VARCHAR",
    "strength": "DOUBLE", "target": "BOOLEAN", "tier": "INTEGER", "icp_fit": "DOUBLE",
    "seniority": "VARCHAR", "role": "VARCHAR", "opportunity_id": "VARCHAR", "kind": "VARCHAR",
    "amount": "DOUBLE", "currency": "VARCHAR", "term_years": "DOUBLE", "program": "VARCHAR",
    "score": "DOUBLE",
}  # fmt: skip


def reference(events: Iterable[Json], model: ScoringModel, folder: Path) -> "Reference":
    """Return a reference over *events*, in the order of their file."""
    file = folder / "events.jsonl"
    with file.open("w", encoding="utf-8") as out:
        for line, event in enumerate(events):
            moment = dt.datetime.fromisoformat(event["time"]).timestamp()
            out.write(json.dumps(event | {"t": moment, "line": line}) + "\n")
    return Reference(file, model)


class Reference:
    """Answers every KPI over one file, for any period."""

    def __init__(self, file: Path, model: ScoringModel) -> None:
        self._sql = duckdb.connect()
        self._sql.execute("SET threads = 2")
        columns = ", ".join(f"'{name}': '{kind}'" for name, kind in COLUMNS.items())
        self._sql.execute(
            f"CREATE TABLE raw AS SELECT * FROM read_json('{file}', format='newline_delimited', "
            f"columns={{{columns}}})"
        )
        for statement in _base(model):
            self._sql.execute(statement)

    def surges(self, rows: Iterable[tuple[str, str]], scores: Mapping[str, float]) -> None:
        """Say what is surging as of the end of the period, and each account's score."""
        self._sql.execute("CREATE OR REPLACE TABLE surging (a VARCHAR, topic VARCHAR)")
        self._sql.execute("CREATE OR REPLACE TABLE surge_score (a VARCHAR, score DOUBLE)")
        for table, pairs in (("surging", list(rows)), ("surge_score", list(scores.items()))):
            if pairs:
                self._sql.executemany(f"INSERT INTO {table} VALUES (?, ?)", pairs)

    def answers(self, start: float, end: float) -> dict[Key, tuple[float | None, int | None]]:
        """Return the value, and where it is counted the accounts behind it, of every figure."""
        self._sql.execute(f"SET VARIABLE s = {start!r}::DOUBLE")
        self._sql.execute(f"SET VARIABLE e = {end!r}::DOUBLE")
        for statement in _as_of():
            self._sql.execute(statement)
        found: dict[Key, tuple[float | None, int | None]] = {}
        for query in QUERIES:
            for kpi, measure, slice_, labels, value, *accounts in self._sql.execute(
                query
            ).fetchall():
                named = tuple(sorted((labels or {}).items()))
                key = (kpi, measure, slice_, named)
                assert key not in found, key
                shown = None if value is None or math.isnan(value) else float(value)
                found[key] = shown, accounts[0] if accounts else None
        return found


def _matches(words: Iterable[str]) -> str:
    pattern = "|".join(words)
    return (
        "len(list_filter(list_transform(string_split(lower(path), '/'), x -> "
        "regexp_replace(x, '[.][a-z0-9]+$', '')), "
        f"x -> regexp_full_match(x, '({pattern})(-.*)?'))) > 0"
    )


def _base(model: ScoringModel) -> Iterator[str]:
    """Yield the tables that no period changes: events once each, points, decayed minutes."""
    points, caps = model.engagement.points, model.engagement.daily_cap_minutes
    pages, half_life = model.pages, model.engagement.half_life_days * 86_400.0
    weights = model.engagement.seniority_weight.model_dump()
    cap = " ".join(f"WHEN '{name}' THEN {value}" for name, value in caps.model_dump().items())
    title = " ".join(f"WHEN '{name}' THEN {value}" for name, value in weights.items())
    yield "CREATE MACRO exp2(x) AS pow(2, x)"
    yield f"""CREATE TABLE ev AS
        WITH once AS (
            SELECT *, row_number() OVER (PARTITION BY source, id ORDER BY line) AS nth,
                coalesce(nullif(regexp_extract(url, '^https?://[^/?#]+([^?#]*)', 1), ''), '/')
                    AS path FROM raw),
        named AS (SELECT *, account_id AS a,
            CASE WHEN type <> 'page_visit' THEN NULL
                WHEN {_matches(pages.excluded)} THEN 'excluded'
                WHEN {_matches(pages.high)} THEN 'high'
                WHEN {_matches(pages.medium)} THEN 'medium' ELSE 'normal' END AS page,
            type IN ('ad', 'page_visit', 'chat', 'email', 'meeting', 'intent') AS engages
            FROM once WHERE nth = 1)
        SELECT *,
            engages AND max(t) OVER (PARTITION BY a, type ORDER BY line) - t
                > {model.engagement.horizon_days * 86_400.0} AS late,
            engages AND NOT (
                coalesce(type IN ('email', 'chat') AND direction = 'outbound'
                    AND action IN ('sent', 'replied', 'message'), false)
                OR coalesce(action IN ('bounced', 'unsubscribed', 'cancelled', 'no_show',
                    'impression'), false)) AS touch,
            CASE type
                WHEN 'ad' THEN if(action = 'click', {points.ad_click}, {points.ad_impression})
                WHEN 'page_visit' THEN ({points.page_visit} + {points.page_visit_per_minute}
                    * least(coalesce(duration_seconds, 0),
                    {points.page_visit_max_dwell_seconds}) / 60)
                    * CASE page WHEN 'excluded' THEN {pages.value.excluded}
                        WHEN 'high' THEN {pages.value.high}
                        WHEN 'medium' THEN {pages.value.medium} ELSE {pages.value.normal} END
                WHEN 'chat' THEN CASE action WHEN 'started' THEN {points.chat_started}
                    WHEN 'message' THEN if(direction = 'inbound', {points.chat_message_inbound},
                        {points.chat_message_outbound})
                    ELSE least(coalesce(duration_seconds, 0) / 60 * {points.chat_ended_per_minute},
                        {points.chat_ended_max_minutes}) END
                WHEN 'email' THEN CASE WHEN action IN ('sent', 'replied')
                    THEN if(direction = 'inbound', {points.email_inbound}, {points.email_outbound})
                    WHEN action = 'opened' THEN {points.email_opened}
                    WHEN action = 'clicked' THEN {points.email_clicked}
                    WHEN action = 'bounced' THEN {points.email_bounced}
                    ELSE {points.email_unsubscribed} END
                WHEN 'meeting' THEN CASE action WHEN 'booked' THEN {points.meeting_booked}
                    WHEN 'held' THEN {points.meeting_held_per_minute} * least(coalesce(
                        duration_minutes, {points.meeting_held_default_minutes}),
                        {points.meeting_held_max_minutes})
                    WHEN 'cancelled' THEN {points.meeting_cancelled}
                    ELSE {points.meeting_no_show} END
                WHEN 'intent' THEN {points.intent_per_strength} * coalesce(strength, 1)
                ELSE 0 END AS points
        FROM named"""
    yield f"""CREATE TABLE minutes AS
        WITH summed AS (SELECT a, contact_id AS c, t, points, CASE type {cap} END AS cap,
            sum(points) OVER (PARTITION BY a, type, floor(t / 86400) ORDER BY line
                ROWS UNBOUNDED PRECEDING) AS upto FROM ev WHERE engages AND NOT late)
        SELECT a, c, t, least(cap, upto) - least(cap, upto - points) AS added FROM summed"""
    yield f"""CREATE TABLE titles AS
        SELECT a, contact_id AS c, t AS since, line,
            coalesce(lead(t) OVER (PARTITION BY a, contact_id ORDER BY t, line), 1e18) AS until,
            CASE coalesce(seniority, 'unknown') {title} END AS weight, email, role, seniority
        FROM ev WHERE type = 'contact' AND action = 'upserted'"""
    # Minutes after every moment at which something was added or a title changed.
    yield f"""CREATE TABLE warm AS
        WITH moments AS (SELECT a, t FROM minutes WHERE added > 0
            UNION SELECT a, since FROM titles WHERE a IN (SELECT a FROM minutes))
        SELECT m.a, m.t, coalesce(sum(d.added * exp2((d.t - m.t) / {half_life})
            * coalesce(w.weight, {weights["unknown"]})), 0) AS mass
        FROM moments m LEFT JOIN minutes d ON d.a = m.a AND d.t <= m.t AND d.added > 0
        LEFT JOIN titles w ON w.a = d.a AND w.c = d.c AND w.since <= m.t AND m.t < w.until
        GROUP BY m.a, m.t"""
    enter, leave = model.funnel.engaged_minutes, model.funnel.disengaged_minutes
    yield f"""CREATE TABLE heat AS
        WITH before AS (SELECT *, coalesce(lag(mass)
                OVER w * exp2((lag(t) OVER w - t) / {half_life}), 0) AS left_over
            FROM warm WINDOW w AS (PARTITION BY a ORDER BY t)),
        marks AS (SELECT *, CASE WHEN mass >= {enter} THEN true
            WHEN mass < {leave} OR left_over < {leave} THEN false END AS mark FROM before)
        SELECT a, t, mass, coalesce(last_value(mark IGNORE NULLS) OVER (PARTITION BY a ORDER BY t
            ROWS UNBOUNDED PRECEDING), false) AS engaged FROM marks"""
    yield "CREATE TABLE entered AS SELECT a, min(t) AS t FROM heat WHERE engaged GROUP BY a"
    relation = model.relationship
    yield f"""CREATE TABLE exchanges AS
        SELECT a, unnest(coalesce(attendee_ids, [contact_id])) AS c, t,
            {relation.meeting_weight} AS i, {relation.meeting_weight} AS o
            FROM ev WHERE type = 'meeting' AND action = 'held' AND NOT late
        UNION ALL SELECT a, contact_id, t, w * (direction = 'inbound')::INT,
            w * (direction = 'outbound')::INT FROM (SELECT *,
                CASE WHEN type = 'email' THEN {relation.email_weight}
                ELSE {relation.chat_message_weight} END AS w FROM ev
            WHERE contact_id IS NOT NULL AND NOT late AND (type = 'email' AND action IN
                ('sent', 'replied') OR type = 'chat' AND action = 'message'))"""
    yield f"""CREATE MACRO relationship(as_of) AS TABLE
        WITH flows AS (SELECT a, c, sum(i * exp2((t - as_of) / {relation.half_life_days * 86_400})) i,
                sum(o * exp2((t - as_of) / {relation.half_life_days * 86_400})) AS o
            FROM exchanges WHERE t < as_of GROUP BY a, c),
        records AS (SELECT a, contact_id AS c, action FROM ev WHERE type = 'contact' AND t < as_of
            QUALIFY row_number() OVER (PARTITION BY a, contact_id ORDER BY t DESC, line DESC) = 1),
        told AS (SELECT a, c, weight FROM titles WHERE since < as_of
            QUALIFY row_number() OVER (PARTITION BY a, c ORDER BY since DESC, line DESC) = 1),
        strong AS (SELECT f.a, (1 - exp2(-(i + {relation.outbound_share} * o)
                / {relation.saturation})) * ({relation.reciprocity_floor}
                + {1 - relation.reciprocity_floor} * 2 * least(i, o) / (i + o)) * least(1,
                coalesce(weight, {weights["unknown"]}) / {relation.full_seniority_weight}) AS s
            FROM flows f LEFT JOIN records r ON r.a = f.a AND r.c = f.c
            LEFT JOIN told t ON t.a = f.a AND t.c = f.c
            WHERE coalesce(r.action, '') <> 'removed')
        SELECT x.a, 100 * (1 - coalesce(product(1 - {relation.contact_share} * s), 1)) AS score
        FROM (SELECT DISTINCT a FROM ev WHERE a IS NOT NULL) x
        LEFT JOIN strong s ON s.a = x.a GROUP BY x.a"""
    yield """CREATE MACRO deals(as_of) AS TABLE
        WITH mine AS (SELECT * FROM ev WHERE type = 'opportunity' AND t < as_of),
        state AS (SELECT a, opportunity_id AS o, kind, action, t FROM mine
            QUALIFY row_number() OVER (PARTITION BY a, opportunity_id
                ORDER BY action = 'updated', t DESC, line DESC) = 1),
        price AS (SELECT a, opportunity_id AS o, amount, currency, term_years FROM mine
            WHERE amount IS NOT NULL QUALIFY row_number() OVER (
                PARTITION BY a, opportunity_id ORDER BY t DESC, line DESC) = 1),
        times AS (SELECT a, opportunity_id AS o, min(t) AS first_at,
            min(t) FILTER (action = 'opened') AS opened_at,
            max(t) FILTER (action = 'won') AS won_at,
            min(t) FILTER (action IN ('opened', 'won', 'updated')) AS entered_at
            FROM mine GROUP BY ALL),
        churns AS (SELECT a, max(t) AS churned_at FROM mine WHERE action = 'churned' GROUP BY a)
        SELECT s.a, s.o, s.kind, if(s.action IN ('opened', 'updated'), 'open', s.action) AS state,
            s.t AS since, first_at, opened_at, won_at, entered_at, amount,
            coalesce(currency, 'none') AS currency,
            coalesce(nullif(term_years, 0), 1) AS years,
            s.action = 'won' AND coalesce(churned_at < s.t, true) AS stands
        FROM state s JOIN times USING (a, o) LEFT JOIN price USING (a, o)
        LEFT JOIN churns USING (a)"""
    yield f"""CREATE MACRO engaged_at(as_of) AS TABLE
        SELECT a, mass * exp2((t - as_of) / {half_life}) AS mass,
            engaged AND mass * exp2((t - as_of) / {half_life}) >= {leave} AS engaged
        FROM heat WHERE t < as_of QUALIFY row_number() OVER (PARTITION BY a ORDER BY t DESC) = 1"""
    saturation = model.engagement.saturation_minutes
    yield f"CREATE MACRO engagement(mass) AS 100 * (1 - exp2(-mass / {saturation}))"
    own = ", ".join(f"('{topic}')" for topic in model.surge.topics)
    yield f"CREATE TABLE first_party AS SELECT * FROM (VALUES {own}) AS v(topic)"
    rivals = ", ".join(f"('{topic}')" for topic in model.alerts.competitor_research.topics)
    yield f"CREATE TABLE rivals AS SELECT * FROM (VALUES {rivals}) AS v(topic)"


def _as_of() -> Iterator[str]:
    """Yield the tables of one period."""
    yield """CREATE OR REPLACE TABLE acc AS
        WITH newest AS (SELECT a, action = 'upserted' AND target AS target,
            if(action = 'upserted', tier, NULL) AS tier,
            if(action = 'upserted', icp_fit, NULL) AS fit
            FROM ev WHERE type = 'account' AND t < getvariable('e')
            QUALIFY row_number() OVER (PARTITION BY a ORDER BY t DESC, line DESC) = 1)
        SELECT x.a, coalesce(target, false) AS target, tier, fit,
            coalesce(h.engaged, false) AS engaged, coalesce(h.mass, 0) AS mass
        FROM (SELECT DISTINCT a FROM ev WHERE a IS NOT NULL) x LEFT JOIN newest USING (a)
        LEFT JOIN engaged_at(getvariable('e')) h USING (a)"""
    yield """CREATE OR REPLACE TABLE slices AS SELECT 'all' AS slice, a FROM acc
        UNION ALL SELECT coalesce(tier::VARCHAR, 'none'), a FROM acc"""
    yield """CREATE OR REPLACE TABLE tgt AS SELECT s.slice, acc.* FROM slices s JOIN acc USING (a)
        WHERE target"""
    yield """CREATE OR REPLACE TABLE w AS SELECT s.slice, ev.*, acc.target AS is_target
        FROM ev JOIN slices s USING (a) JOIN acc USING (a)
        WHERE t >= getvariable('s') AND t < getvariable('e')"""
    yield """CREATE OR REPLACE TABLE deal AS SELECT s.slice, d.*, acc.target AS is_target,
        amount / years AS annual, coalesce(state IN ('won', 'churned')
            AND won_at >= getvariable('s') AND won_at < getvariable('e'), false) AS won_now
        FROM deals(getvariable('e')) d JOIN slices s USING (a) JOIN acc USING (a)"""
    yield """CREATE OR REPLACE TABLE deep AS SELECT a, engaged OR EXISTS (
        FROM deals(getvariable('e')) d WHERE d.a = acc.a AND (state = 'open' OR stands)) AS deep,
        EXISTS (FROM deals(getvariable('e')) d WHERE d.a = acc.a AND stands) AS customer FROM acc"""
    yield """CREATE OR REPLACE TABLE rel AS SELECT now.a, now.score, past.score AS before
        FROM relationship(getvariable('e')) now
        JOIN relationship(getvariable('e') - 30 * 86400) past USING (a)"""
    yield """CREATE OR REPLACE TABLE first_touch AS SELECT a, min(t) AS t FROM ev
        WHERE touch AND t < getvariable('e') GROUP BY a"""
    yield """CREATE OR REPLACE TABLE known AS SELECT s.slice, r.a, r.c, t.email, t.role,
            t.seniority
        FROM (SELECT a, contact_id AS c, action FROM ev
            WHERE type = 'contact' AND t < getvariable('e') QUALIFY row_number() OVER (
                PARTITION BY a, contact_id ORDER BY t DESC, line DESC) = 1) r
        JOIN slices s USING (a) JOIN acc USING (a) JOIN (SELECT * FROM titles
            WHERE since < getvariable('e') QUALIFY row_number() OVER (
                PARTITION BY a, c ORDER BY since DESC, line DESC) = 1) t ON t.a = r.a AND t.c = r.c
        WHERE r.action = 'upserted' AND target"""
    yield """CREATE OR REPLACE TABLE spent AS SELECT currency, sum(amount) AS amount FROM ev
        WHERE type = 'spend' AND t >= getvariable('s') AND t < getvariable('e') GROUP BY currency"""
    yield """CREATE OR REPLACE TABLE lifetime AS
        WITH gone AS (SELECT slice, count(DISTINCT a) AS n FROM slices JOIN ev USING (a)
            WHERE type = 'opportunity' AND action = 'churned' AND t < getvariable('e')
            AND t >= getvariable('e') - 365 * 86400 GROUP BY slice),
        had AS (SELECT slice, count(DISTINCT a) AS n FROM slices
            JOIN deals(getvariable('e') - 365 * 86400) USING (a) WHERE stands GROUP BY slice)
        SELECT slice, CASE WHEN coalesce(gone.n, 0) = 0 THEN 5.0
            ELSE nullif(coalesce(had.n, 0), 0) / gone.n END AS years
        FROM (SELECT DISTINCT slice FROM slices) LEFT JOIN gone USING (slice)
        LEFT JOIN had USING (slice)"""


def _counted(kpi: str, what: str, label: str = "MAP {}", extra: str = "") -> str:
    return (
        f"SELECT '{kpi}', '', slice, {label}, count(*), count(DISTINCT a) FROM w WHERE {what} "
        f"GROUP BY slice{extra}"
    )


def _mail(kpi: str, what: str) -> str:
    sent = "type = 'email' AND action = 'sent' AND direction = 'outbound'"
    return (
        f"SELECT '{kpi}', '', slice, MAP {{}}, count(*) FILTER (type = 'email' AND {what}) / "
        f"nullif(count(*) FILTER ({sent}), 0), count(DISTINCT a) FILTER ({sent}) "
        "FROM w GROUP BY slice"
    )


_VIEWED = """
    WITH seen AS (SELECT w.slice, w.a, w.t, w.type, w.action, w.page,
        (SELECT max(t) FROM ev i WHERE i.a = w.a AND i.action = 'impression' AND i.t < w.t) AS shown
        FROM w WHERE type = 'page_visit' OR type = 'meeting' AND action = 'booked'
            OR type = 'chat' AND action = 'started')
    SELECT '{kpi}', '', slice, MAP {{}}, count(*), count(DISTINCT a) FROM seen
    WHERE {what} AND t - shown <= 30 * 86400 AND NOT EXISTS (FROM ev k WHERE k.a = seen.a
        AND k.type = 'ad' AND k.action = 'click' AND k.t > shown AND k.t <= seen.t)
    GROUP BY slice"""

_BANDS = """SELECT 'score_distribution', '', slice, MAP {{'score': '{name}', 'band':
    (least(floor(score / 10), 9) * 10)::INT::VARCHAR}}, count(*)
    FROM slices JOIN ({scores}) USING (a)
    WHERE a IN (SELECT a FROM ev WHERE t < getvariable('e')
        AND type NOT IN ('account', 'contact', 'opportunity'))
    GROUP BY slice, least(floor(score / 10), 9)"""

_CHANNEL_NAMES = "('ad', 'page_visit', 'chat', 'email', 'meeting', 'intent')"

_COST = """SELECT '{kpi}', '', 'all', MAP {{'currency': currency}},
    amount / nullif((SELECT count(DISTINCT a) FROM ({who})), 0),
    (SELECT count(DISTINCT a) FROM ({who})) FROM spent"""
_FIRST_DEEP = """SELECT a FROM acc LEFT JOIN entered USING (a)
    LEFT JOIN (SELECT a, min(entered_at) AS t FROM deals(getvariable('e')) GROUP BY a) d USING (a)
    WHERE target AND least(coalesce(entered.t, 1e18), coalesce(d.t, 1e18)) >= getvariable('s')
    AND least(coalesce(entered.t, 1e18), coalesce(d.t, 1e18)) < getvariable('e')"""
_OPENED = """SELECT a FROM ev WHERE type = 'opportunity' AND action = 'opened'
    AND t >= getvariable('s') AND t < getvariable('e')"""
_WON = "SELECT a FROM deal WHERE slice = 'all' AND won_now AND kind = 'new'"
_QUARTERS = """quarters AS (SELECT slice, a, row_number() OVER (PARTITION BY slice
        ORDER BY mass DESC, a) AS place, count(*) OVER (PARTITION BY slice) AS n FROM tgt),
    own AS (SELECT slice, a, if(place <= n // 4, 'top', 'bottom') AS quarter FROM quarters
        WHERE n >= 8 AND (place <= n // 4 OR place > n - n // 4))"""

QUERIES = (
    "SELECT 'target_accounts', '', slice, MAP {}, count(*), count(*) FROM tgt GROUP BY slice",
    *(
        f"SELECT 'relationship_score', '{measure}', slice, MAP {{}}, {what}, count(*) "
        "FROM tgt JOIN rel USING (a) GROUP BY slice"
        for measure, what in (
            ("median", "median(score)"),
            ("under_20", "avg((score < 20)::INT)"),
            ("improving", "count(*) FILTER (score - before >= 1)"),
            ("degrading", "count(*) FILTER (score - before <= -1)"),
        )
    ),
    """SELECT 'intent_surges', '', slice, MAP {'topic': topic}, count(*)
        FROM slices JOIN surging USING (a) GROUP BY slice, topic""",
    """SELECT 'intent_surges', 'any', slice, MAP {}, count(DISTINCT a)
        FROM slices JOIN surging USING (a) GROUP BY slice""",
    """SELECT 'engagement_spikes', '', slice, MAP {}, count(DISTINCT a) FROM slices
        JOIN surging USING (a) JOIN first_party USING (topic) GROUP BY slice""",
    """WITH banded AS (SELECT slice, CASE WHEN fit >= 0.8 THEN 'high' WHEN fit >= 0.5 THEN 'medium'
            WHEN fit IS NOT NULL THEN 'low' ELSE 'unknown' END AS fit FROM tgt),
        whole AS (SELECT slice, count(*) AS n FROM tgt GROUP BY slice)
        SELECT 'icp_fit', 'share', slice, MAP {'fit': fit}, count(*) / any_value(n)
        FROM banded JOIN whole USING (slice) GROUP BY slice, fit""",
    """SELECT 'icp_fit', 'matrix', slice, MAP {'fit': f, 'engagement': h}, count(*) FROM (
        SELECT slice, CASE WHEN fit >= 0.8 THEN 'high' WHEN fit >= 0.5 THEN 'medium'
            WHEN fit IS NOT NULL THEN 'low' ELSE 'unknown' END AS f,
            CASE WHEN engagement(mass) >= 50 THEN 'high' WHEN engagement(mass) >= 10 THEN 'medium'
            ELSE 'low' END AS h FROM tgt) GROUP BY slice, f, h""",
    """SELECT 'tam', '', slice, MAP {'currency': currency}, avg(amount) * (SELECT count(*)
            FROM slices s JOIN acc USING (a) WHERE s.slice = deal.slice AND fit >= 0.8)
        FROM deal WHERE won_now AND kind = 'new' AND amount IS NOT NULL GROUP BY slice, currency""",
    _BANDS.format(name="engagement", scores="SELECT a, engagement(mass) AS score FROM acc"),
    _BANDS.format(name="relationship", scores="SELECT a, score FROM rel"),
    _BANDS.format(name="intent_surge", scores="SELECT a, score FROM surge_score"),
    *(
        _counted(
            kpi,
            f"type = 'ad' AND action = '{action}'",
            "MAP {'placement': placement}",
            ", placement",
        )
        for kpi, action in (("ad_impressions", "impression"), ("ad_clicks", "click"))
    ),
    _VIEWED.format(kpi="view_through_visits", what="type = 'page_visit'"),
    _VIEWED.format(kpi="view_through_conversions", what="(type <> 'page_visit' OR page = 'high')"),
    _counted("website_visits", "type = 'page_visit'"),
    _counted("high_value_page_visits", "page = 'high'"),
    """SELECT 'chat_conversations', '', slice, MAP {}, count(DISTINCT (a, conversation_id)),
            count(DISTINCT a) FROM w WHERE type = 'chat' AND action = 'message'
            AND direction = 'inbound' GROUP BY slice""",
    """SELECT 'engaged_rate', '', slice, MAP {}, avg(deep::INT), count(*)
        FROM tgt JOIN deep USING (a) GROUP BY slice""",
    """SELECT 'not_engaged_rate', '', slice, MAP {}, avg((NOT deep)::INT), count(*)
        FROM tgt JOIN deep USING (a) GROUP BY slice""",
    _COST.format(kpi="cost_per_engaged_account", who=_FIRST_DEEP),
    _COST.format(kpi="cost_per_opportunity_account", who=_OPENED),
    _COST.format(kpi="cost_per_won_account", who=_WON),
    _COST.format(kpi="cac", who=_WON),
    """WITH hidden AS (SELECT DISTINCT slice, a, anonymous_id AS v FROM w
            WHERE type IN ('page_visit', 'chat') AND contact_id IS NULL
            AND anonymous_id IS NOT NULL AND is_target),
        met AS (SELECT DISTINCT a, anonymous_id AS v FROM ev WHERE t < getvariable('e')
            AND anonymous_id IS NOT NULL AND (type = 'identify' OR contact_id IS NOT NULL))
        SELECT 'deanonymisation_rate', '', slice, MAP {}, count(met.v) / count(*),
            count(DISTINCT a) FROM hidden LEFT JOIN met USING (a, v) GROUP BY slice""",
    """SELECT 'minutes_spent', '', slice, MAP {'channel': type}, sum(points) FROM w
        WHERE engages AND NOT late GROUP BY slice, type""",
    """SELECT 'minutes_spent', '', slice, MAP {'channel': 'all'}, sum(points) FROM w
        WHERE engages AND NOT late GROUP BY slice""",
    *(
        f"""SELECT 'content_engagement', '{by}_{what}', slice, MAP {{'{by}': {name}}}, {value},
            count(DISTINCT a) FROM w WHERE type = 'page_visit' GROUP BY slice, {name}"""
        for by, name in (
            (
                "part",
                """CASE page WHEN 'normal' THEN 'tofu' WHEN 'medium' THEN 'mofu'
                WHEN 'high' THEN 'bofu' ELSE 'none' END""",
            ),
            ("page", "path"),
        )
        for what, value in (
            ("visits", "count(*)"),
            ("minutes", "coalesce(sum(points) FILTER (NOT late), 0)"),
        )
    ),
    _mail("email_open_rate", "action = 'opened'"),
    _mail("email_click_rate", "action = 'clicked'"),
    _mail("email_reply_rate", "action = 'replied' AND direction = 'inbound'"),
    *(
        f"""SELECT 'coverage', 'with_{field}', slice, MAP {{}}, avg(({field} IS NOT NULL)::INT)
        FROM known GROUP BY slice"""
        for field in ("email", "role", "seniority")
    ),
    """SELECT 'coverage', 'three_or_more', slice, MAP {}, avg((n >= 3)::INT), count(*) FROM (
        SELECT tgt.slice, tgt.a, count(c) AS n FROM tgt LEFT JOIN known USING (slice, a)
        GROUP BY ALL) GROUP BY slice""",
    *(
        f"""SELECT 'stakeholders', '{measure}', slice, MAP {{}}, {average}(n), count(*) FROM (
        SELECT tgt.slice, tgt.a, count(c) AS n FROM tgt LEFT JOIN known USING (slice, a)
        GROUP BY ALL) GROUP BY slice"""
        for measure, average in (("mean", "avg"), ("median", "median"))
    ),
    """SELECT 'awareness', '', tgt.slice, MAP {}, count(DISTINCT w.a) / count(DISTINCT tgt.a),
            count(DISTINCT tgt.a) FROM tgt LEFT JOIN w ON w.slice = tgt.slice AND w.a = tgt.a
            AND (type = 'page_visit' OR type = 'email' AND action = 'opened'
                OR type = 'meeting' AND action = 'held') GROUP BY tgt.slice""",
    """SELECT 'reach_by_channel', 'share', tgt.slice, MAP {'channel': w.type},
            count(DISTINCT w.a) / (SELECT count(*) FROM tgt x WHERE x.slice = tgt.slice)
        FROM tgt JOIN w ON w.slice = tgt.slice AND w.a = tgt.a AND touch
        GROUP BY tgt.slice, w.type""",
    """SELECT 'reach_by_channel', 'campaign_share', tgt.slice,
            MAP {'channel': w.type, 'campaign': w.campaign_id},
            count(DISTINCT w.a) / (SELECT count(*) FROM tgt x WHERE x.slice = tgt.slice)
        FROM tgt JOIN w ON w.slice = tgt.slice AND w.a = tgt.a AND touch
        WHERE w.campaign_id IS NOT NULL GROUP BY tgt.slice, w.type, w.campaign_id""",
    """SELECT 'reach_by_channel', 'focus', slice, MAP {'channel': type}, avg(is_target::INT)
        FROM w WHERE touch GROUP BY slice, type""",
    """SELECT 'reach_by_channel', 'focus', slice, MAP {'channel': 'all'}, avg(is_target::INT)
        FROM w WHERE touch GROUP BY slice""",
    """WITH met AS (SELECT DISTINCT a, contact_id AS c FROM w WHERE touch
            UNION SELECT DISTINCT a, unnest(attendee_ids) FROM w
            WHERE type = 'meeting' AND action = 'held')
        SELECT 'account_penetration', '', slice, MAP {}, count(met.c) / count(*)
        FROM known LEFT JOIN met USING (a, c) GROUP BY slice""",
    """SELECT 'opportunity_rate', '', tgt.slice, MAP {}, count(DISTINCT d.a)
            / count(DISTINCT tgt.a), count(DISTINCT tgt.a) FROM tgt LEFT JOIN deal d
        ON d.slice = tgt.slice AND d.a = tgt.a AND state IN ('open', 'won') GROUP BY tgt.slice""",
    """SELECT 'pipeline', '', slice, MAP {'currency': currency}, sum(amount), count(DISTINCT a)
        FROM deal WHERE state = 'open' AND is_target AND amount IS NOT NULL
        GROUP BY slice, currency""",
    *(
        f"""SELECT 'influenced_pipeline', '{measure}', slice, MAP {{'currency': currency}},
            coalesce(sum(amount) FILTER (entered.t < first_at), 0) / {by}
        FROM deal LEFT JOIN entered USING (a) WHERE state = 'open' AND is_target
            AND amount IS NOT NULL GROUP BY slice, currency"""
        for measure, by in (("", "1"), ("share", "sum(amount)"))
    ),
    *(
        f"""SELECT 'days_first_touch_to_opportunity', '{measure}', slice, MAP {{}},
            {average}((first - f.t) / 86400), count(*) FROM (SELECT slice, a, min(opened_at) AS first
            FROM deal GROUP BY slice, a) JOIN first_touch f USING (a)
        WHERE first >= getvariable('s') AND f.t < first GROUP BY slice"""
        for measure, average in (("median", "median"), ("mean", "avg"))
    ),
    *(
        f"""WITH talk AS (SELECT DISTINCT slice, a FROM w WHERE direction = 'inbound'
                AND (type = 'email' AND action = 'replied' OR type = 'chat' AND action = 'message')),
            met AS (SELECT DISTINCT slice, a FROM w WHERE type = 'meeting' AND action = 'held'),
            asked AS (SELECT DISTINCT slice, a FROM w WHERE type = 'email' AND action = 'sent'
                AND direction = 'outbound')
        SELECT 'conversations_to_meetings', '{measure}', slice, MAP {{}},
            count({second}.a) / count(*), count(*) FROM {first} LEFT JOIN {second} USING (slice, a)
        GROUP BY slice"""
        for measure, first, second in (
            ("meetings", "talk", "met"),
            ("conversations", "asked", "talk"),
        )
    ),
    """SELECT 'win_rate', '', tgt.slice, MAP {}, count(DISTINCT d.a) / count(DISTINCT tgt.a)
        FROM tgt LEFT JOIN deal d ON d.slice = tgt.slice AND d.a = tgt.a AND won_now
            AND kind = 'new' GROUP BY tgt.slice""",
    """SELECT 'win_rate', 'of_decided', slice, MAP {}, avg(won_now::INT), count(DISTINCT a)
        FROM deal WHERE kind = 'new' AND (won_now OR state = 'lost' AND since >= getvariable('s'))
        GROUP BY slice""",
    """WITH warm_touches AS (SELECT slice, count(*) AS n FROM w JOIN deep USING (a)
            WHERE touch AND deep GROUP BY slice)
        SELECT 'conversion_rate', '', slice, MAP {}, (SELECT count(*) FROM deal d
            JOIN deep USING (a) WHERE d.slice = warm_touches.slice AND won_now AND kind = 'new'
            AND deep) / n FROM warm_touches""",
    """SELECT 'new_revenue_won', '', slice, MAP {'currency': currency}, sum(amount),
            count(DISTINCT a) FROM deal WHERE won_now AND kind = 'new' AND amount IS NOT NULL
        GROUP BY slice, currency""",
    *(
        f"""SELECT 'deal_cycle_days', '{measure}', slice, MAP {{}},
            {average}((won_at - f.t) / 86400), count(DISTINCT a)
        FROM deal JOIN first_touch f USING (a) WHERE won_now AND kind = 'new' AND f.t < won_at
        GROUP BY slice"""
        for measure, average in (("median", "median"), ("mean", "avg"))
    ),
    """SELECT 'touches_per_won_account', '', slice, MAP {}, avg(n), count(*) FROM (
        SELECT slice, a, (SELECT count(*) FROM ev WHERE ev.a = d.a AND touch AND ev.t < d.won) AS n
        FROM (SELECT slice, a, min(won_at) AS won FROM deal WHERE won_now AND kind = 'new'
            GROUP BY slice, a) d) GROUP BY slice""",
    """SELECT 'competitor_surges', '', slice, MAP {}, count(DISTINCT a) FROM slices
        JOIN surging USING (a) JOIN rivals USING (topic) JOIN deep USING (a) WHERE customer
        GROUP BY slice""",
    """SELECT 'relationship_cooling', '', slice, MAP {}, count(*) FROM slices JOIN deep USING (a)
        JOIN rel USING (a) WHERE customer AND before - score >= 20 GROUP BY slice""",
    """SELECT 'renewal_rate', '', slice, MAP {}, avg((state = 'won')::INT), count(DISTINCT a)
        FROM deal WHERE kind = 'renewal' AND state <> 'open' AND since >= getvariable('s')
        GROUP BY slice""",
    *(
        f"""SELECT '{kpi}', '', slice, MAP {{'currency': currency}}, {value}, count(DISTINCT a)
        FROM deal WHERE won_now AND amount IS NOT NULL GROUP BY slice, currency"""
        for kpi, value in (("revenue_won", "sum(amount)"), ("acv", "avg(annual)"))
    ),
    """SELECT 'clv', '', slice, MAP {'currency': currency}, avg(annual) * any_value(l.years)
        FROM deal JOIN lifetime l USING (slice) WHERE won_now AND amount IS NOT NULL
        GROUP BY slice, currency""",
    f"""SELECT 'ltv_to_cac', '', 'all', MAP {{'currency': currency}}, avg(annual)
            * any_value(l.years) / (any_value(spent.amount) / nullif((SELECT count(DISTINCT a)
            FROM ({_WON})), 0))
        FROM deal JOIN lifetime l USING (slice) JOIN spent USING (currency)
        WHERE slice = 'all' AND won_now AND deal.amount IS NOT NULL GROUP BY currency""",
    """SELECT 'nps', '', slice, MAP {}, 100 * (avg((score >= 9)::INT) - avg((score <= 6)::INT)),
            count(DISTINCT a) FROM w WHERE type = 'survey' GROUP BY slice""",
    "SELECT 'nps', 'answers', slice, MAP {}, count(*) FROM w WHERE type = 'survey' GROUP BY slice",
    f"""WITH {_QUARTERS} SELECT 'quartile_effect', 'deal_cycle', slice, MAP {{'quarter': quarter}},
            median((won_at - f.t) / 86400) FROM own JOIN deal USING (slice, a)
        JOIN first_touch f USING (a) WHERE won_now AND kind = 'new' AND f.t < won_at
        GROUP BY slice, quarter""",
    f"""WITH {_QUARTERS} SELECT 'quartile_effect', 'win_rate', own.slice, MAP {{'quarter': quarter}},
            count(DISTINCT d.a) / count(DISTINCT own.a), count(DISTINCT own.a) FROM own
        LEFT JOIN deal d ON d.slice = own.slice AND d.a = own.a AND won_now AND kind = 'new'
        GROUP BY own.slice, quarter""",
    f"""WITH {_QUARTERS} SELECT 'quartile_effect', 'acv', slice,
            MAP {{'quarter': quarter, 'currency': currency}}, avg(annual)
        FROM own JOIN deal USING (slice, a) WHERE won_now AND amount IS NOT NULL
        GROUP BY slice, quarter, currency""",
    f"""WITH {_QUARTERS} SELECT 'quartile_effect', 'relationship', slice,
            MAP {{'quarter': quarter}}, avg(score) FROM own JOIN rel USING (a)
        GROUP BY slice, quarter""",
    *(
        f"""WITH acts AS (SELECT *, strftime(make_timestamp((floor(t / 86400) * 86400 * 1e6)
                ::BIGINT), '%Y-%m-%d') AS day, type = 'email' AND action IN ('sent', 'replied')
                AND direction = 'outbound' AS mail FROM w WHERE rep_id IS NOT NULL)
        SELECT 'sdr_activity', '{measure}', slice, MAP {{'rep': rep_id, 'day': day}}, {value}
        FROM acts WHERE mail OR type = 'meeting' AND action IN ('booked', 'held')
        GROUP BY slice, rep_id, day"""
        for measure, value in (
            ("emails", "count(*) FILTER (mail)"),
            (
                "contacts",
                "count(DISTINCT (a, contact_id)) FILTER (mail AND contact_id IS NOT NULL)",
            ),
            ("accounts", "count(DISTINCT a) FILTER (mail)"),
            ("meetings_booked", "count(*) FILTER (type = 'meeting' AND action = 'booked')"),
            ("meetings_held", "count(*) FILTER (type = 'meeting' AND action = 'held')"),
        )
    ),
)

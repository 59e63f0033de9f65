"""*Pipeline health*: throughput, lag, delay, commits, dead letters, Redis, notifications."""

from grafana_foundation_sdk.builders import dashboard as build

from deploy.grafana.generator.look import (
    BAD,
    BELOW,
    GOOD,
    PIPELINE,
    board_variable,
    dashboard,
    more_is_worse,
    to_board,
)
from deploy.grafana.generator.panels import About, Panel, bars, figure, filled, lines

RATE = "[$__rate_interval]"
RUNBOOK = "https://github.com/surgeline/surgeline/blob/main/deploy/README.md"
LAG = "max by (topic, partition) (last_over_time(kafka_consumergroup_lag[2m]))"
"""Two workers may show a partition for a moment while it goes from one to the other."""


def board() -> build.Dashboard:
    """Return the dashboard."""
    text = f"Whether events are scored, how fast, and what stands in the way. Runbook: {RUNBOOK}"
    empty = dashboard("pipeline", "Pipeline health", text, alerts=PIPELINE).time("now-3h", "now")
    rows = (
        ("Now", _now()),
        ("Throughput and lag", _flow()),
        ("Events over HTTP", _http()),
        ("Delay and commits", _delay()),
        ("Dead letters and refusals", _refused()),
        ("Redis", _redis()),
        ("Notifications and board", _people()),
    )
    return filled(empty.with_variable(board_variable()), rows)


def _quantile(share: float, metric: str) -> str:
    return f"histogram_quantile({share}, sum by (le) (rate({metric}_bucket{RATE})))"


def _now() -> list[Panel]:
    workers = About(
        "Workers",
        "Workers that answer. None: nothing is scored, and nothing is lost; the last line of a "
        "worker's log says why it ended (SurgelineNoWorker).",
        steps=((BELOW, BAD), (1, GOOD)),
    )
    scored = About(
        "Records scored",
        "Records a second of commits that Redis took. Zero while lag grows: SurgelineNoCommits; "
        "zero without lag: nobody sends.",
        unit="reqps",
    )
    lag = About(
        "Lag",
        "Records in Kafka that are not scored yet. Growing for minutes: start more workers, up to "
        "the number of partitions (SurgelineLagGrowing).",
        steps=more_is_worse(10_000, 100_000),
        no_value="no worker",
    )
    delay = About(
        "Delay, 99 %",
        "From an event's arrival in Kafka to its committed scores; one in a hundred takes longer. "
        "Above a second without a backlog: Redis or the broker is slow (SurgelineEventDelayHigh).",
        unit="s",
        steps=more_is_worse(1, 5),
        no_value="nothing scored",
    )
    dead = About(
        "Dead letters",
        "Share of the records that break the contract. Above 1 %: surgeline dead-letters list "
        "--summary names topic and reason (SurgelineDeadLetters).",
        unit="percentunit",
        steps=more_is_worse(0.001, 0.01),
        no_value="nothing scored",
    )
    firing = About(
        "Alerts firing",
        "Of Prometheus' rules. The panel below names them; the runbook (deploy/README.md) has an "
        "entry for each.",
        steps=more_is_worse(1, 3),
    )
    share = "sum(rate(surgeline_dead_letters_total[5m])) or vector(0)"
    return [
        figure(workers, 'count(up{job="surgeline-worker"} == 1) or vector(0)'),
        figure(scored, f"sum(rate(surgeline_events_total{RATE}))"),
        figure(lag, f"sum({LAG})"),
        figure(delay, _quantile(0.99, "surgeline_event_delay_seconds")),
        figure(dead, f"({share}) / sum(rate(surgeline_events_total[5m]))"),
        figure(firing, 'count(ALERTS{alertstate="firing"}) or vector(0)'),
    ]


def _flow() -> list[Panel]:
    outcomes = About(
        "Records by what became of them",
        "scored: counted; duplicate: seen before; too_late: older than the horizon; rekeyed: sent "
        "to its right partition; dead, unresolved: see below. Much rekeyed: a producer uses another "
        "partitioner and pays twice (runbook, Send events).",
        unit="reqps",
    )
    waiting = About(
        "Lag by topic",
        "Records not scored yet. One topic alone: its producer has sent a batch, or its records "
        "stop a worker; all of them: too few workers, or Redis.",
        steps=more_is_worse(10_000, 100_000),
        no_value="no worker",
    )
    batches = About(
        "Records per micro-batch",
        "Mean; up to 1,000 when there is much to read. Small ones under lag: Kafka hands out "
        "little at a time, because the broker is slow.",
    )
    shards = About(
        "Shards by worker",
        "How Kafka divided the partitions. Uneven for long, or changing: workers come and go "
        "(SurgelineWorkerRestarting). Zero is a worker that stands by.",
    )
    cached = About(
        "Cached states by worker",
        "Estimated memory of account states. At SURGELINE_CACHE_BYTES and throughput low: states "
        "are read again and again; give workers more.",
        unit="bytes",
    )
    busiest = About(
        "Lag by partition",
        "The ten partitions furthest behind. One far ahead of the others: an account that gets "
        "most of the events.",
        no_value="no worker",
    )
    mean = f"sum(rate(surgeline_batch_records_sum{RATE})) / sum(rate(surgeline_batch_records_count{RATE}))"
    return [
        lines(
            outcomes,
            (f"sum by (outcome) (rate(surgeline_events_total{RATE}))", "{{outcome}}"),
            stacked=True,
        ),
        lines(waiting, (f"sum by (topic) ({LAG})", "{{topic}}"), stacked=True),
        lines(batches, (mean, "records"), span=6),
        lines(shards, ("max by (instance) (surgeline_shards_owned)", "{{instance}}"), span=6),
        lines(cached, ("max by (instance) (surgeline_cached_bytes)", "{{instance}}"), span=6),
        bars(busiest, f"topk(10, {LAG})", "{{topic}} {{partition}}", span=6),
    ]


def _http() -> list[Panel]:
    events = About(
        "Events over HTTP by outcome",
        "What the collector did with events. refused: they break the contract, the answer says how; "
        "unused: calls that say nothing of an account; failed: Kafka did not acknowledge them, and "
        "their senders try again.",
        unit="reqps",
        no_value="no collector",
    )
    requests = About(
        "Requests to the collector by status",
        "401: a key that it does not know; 429: a sender above SURGELINE_COLLECTOR_RATE; 503: Kafka "
        "is away (SurgelineCollectorNotReady).",
        unit="reqps",
        no_value="no collector",
    )
    answer = About(
        "Time to the answer, 99 %",
        "Kafka's acknowledgement included, by route. Above a second: look at the brokers, then at "
        "the records that wait, beside it.",
        unit="s",
        no_value="no requests",
    )
    waiting = About(
        "Records waiting for Kafka",
        "Taken over HTTP, not acknowledged yet. Growing: Kafka is slow or away; senders are made to "
        "wait and to try again, nothing is lost.",
        no_value="no collector",
    )
    seconds = "surgeline_collector_request_seconds_bucket"
    none = "or on () vector(0)"
    total = "sum by ({0}) (rate(surgeline_collector_{1}_total" + RATE + ")) " + none
    return [
        lines(events, (total.format("outcome", "events"), "{{outcome}}"), stacked=True, span=6),
        lines(requests, (total.format("status", "requests"), "{{status}}"), stacked=True, span=6),
        lines(
            answer,
            (f"histogram_quantile(0.99, sum by (le, route) (rate({seconds}[5m])))", "{{route}}"),
            span=6,
        ),
        lines(waiting, (f"sum(surgeline_collector_waiting_records) {none}", "records"), span=6),
    ]


def _delay() -> list[Panel]:
    delay = About(
        "Delay from Kafka to scores",
        "Median and 99 %. After a stop or a burst it falls by itself as the backlog goes; else "
        "compare with commit time beside it.",
        unit="s",
        steps=more_is_worse(1, 5),
        no_value="nothing scored",
    )
    commits = About(
        "Commit time",
        "One atomic script in Redis, median and 99 %. Above 50 ms: Redis is busy or swaps; SLOWLOG "
        "GET, and other programs in the same Redis (SurgelineScrapeSlow).",
        unit="s",
        steps=more_is_worse(0.05, 0.5),
        no_value="nothing committed",
    )
    event, commit = "surgeline_event_delay_seconds", "surgeline_commit_seconds"
    return [
        lines(delay, (_quantile(0.99, event), "99 %"), (_quantile(0.5, event), "median")),
        lines(commits, (_quantile(0.99, commit), "99 %"), (_quantile(0.5, commit), "median")),
    ]


def _refused() -> list[Panel]:
    dead = About(
        "Dead letters by reason",
        "Records a second that break the contract; raw bytes are kept. Tell the producer, or update "
        "Surgeline if it is the older one, then surgeline dead-letters replay.",
        unit="reqps",
        no_value="none",
    )
    refused = About(
        "Commits refused by the fence",
        "owner: another worker has the shard; sequence, offsets: Redis went back in time. The fence "
        "held, scores are right; if it goes on, SurgelineCommitsRefused says where to look.",
        no_value="none",
    )
    gone = About(
        "Records gone before they were scored",
        "Kafka's retention passed the fence, and the worker was told to go on. The scores lack "
        "them: lengthen the retention, replay from the source (SurgelineGoneRecords).",
        steps=more_is_worse(1, 1_000),
        no_value="none",
    )
    announced = About(
        "Announced, an hour",
        "Stage moves and surges, as they go out on score-changes. None for a day while events are "
        "scored: nothing crosses a threshold; is this the right scoring model?",
        no_value="none",
    )
    none = "or on () vector(0)"
    return [
        lines(
            dead,
            (f"sum by (reason) (rate(surgeline_dead_letters_total{RATE})) {none}", "{{reason}}"),
        ),
        lines(
            refused,
            (
                f"sum by (reason) (increase(surgeline_commits_refused_total[15m])) {none}",
                "{{reason}}",
            ),
        ),
        lines(
            gone,
            (f"sum by (topic) (increase(surgeline_gone_records_total[1h])) {none}", "{{topic}}"),
        ),
        lines(
            announced,
            (f"sum by (rule) (increase(surgeline_transitions_total[1h])) {none}", "{{rule}}"),
        ),
    ]


def _redis() -> list[Panel]:
    up = About(
        "Redis answers",
        "1 when it answers the exporter. 0: the workers wait and go on by themselves; look at its "
        "log for memory, disk, or a long start (SurgelineRedisAway).",
        steps=((BELOW, BAD), (1, GOOD)),
        no_value="no exporter",
    )
    share = About(
        "Memory used",
        "Of what Redis may hold. It evicts nothing: at 100 % it refuses writes and scoring stops. "
        "From 85 % raise REDIS_MAXMEMORY (SurgelineRedisMemoryHigh).",
        unit="percentunit",
        steps=more_is_worse(0.85, 0.95),
        greatest=1,
        no_value="no bound",
    )
    evicted = About(
        "Keys evicted",
        "Must be 0: an evicted account is a forgotten account. Else set maxmemory-policy noeviction "
        "and score again (surgeline reset --replay).",
        steps=more_is_worse(1, 1),
    )
    reading = About(
        "Reading the funnel",
        "How long the exporter needs for a few small hashes. Above a second Redis is busy or swaps, "
        "and commits are slow as well (SurgelineScrapeSlow).",
        unit="s",
        steps=more_is_worse(0.1, 1),
        no_value="no exporter",
    )
    age = About(
        "Age of the KPIs",
        "Time since the exporter computed the KPIs of Engagement and Revenue. Above half an hour: "
        "its log says why it does not; the funnel is counted apart (SurgelineKpisOld).",
        unit="s",
        steps=more_is_worse(1_800, 7_200),
        no_value="no KPIs",
    )
    memory = About(
        "Memory",
        "Allocated, taken from the machine, and the bound (0: none). Resident far above allocated: "
        "fragmentation, or the file is being rewritten.",
        unit="bytes",
    )
    work = About(
        "Commands and connections",
        "Commands a second, those inside scripts included. Many without throughput: another "
        "program works in this Redis.",
        unit="short",
    )
    used, bound = "surgeline_redis_memory_used_bytes", "surgeline_redis_memory_max_bytes"
    return [
        figure(up, "min(surgeline_up)"),
        figure(share, f"max({used}) / (max({bound}) > 0)"),
        figure(evicted, "max(surgeline_redis_evicted_keys_total)"),
        figure(reading, "max(surgeline_scrape_duration_seconds)"),
        figure(age, "time() - max(surgeline_kpi_computed_timestamp_seconds)"),
        lines(
            memory,
            (f"max({used})", "allocated"),
            ("max(surgeline_redis_memory_resident_bytes)", "resident"),
            (f"max({bound})", "bound"),
        ),
        lines(
            work,
            (f"max(rate(surgeline_redis_commands_total{RATE}))", "commands a second"),
            ("max(surgeline_redis_clients)", "connections"),
        ),
    ]


def _people() -> list[Panel]:
    outcomes = About(
        "Alerts by what became of them",
        "An hour, by outcome; held ones wait for a digest. Dead ones were given up: surgeline "
        "dead-letters list --reason undeliverable says why.",
        no_value="no notifier",
    )
    failures = About(
        "Failed tries by route",
        "Tries that an endpoint did not take, an hour. surgeline notify test ROUTE says what it "
        "answers (SurgelineNotificationsFailing).",
        no_value="none",
    )
    waiting = About(
        "Alerts waiting by route",
        "Not delivered yet, and held for a digest. Waiting that does not shrink: the endpoint is "
        "away (SurgelineNotificationsWaiting).",
        no_value="no notifier",
    )
    delay = About(
        "Delay to people, 95 %",
        "From detection to delivery, digests left out. Above a minute: a slow endpoint, or a "
        "backlog after a stop (SurgelineNotificationsSlow).",
        unit="s",
        steps=more_is_worse(5, 60),
        no_value="nothing delivered",
    )
    board_delay = About(
        "Board: time to the first byte, 99 %",
        "By route. Above a second: too many accounts for its memory, or a slow Redis.",
        unit="s",
        no_value="no requests",
        links=(to_board("Board"),),
    )
    firing = About(
        "Alerts firing",
        "By name. Each has an entry in the runbook, deploy/README.md, with what to do.",
        no_value="none",
        links=(build.DashboardLink("Runbook").url(f"{RUNBOOK}#when-prometheus-alerts"),),
    )
    none = "or on () vector(0)"
    outcome = "sum by (outcome) (increase(surgeline_notifications_total[1h]))"
    seconds = "histogram_quantile(0.99, sum by (le, route) (rate(surgeline_board_request_seconds_bucket[5m])))"
    return [
        lines(outcomes, (f"{outcome} {none}", "{{outcome}}"), stacked=True),
        lines(
            failures,
            (
                f"sum by (route) (increase(surgeline_notification_failures_total[1h])) {none}",
                "{{route}}",
            ),
        ),
        lines(
            waiting,
            (f"sum by (route) (surgeline_notifications_waiting) {none}", "waiting, {{route}}"),
            (f"sum by (route) (surgeline_notifications_held) {none}", "held, {{route}}"),
        ),
        lines(delay, (_quantile(0.95, "surgeline_notification_delay_seconds"), "95 %")),
        lines(board_delay, (seconds, "{{route}}")),
        lines(
            firing,
            (f'count by (alertname) (ALERTS{{alertstate="firing"}}) {none}', "{{alertname}}"),
        ),
    ]

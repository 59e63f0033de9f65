"""Attention: intent surge scores from remembered visits and signals, and the surges under way."""

from collections.abc import Iterator

import numpy as np

from scoring.account import utc_day
from scoring.kpis.codes import LATE, PAGE_KINDS, PAGE_SHIFT, Code
from scoring.kpis.columns import Array, Log, different, run_ends
from scoring.kpis.facts import Names, text_hash
from scoring.model import SECONDS_PER_DAY
from scoring.pages import ANY_TOPIC
from scoring.rules import Rules
from scoring.surge import Window

_EXCLUDED = PAGE_KINDS.index("excluded")
_ANYWHERE = "https://any.example"


def surging(events: Log) -> tuple[Array, Array]:
    """Return (account, topic's hash) of every surge that *events* start and do not end."""
    log = events.where(events.has(Code.SURGE_STARTED, Code.SURGE_ENDED))
    order = np.lexsort((log.subject, log.account))
    log = log.where(order)
    begun = run_ends(log.account, log.subject) & (log.code == Code.SURGE_STARTED)
    return log.account[begun], log.subject[begun]


def surge_scores(events: Log, names: Names, now: float, rules: Rules, accounts: int) -> Array:
    """Return each account's intent surge as of *now*; *events* are those before it."""
    model, today = rules.model.surge, utc_day(now)
    visits = (events.code == Code.PAGE_VISIT) & (events.flags >> PAGE_SHIFT & 3 != _EXCLUDED)
    rows = (visits | (events.code == Code.INTENT)) & (events.flags & LATE == 0)
    counted = np.flatnonzero(rows)
    day = np.floor_divide(events.time[counted], SECONDS_PER_DAY).astype(np.int64)
    first = np.full(accounts, np.iinfo(np.int64).max)
    np.minimum.at(first, events.account[counted], day)
    begin = today - model.window_days + 1
    near = day >= begin - model.baseline_days
    log, day = events.where(counted[near]), day[near]
    amount = np.where(log.code == Code.INTENT, log.other.astype(np.int64), 1)
    weeks = (begin - first) // model.window_days
    weeks = np.clip(weeks, 0, model.baseline_days // model.window_days)
    best = np.zeros(accounts)
    for belongs in _topics(log, names, rules):
        own, late = log.account[belongs], day[belongs] >= begin
        count = np.bincount(own, amount[belongs] * late, accounts)
        usual = np.bincount(own, amount[belongs] * ~late, accounts)
        for account in np.flatnonzero(count):
            window = Window(int(count[account]), int(usual[account]), int(weeks[account]))
            best[account] = max(best[account], rules.surge_score(window))
    return best


def _topics(log: Log, names: Names, rules: Rules) -> Iterator[Array]:
    """Yield, per topic, which rows belong to it."""
    yield np.ones(len(log.time), dtype=bool)
    signals = log.code == Code.INTENT
    pages = {
        number: rules.read_page(f"{_ANYWHERE}{names.get(number, '/')}").topics
        for number in different(log.subject[~signals]).tolist()
    }
    own = {text_hash(topic): topic for topic in rules.model.surge.topics}
    others = np.setdiff1d(log.subject[signals], np.array([*own, text_hash(ANY_TOPIC)], np.uint64))
    for number, topic in own.items():
        subjects = np.array([n for n, topics in pages.items() if topic in topics], np.uint64)
        yield (signals & (log.subject == number)) | (~signals & np.isin(log.subject, subjects))
    for number in others:
        yield signals & (log.subject == number)

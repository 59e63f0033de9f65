"""One example for each message of the AsyncAPI document."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

Json = dict[str, Any]

NOW: Final = "2026-01-31T09:00:00Z"
ALERT_ID: Final = "5f2b8c0e9d3a4b1f8e7d6c5b4a392817"


class Example(NamedTuple):
    """A message as it lies in its topic."""

    payload: Any
    headers: Json | None = None


def _event(type_: str, number: int, source: str, **fields: Any) -> Example:
    head = {"id": f"{source}-{number}", "source": source, "type": type_, "time": NOW}
    return Example(head | fields)


_ALERT: Final[Json] = {
    "id": ALERT_ID,
    "rule": "high_value_page",
    "severity": "high",
    "subject": "/pricing",
    "account_id": "acme",
    "account_name": "Acme Inc",
    "sentence": "ann (VP) of Acme Inc spent 2 min on /pricing.",
    "why": {
        "contact_id": "ann",
        "seniority": "vp",
        "url": "https://www.example.com/pricing",
        "dwell_seconds": 120.0,
        "counts": [{"topic": "pricing", "this_week": 3, "usual": 1.2}],
    },
    "before": {
        "engagement": 9.2,
        "engagement_minutes": 4.2,
        "intent_surge": 0.0,
        "relationship": 10.1,
    },
    "after": {
        "engagement": 23.2,
        "engagement_minutes": 11.4,
        "intent_surge": 58.0,
        "relationship": 10.1,
    },
    "stage": "engaged",
    "target": True,
    "tier": 1,
    "owner_id": "rep-7",
    "owner_email": "rep7@example.com",
    "notify": ["owner"],
    "next_step": "Call while they are reading, and ask what they compare.",
    "event_time": NOW,
    "at": NOW,
    "detected_at": "2026-01-31T09:00:00.084000Z",
    "cause": {"source": "web", "id": "web-2", "type": "page_visit"},
    "clock": "wall",
    "link": "https://board.example.com/accounts/acme",
}

_ORIGIN: Final[Json] = {
    "surgeline-topic": "page-visits",
    "surgeline-partition": "3",
    "surgeline-offset": "1041",
    "surgeline-timestamp": "1769850000000",
}

EXAMPLES: Final[Mapping[str, Example]] = {
    "Ad": _event(
        "ad", 1, "ads",
        account_id="acme", action="click", campaign_id="spring", placement="web", cost=1.8,
    ),
    "PageVisit": _event(
        "page_visit", 2, "web",
        account_id="acme", contact_id="ann", url="https://www.example.com/pricing",
        duration_seconds=120, session_id="s-81",
    ),
    "Chat": _event(
        "chat", 3, "chat",
        account_id="acme", contact_id="ann", action="message", conversation_id="c-17",
        direction="inbound",
    ),
    "Email": _event(
        "email", 4, "mail",
        account_id="acme", contact_id="ann", action="replied", direction="inbound",
        rep_id="rep-7", subject="Re: your offer",
    ),
    "Meeting": _event(
        "meeting", 5, "calendar",
        account_id="acme", action="held", meeting_id="m-4", duration_minutes=45,
        attendee_ids=["ann", "bob"], rep_id="rep-7",
    ),
    "Intent": _event("intent", 6, "intent", account_id="acme", topic="crm", strength=4),
    "AccountRecord": _event(
        "account", 7, "crm",
        account_id="acme", action="upserted", name="Acme Inc", domains=["acme.example"],
        target=True, tier=1, owner_id="rep-7", owner_email="rep7@example.com",
        industry="software", employees=250, icp_fit=0.8,
    ),
    "AccountRemoved": _event(
        "account", 8, "crm", account_id="acme-uk", action="removed", merged_into="acme"
    ),
    "ContactRecord": _event(
        "contact", 9, "crm",
        account_id="acme", contact_id="ann", action="upserted", name="Ann Lee",
        email="ann@acme.example", seniority="vp", role="operations",
    ),
    "ContactRemoved": _event(
        "contact", 10, "crm", account_id="acme", contact_id="ann", action="removed"
    ),
    "Opportunity": _event(
        "opportunity", 11, "crm",
        account_id="acme", action="opened", opportunity_id="o-1", kind="new",
        amount=48_000, currency="EUR", term_years=2,
    ),
    "Spend": _event(
        "spend", 12, "finance", amount=2_500, currency="EUR", program="spring", channel="web"
    ),
    "Survey": _event("survey", 13, "survey", account_id="acme", kind="nps", score=9),
    "Identify": _event(
        "identify", 14, "web", account_id="acme", anonymous_id="v-33", email="ann@acme.example"
    ),
    "Transfer": Example(
        {
            "account_id": "acme",
            "generation": "1769846400",
            "giver": "acme-uk",
            "gift": "5b1d0c9e8f7a46b5a4c3d2e1f0a9b8c7",
        }
    ),
    "ScoreChange": Example(
        {
            "account_id": "acme",
            "as_of": NOW,
            "engagement": 23.2,
            "engagement_minutes": 11.4,
            "intent_surge": 58.0,
            "surging": [],
            "relationship": 10.1,
            "stage": "engaged",
            "target": True,
            "tier": 1,
            "owner_id": "rep-7",
            "transitions": [
                {
                    "id": "0c4d1b7a95e84f6c8a3b2d1e0f9c7a65",
                    "rule": "stage_changed",
                    "subject": "target>engaged",
                    "at": NOW,
                }
            ],
        }
    ),
    "Alert": Example(_ALERT),
    "Acknowledgement": Example(
        {"kind": "ack", "alert_id": ALERT_ID, "account_id": "acme", "by": "rep-7", "at": NOW}
    ),
    "Mute": Example(
        {
            "kind": "mute",
            "what": "account",
            "name": "acme",
            "until": "2026-02-02T09:00:00Z",
            "by": "rep-7",
            "at": NOW,
        }
    ),
    "Withdrawal": Example(None),
    "Delivery": Example(
        {
            "alert_id": ALERT_ID,
            "route": "crm",
            "account_id": "acme",
            "outcome": "delivered",
            "at": NOW,
            "detail": None,
        }
    ),
    "ForgottenDelivery": Example(None),
    "DeadLetter": Example(
        '{"id": "web-15", "source": "web", "type": "page_visit"}',
        {
            "surgeline-reason": "missing_field",
            "surgeline-detail": "field time: Field required",
        }
        | _ORIGIN,
    ),
    "ReplayReceipt": Example(None, {"surgeline-replayed": "page-visits/3/1041"}),
    "Unresolved": Example(
        '{"id": "web-16", "source": "web", "type": "page_visit", "anonymous_id": "v-34",'
        ' "time": "2026-01-31T09:00:00Z", "url": "https://www.example.com/pricing"}',
        {"surgeline-why": "unknown"} | _ORIGIN,
    ),
}  # fmt: skip

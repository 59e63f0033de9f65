"""Examples of the OpenAPI document, one for each answer."""

from typing import Any, Final

NOW: Final = "2026-01-31T09:00:00Z"

_ALERT: Final[dict[str, Any]] = {
    "id": "5f2b8c0e9d3a4b1f8e7d6c5b4a392817",
    "rule": "high_value_page",
    "severity": "high",
    "subject": "/pricing",
    "account_id": "acme",
    "account_name": "Acme Inc",
    "sentence": "ann of Acme Inc spent 2 min on /pricing.",
    "why": {"page": "/pricing", "seconds": 120.0, "contact_id": "ann"},
    "before": {
        "engagement": 12.3,
        "engagement_minutes": 5.7,
        "intent_surge": 0.0,
        "relationship": 10.1,
    },
    "after": {
        "engagement": 14.9,
        "engagement_minutes": 7.0,
        "intent_surge": 0.0,
        "relationship": 10.1,
    },
    "stage": "engaged",
    "target": True,
    "tier": 1,
    "owner_id": "rep-7",
    "owner_email": "rep7@example.com",
    "notify": ["owner"],
    "next_step": "Call while they are reading.",
    "link": "http://127.0.0.1:8321/accounts/acme",
    "event_time": NOW,
    "at": NOW,
    "detected_at": "2026-01-31T09:00:00.084000Z",
    "cause": {"source": "web", "id": "e1", "type": "page_visit"},
    "clock": "wall",
    "acknowledged": None,
    "deliveries": [{"route": "owner", "outcome": "delivered", "at": NOW}],
}
_ROW: Final[dict[str, Any]] = {
    "account_id": "acme",
    "name": "Acme Inc",
    "engagement": 14.9367,
    "intent_surge": 0.0,
    "relationship": 10.1,
    "engagement_minutes": 7.0,
    "surging": [],
    "stage": "engaged",
    "target": True,
    "tier": 1,
    "owner_id": "rep-7",
    "last_event_at": NOW,
    "events": 41,
    "reason": "Ann read /pricing just now: 1.3 engagement minutes now.",
    "sparkline": [None] * 24 + [3.1, 3.0, 12.3, 14.9],
    "alert": _ALERT,
}
_TAKEN: Final = _ALERT | {"acknowledged": {"by": "rep-7", "at": NOW}}

EXAMPLES: Final[dict[str, dict[str, Any]]] = {
    "Accounts": {"as_of": NOW, "total": 1, "next": None, "accounts": [_ROW]},
    "Today": {
        "as_of": NOW,
        "accounts": [_ROW | {"next_step": _ALERT["next_step"], "alerts": [_ALERT]}],
    },
    "Account": _ROW
    | {
        "as_of": NOW,
        "first_event_at": "2026-01-28T10:00:00Z",
        "owner_email": "rep7@example.com",
        "industry": "software",
        "employees": 250,
        "domains": ["acme.example"],
        "parent_account_id": None,
        "icp_fit": 0.8,
        "surge": {"*": 61.2, "pricing": 58.0},
        "contacts": [
            {
                "contact_id": "ann",
                "seniority": "vp",
                "strength": 0.17,
                "inbound": 1.2,
                "outbound": 0.9,
                "direction": "mutual",
                "minutes": 6.1,
            }
        ],
        "contacts_total": 1,
        "history": [
            {
                "day": "2026-01-31",
                "engagement": 14.9367,
                "intent_surge": 0.0,
                "relationship": 10.1,
            }
        ],
        "touches": [
            {
                "time": NOW,
                "channel": "page_visit",
                "contact_id": "ann",
                "label": "https://www.example.com/pricing",
                "minutes": 1.3,
            }
        ],
        "alerts": [_ALERT],
        "opportunities": [{"opportunity_id": "o-1", "kind": "new", "state": "open", "since": NOW}],
    },
    "Explanation": {
        "account_id": "acme",
        "as_of": NOW,
        "engagement": {"score": 14.9367, "minutes": 7.0, "touches": []},
        "surge": {"score": 0.0, "topics": []},
        "relationship": {"score": 10.1, "contacts": []},
        "stage": {"stage": "engaged", "target": True, "opportunities": []},
        "because": ["Ann read /pricing just now: 1.3 engagement minutes now."],
    },
    "FunnelNow": {
        "as_of": NOW,
        "stages": {"target": 12, "engaged": 5, "opportunity": 2, "customer": 1},
        "tiers": {"1": {"target": 2, "engaged": 5}},
        "moves": {
            "total": {"none>target": 20, "target>engaged": 8},
            "last_7_days": {"target>engaged": 3},
            "last_30_days": {"target>engaged": 8},
        },
        "moves_since": None,
        "surging": 1,
    },
    "Alerts": {"alerts": [_ALERT], "next": None},
    "Alert": _TAKEN,
    "Mutes": {
        "mutes": [
            {
                "what": "account",
                "name": "acme",
                "until": "2026-02-02T09:00:00Z",
                "by": "rep-7",
                "at": NOW,
            }
        ]
    },
    "Mute": {
        "what": "account",
        "name": "acme",
        "until": "2026-02-02T09:00:00Z",
        "by": "rep-7",
        "at": NOW,
    },
    "Owners": {"owners": ["rep-1", "rep-7"]},
    "Session": {"role": "operator", "name": "local", "version": "0.1.0", "clock": "wall"},
}

PROBLEMS: Final[dict[int, tuple[str, list[dict[str, str]]]]] = {
    401: ("A bearer token is needed: Authorization: Bearer TOKEN.", []),
    403: ("This needs a token with the role operator.", []),
    404: ("No account 'nobody' is stored.", []),
    413: ("The body may have 4096 bytes.", []),
    414: ("Path and query may have 12000 bytes together.", []),
    421: ("The board is not served under this host name.", []),
    422: (
        "query.limit: Input should be less than or equal to 200.",
        [{"where": "query.limit", "problem": "Input should be less than or equal to 200"}],
    ),
    429: ("Too many requests; ask again later.", []),
    503: ("The accounts are still being read.", []),
}

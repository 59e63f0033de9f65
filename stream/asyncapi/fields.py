"""What the fields of input events mean, in one sentence each."""

from collections.abc import Mapping
from typing import Final

FIELDS: Final[Mapping[str, str]] = {
    "id": "Unique per `source`; a repeat of (`source`, `id`) is not scored again.",
    "source": "The system that saw the event.",
    "type": "What kind of event it is; each topic carries one.",
    "time": (
        "Event time, RFC 3339 with an offset; at most five minutes ahead of the worker's clock."
    ),
    "account_id": "The account that it belongs to, as the CRM calls it.",
    "contact_id": "The person who did it, or to whom it was done.",
    "anonymous_id": "A visitor whose name is not known.",
    "email": "The person's address.",
    "resolution": "How the account was found, where the event named none; Surgeline adds it.",
    "by": (
        "The rule: `contact_id` `email` `email_domain` `anonymous_id` `network_host` `ip`, or "
        "`account_id` of a subsidiary that rolls up."
    ),
    "confidence": "How sure that is, 0 to 1.",
    "rolled_up_from": "The subsidiary that was found.",
    "action": "What happened.",
    "campaign_id": "The campaign that it was part of.",
    "placement": "Where it was shown.",
    "cost": "What it cost.",
    "url": "The page, as it stood in the address bar.",
    "duration_seconds": "How long it lasted.",
    "referrer": "The page that led to it.",
    "session_id": "The visit that it was part of.",
    "user_agent": "The program that sent the request.",
    "ip": "The address that the request came from.",
    "network_host": "Reverse DNS name of that address.",
    "http_status": "Status of the answer, written without a decimal point.",
    "conversation_id": "The conversation that it was part of.",
    "direction": "`inbound` comes from the account, `outbound` from us.",
    "rep_id": "The salesperson.",
    "subject": "The subject line.",
    "meeting_id": "The meeting.",
    "duration_minutes": "How long it lasted; a held meeting without it counts as 30 minutes.",
    "attendee_ids": "The contacts who took part; without them it is `contact_id`.",
    "topic": "What was read about.",
    "strength": "How many readings it stands for.",
    "name": "The name that people use.",
    "domains": "Domains of its web sites and addresses.",
    "target": "Whether it is one of the accounts that sales wants to win or keep.",
    "tier": "How important it is, 1 most of all; written without a decimal point.",
    "owner_id": "The salesperson whose account it is.",
    "owner_email": "Their address.",
    "industry": "What it does.",
    "employees": "How many people work there.",
    "parent_account_id": "The account that it belongs to.",
    "icp_fit": "How well it fits the ideal customer, 0 to 1.",
    "merged_into": "The account that it became part of; its scores are added to that one's.",
    "moved_from": "The account that the person belonged to before.",
    "moved_to": "The account that the person belongs to now.",
    "erase": "Whether to erase all that names the person; the account's sums stay.",
    "seniority": "How senior the person is; weighs what they do.",
    "role": "What the person does there.",
    "opportunity_id": "The opportunity.",
    "kind": "What is being sold.",
    "amount": "Its worth, in `currency`.",
    "currency": "Currency of `amount`, such as EUR.",
    "term_years": "How long the contract runs.",
    "program": "What the money was spent on.",
    "channel": "Where it was spent.",
    "score": "The answer.",
}

SPECIAL: Final[Mapping[tuple[str, str], str]] = {
    ("Chat", "duration_seconds"): "Of `ended`: how long the conversation lasted.",
    ("PageVisit", "duration_seconds"): "How long the page was read.",
    ("ContactRecord", "email"): "The person's address; events with it are theirs.",
    ("Identify", "anonymous_id"): "The visitor who is named here.",
    ("Identify", "contact_id"): "Who the visitor is.",
    ("Identify", "email"): "The visitor's address.",
    ("Spend", "amount"): "What was spent, in `currency`.",
    ("Survey", "kind"): "What was asked: the net promoter score.",
}
"""(Message, field) -> what it means there."""


def meaning(message: str, field: str) -> str:
    """Return what *field* of *message* means; raises KeyError for a field nobody described."""
    return SPECIAL.get((message, field)) or FIELDS[field]

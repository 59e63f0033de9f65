"""What the numbers in facts say: codes of what happened, and flags of how.

They are stored: a number never gets another meaning.
"""

from collections.abc import Mapping
from enum import IntEnum
from typing import Final


class Code(IntEnum):
    """What a fact is about."""

    AD_IMPRESSION = 1
    AD_CLICK = 2
    PAGE_VISIT = 3
    CHAT_STARTED = 4
    CHAT_MESSAGE = 5
    CHAT_ENDED = 6
    EMAIL_SENT = 7
    EMAIL_OPENED = 8
    EMAIL_CLICKED = 9
    EMAIL_REPLIED = 10
    EMAIL_BOUNCED = 11
    EMAIL_UNSUBSCRIBED = 12
    MEETING_BOOKED = 13
    MEETING_HELD = 14
    MEETING_CANCELLED = 15
    MEETING_NO_SHOW = 16
    INTENT = 17
    ATTENDED = 20
    """One attendee of the held meeting noted before it."""
    IDENTIFY = 21
    SURVEY = 22
    SURGE_STARTED = 23
    SURGE_ENDED = 24
    ACCOUNT = 40
    CONTACT = 41
    CONTACT_REMOVED = 42
    OPENED = 43
    UPDATED = 44
    WON = 45
    LOST = 46
    CHURNED = 47
    CUT = 255
    """Head of a log whose oldest facts were dropped, see ``stream/fact_logs.py``."""


LAST_ENGAGEMENT: Final = Code.INTENT

# Flags of engagement events ...
TOUCH: Final = 1
LATE: Final = 2
INBOUND: Final = 4
SIGNATURE: Final = 8
PAGE_SHIFT: Final = 4
"""Two bits: the place of the page's kind in PAGE_KINDS."""
LISTED: Final = 64
"""A held meeting whose attendees are listed."""
# ... of accounts: target, and the tier above it; ...
TARGET: Final = 1
TIER_SHIFT: Final = 1
# ... of contacts: what the record says, and the seniority's code plus 1 above it; ...
HAS_EMAIL: Final = 1
HAS_ROLE: Final = 2
SENIORITY_SHIFT: Final = 2
# ... and of opportunities: the place of the kind in KINDS, and whether there is an amount.
KINDS: Final = ("new", "renewal", "expansion")
HAS_AMOUNT: Final = 4

PAGE_KINDS: Final = ("normal", "medium", "high", "excluded")
CHANNEL_OF: Final[Mapping[int, str]] = {
    code: "page_visit" if code is Code.PAGE_VISIT else code.name.partition("_")[0].lower()
    for code in Code
    if code <= LAST_ENGAGEMENT
}
"""Code -> event type of the engagement events."""

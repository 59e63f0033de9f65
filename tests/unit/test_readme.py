"""The README says what is true."""

import re
from pathlib import Path

from scoring.errors import Reason
from scoring.events import TOPIC_TYPES
from stream.settings import settings_help

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def test_settings_table_is_that_of_the_command() -> None:
    rows = [
        f"| `{name}` | {f'`{default}`' if default else ''} | {meaning} |"
        for name, default, meaning in settings_help()
    ]
    table = README.split("<!-- settings -->")[1].split("<!-- /settings -->")[0]

    assert table.strip().splitlines()[2:] == rows


def test_event_table_names_every_topic_and_its_type() -> None:
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| `([a-z_]+)` \|", README, flags=re.MULTILINE))

    assert rows == dict(TOPIC_TYPES)


def test_every_reason_of_a_dead_letter_is_listed() -> None:
    missing = [reason.value for reason in Reason if f"`{reason.value}`" not in README]

    assert missing == []

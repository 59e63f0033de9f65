"""Accounts and contacts from CSV files: columns of the CRMs, and a complaint for every bad row."""

import json
from pathlib import Path
from typing import Any

import pytest

from stream.csv_columns import layout_of
from stream.errors import NotFound, SurgelineError
from stream.importing import Complaint, CsvFile, Row, records_of

NOW = "2026-01-05T00:00:00Z"

HUBSPOT_COMPANIES = """\
Record ID,Company name,Company Domain Name,Company owner,Industry,Number of Employees,Target Account,Ideal Customer Profile Tier,Parent Company ID,Create Date
101,Acme,acme.com,Dana,COMPUTER_SOFTWARE,"1,200",true,Tier 1,,2024-01-01
102,"Globex, Ltd.",https://globex.co.uk,,,,,Tier 3,101,2024-01-02
"""
HUBSPOT_CONTACTS = """\
Record ID,First Name,Last Name,Email,Job Title,Associated Company IDs
7,Ann,Lee,ann@acme.com,VP Engineering,101;102
8,Bob,,bob@globex.co.uk,,102
"""
SALESFORCE_ACCOUNTS = """\
"Account ID","Account Name","Website","Account Owner","Parent Account ID","Employees","Industry"
"001A","Acme","www.acme.com","Dana Doe","","1200","Software"
"001B","Acme Berlin","acme.de","Dana Doe","001A","","Software"
"""
SALESFORCE_CONTACTS = """\
"Contact ID","Account ID","First Name","Last Name","Title","Email"
"003A","001A","Ann","Lee","Chief Financial Officer","ann@acme.com"
"""


def opened(tmp_path: Path, text: str, kind: str | None = None, **own: str) -> CsvFile:
    path = tmp_path / "file.csv"
    path.write_bytes(text.encode())
    return CsvFile(path, kind=kind, own=own)


def imported(tmp_path: Path, text: str, **own: str) -> list[Any]:
    return list(opened(tmp_path, text, **own).rows(target=True, now=NOW))


def events(rows: list[Any]) -> list[dict[str, Any]]:
    assert all(isinstance(each, Row) for each in rows), rows
    return [
        {k: v for k, v in each.event.items() if k not in ("id", "source", "action", "time")}
        for each in rows
    ]


def test_companies_of_hubspot(tmp_path: Path) -> None:
    assert events(imported(tmp_path, HUBSPOT_COMPANIES)) == [
        {
            "type": "account", "account_id": "101", "name": "Acme", "domains": ["acme.com"],
            "target": True, "tier": 1, "owner_id": "Dana", "industry": "COMPUTER_SOFTWARE",
            "employees": 1200.0,
        },
        {
            "type": "account", "account_id": "102", "name": "Globex, Ltd.", "target": True,
            "domains": ["https://globex.co.uk"], "tier": 3, "parent_account_id": "101",
        },
    ]  # fmt: skip


def test_contacts_of_hubspot_belong_to_their_main_company(tmp_path: Path) -> None:
    assert events(imported(tmp_path, HUBSPOT_CONTACTS)) == [
        {
            "type": "contact", "contact_id": "7", "account_id": "101", "name": "Ann Lee",
            "email": "ann@acme.com", "role": "VP Engineering", "seniority": "vp",
        },
        {
            "type": "contact", "contact_id": "8", "account_id": "102", "name": "Bob",
            "email": "bob@globex.co.uk",
        },
    ]  # fmt: skip


def test_accounts_of_salesforce(tmp_path: Path) -> None:
    first, second = events(imported(tmp_path, SALESFORCE_ACCOUNTS))

    assert (first["account_id"], first["domains"], first["owner_id"]) == (
        "001A", ["www.acme.com"], "Dana Doe",
    )  # fmt: skip
    assert (second["parent_account_id"], "employees" in second) == ("001A", False)


def test_contacts_of_salesforce(tmp_path: Path) -> None:
    (found,) = events(imported(tmp_path, SALESFORCE_CONTACTS))

    assert (found["contact_id"], found["account_id"]) == ("003A", "001A")
    assert (found["name"], found["seniority"]) == ("Ann Lee", "c_level")


def test_columns_that_are_not_used_are_named(tmp_path: Path) -> None:
    assert opened(tmp_path, HUBSPOT_COMPANIES).layout.unused == ["Create Date"]


def test_column_of_another_name_is_mapped(tmp_path: Path) -> None:
    text = "Kundennummer;Firma\n7;Müller & Söhne\n"

    rows = imported(tmp_path, text, Kundennummer="account_id", Firma="name")

    assert [(e["account_id"], e["name"]) for e in events(rows)] == [("7", "Müller & Söhne")]


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("1,abc,,", "field employees: 'abc' is no number"),
        ("1,-3,,", "field employees"),
        (",1,,", "field account_id: is empty"),
        ("1,,maybe,", "field target: 'maybe' is neither yes nor no"),
        ("1,,,9", "field tier: '9' must be 1, 2 or 3"),
        ("1,,", "3 cells; the heading has 4"),
        (f"{'x' * 513},,,", "field account_id"),
    ],
)
def test_bad_row_is_reported_with_its_line(tmp_path: Path, row: str, complaint: str) -> None:
    text = f"id,employees,target,tier\ngood,1,yes,1\n{row}\nlast,2,no,2\n"

    rows = imported(tmp_path, text)

    bad = [each for each in rows if isinstance(each, Complaint)]
    assert [each.line for each in bad] == [3]
    assert complaint in bad[0].detail
    assert len(rows) == 3


def test_every_bad_row_is_reported(tmp_path: Path) -> None:
    text = "id,tier\n" + "".join(f"{n},9\n" for n in range(5_000))

    rows = imported(tmp_path, text)

    assert [each.line for each in rows] == list(range(2, 5_002))


def test_second_row_of_an_id_is_reported(tmp_path: Path) -> None:
    rows = imported(tmp_path, "id,name\n1,a\n1,b\n")

    assert rows[1] == Complaint(3, "account_id '1' is in line 2 already")


def test_lines_are_those_of_the_file_though_cells_hold_line_ends(tmp_path: Path) -> None:
    rows = imported(tmp_path, 'id,name,tier\n1,"a\nb",1\n\n2,c,9\n')

    assert isinstance(rows[0], Row)
    assert rows[1].line == 5


def test_byte_order_mark_and_tabs_of_spreadsheets_are_read(tmp_path: Path) -> None:
    rows = imported(tmp_path, "\ufeffid\tname\n1\tAcme\n")

    assert events(rows)[0]["name"] == "Acme"


def test_records_are_good_events_of_their_topic(tmp_path: Path) -> None:
    rows = [each for each in imported(tmp_path, SALESFORCE_CONTACTS) if isinstance(each, Row)]

    (line,) = records_of(rows)

    record = json.loads(line)
    assert (record["source"], record["action"], record["time"]) == ("import", "upserted", NOW)


@pytest.mark.parametrize(
    ("heading", "own", "said"),
    [
        (["name"], {}, "No column says account_id"),
        (["id", "email"], {}, "No column says account_id"),
        (["id"], {"nummer": "account_id"}, "The file has no column 'nummer'"),
        (["id"], {"id": "shoe_size"}, "Accounts have no field shoe_size"),
    ],
)
def test_heading_that_will_not_do_is_refused(
    heading: list[str], own: dict[str, str], said: str
) -> None:
    with pytest.raises(SurgelineError, match=said):
        layout_of(heading, own=own)


def test_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="cannot be read"):
        CsvFile(tmp_path / "nothing.csv", kind=None, own={})


def test_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file.csv").write_bytes("id,name\n1,Müller\n".encode("latin-1"))

    with pytest.raises(SurgelineError, match="UTF-8"):
        list(CsvFile(tmp_path / "file.csv", kind=None, own={}).rows(target=True, now=NOW))

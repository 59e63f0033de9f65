"""The board's page in a real browser, on the whole embedded stack: from an event to the screen.

A target account reads the pricing page: it appears on Today without a reload, its page explains
it, and the webhook of the routes has the signed alert.
"""

import contextlib
import datetime as dt
import hashlib
import hmac
import json
import os
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.system.harness import PATIENCE, Json, Up, eventually, write_lines

pytestmark = [pytest.mark.page]

SECRET = "0123456789abcdef0123456789abcdef"
AXE = "axe-core@4.10.3"
CACHE = Path(__file__).resolve().parents[2] / ".cache" / "axe"
PAGES = {"today": "/", "account": "/accounts/acme", "funnel": "/funnel"}
VIEWS: dict[str, dict[str, Any]] = {
    "light": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light"},
}


class Delivered(NamedTuple):
    """One request that the webhook received."""

    headers: dict[str, str]
    body: bytes


@contextlib.contextmanager
def webhook() -> Iterator[tuple[str, list[Delivered]]]:
    """Serve an endpoint that takes whatever comes; yield its address and what came."""
    received: list[Delivered] = []

    class Taker(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append(Delivered({k.lower(): v for k, v in self.headers.items()}, body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Taker) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", received
        server.shutdown()


def event(number: int, type_: str, minutes_ago: float, account: str = "acme", **more: Any) -> Json:
    at = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=minutes_ago)
    common = {"id": f"p{number}", "source": "page-test", "type": type_, "time": at.isoformat()}
    return common | {"account_id": account} | more


def history() -> list[Json]:
    """Return a market with a past: two accounts, people, meetings, a deal, quiet weeks."""
    day = 1_440.0
    events = [
        event(1, "account", 60 * day, action="upserted", target=True, tier=1, name="Acme Inc",
              owner_id="dana", owner_email="dana@us.example", domains=["acme.example"]),
        event(2, "account", 60 * day, "globex", action="upserted", target=True, tier=2,
              name="Globex <b>&amp;</b>", owner_id="eli"),
        event(3, "contact", 59 * day, action="upserted", contact_id="ann", seniority="vp"),
        event(4, "opportunity", 10 * day, "globex", action="opened", opportunity_id="o1", kind="new"),
    ]  # fmt: skip
    for n in range(12):
        events += [
            event(100 + n, "page_visit", (50 - 4 * n) * day, url="https://us.example/docs/start",
                  duration_seconds=60, contact_id="ann"),
            event(200 + n, "email", (49 - 4 * n) * day, action="replied", contact_id="ann",
                  direction="inbound" if n % 2 else "outbound"),
            event(300 + n, "page_visit", (3 + n) * day, "globex", url="https://us.example/product"),
        ]  # fmt: skip
    return events


class Stack(NamedTuple):
    """A running stack with a past, and what its webhook receives."""

    up: Up
    board: str
    received: list[Delivered]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    directory = tmp_path_factory.mktemp("page")
    with webhook() as (url, received):
        routes = directory / "routes.toml"
        routes.write_text(
            f'default = ["hook"]\n[routes.hook]\nwebhook = "{url}"\nsecret = "{SECRET}"\n'
            "quiet_hours = false\n"
        )
        up = Up(directory, SURGELINE_ROUTES=str(routes))
        try:
            up.wait_ready()
            past = write_lines(directory / "past.jsonl", sorted(history(), key=lambda e: e["time"]))
            up.command("replay", str(past), "--wait")
            yield Stack(up, up.addresses()["board"], received)
        finally:
            up.close()


def opened(browser: Any, address: str, view: str = "light", **options: Any) -> Any:
    """Return a page that has loaded all that it shows; errors of its scripts fail the test."""
    page = browser.new_page(**VIEWS[view], **options)
    page.on("pageerror", lambda error: pytest.fail(f"The page's script failed: {error}"))
    page.goto(address)
    page.wait_for_selector("[data-testid=connection][data-state=live]")
    page.wait_for_selector("[aria-busy=true]", state="detached")
    return page


def test_pricing_visit_appears_on_today_without_reload_and_is_explained(
    stack: Stack, browser: Any, tmp_path: Path
) -> None:
    page = opened(browser, stack.board)
    page.evaluate("window.neverReloaded = true")
    visit = event(900, "page_visit", 0, url="https://us.example/pricing", contact_id="ann",
                  duration_seconds=95)  # fmt: skip
    said = "ann (VP) of Acme Inc spent 1 min 35 s on /pricing."

    stack.up.command("replay", str(write_lines(tmp_path / "visit.jsonl", [visit])))
    card = page.locator("[data-account=acme]")
    card.get_by_text(said).first.wait_for(timeout=PATIENCE * 10_000)

    assert page.evaluate("window.neverReloaded") is True
    assert page.locator("[data-account]").first.get_attribute("data-account") == "acme"
    card.get_by_role("link", name="Acme Inc").first.click()
    page.wait_for_url("**/accounts/acme")
    page.get_by_text(said).first.wait_for(timeout=PATIENCE * 10_000)
    page.get_by_text("/pricing").first.wait_for()
    assert "ann" in page.locator("[data-testid=committee]").inner_text()
    page.close()


def test_webhook_has_the_signed_alert(stack: Stack) -> None:
    def of_the_visit() -> list[Delivered]:
        return [each for each in stack.received if b'"p900"' in each.body]

    assert eventually(lambda: bool(of_the_visit()), within_seconds=15)

    delivered = next(d for d in of_the_visit() if b"high_value_page" in d.body)
    signed = dict(
        part.split("=", 1) for part in delivered.headers["surgeline-signature"].split(",")
    )
    expected = hmac.new(
        SECRET.encode(), f"{signed['t']}.".encode() + delivered.body, hashlib.sha256
    ).hexdigest()
    assert signed["v1"] == expected
    assert delivered.headers["idempotency-key"] in delivered.body.decode()
    alert = json.loads(delivered.body)
    alert = alert.get("alert", alert)
    assert alert["link"] == f"{stack.board}/accounts/acme"


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("name", PAGES)
def test_page_is_shown_whole_in_every_view(
    stack: Stack, browser: Any, tmp_path: Path, name: str, view: str
) -> None:
    page = opened(browser, stack.board + PAGES[name], view)

    kept = Path(os.environ.get("SURGELINE_SCREENSHOTS", tmp_path))
    page.screenshot(path=str(kept / f"{name}-{view}.png"), full_page=True)
    wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")

    assert wide <= 0, "the page scrolls sideways"
    assert page.locator("h1").count() == 1
    page.close()


def test_names_are_shown_as_text(stack: Stack, browser: Any) -> None:
    page = opened(browser, stack.board)

    page.get_by_role("link", name="Globex <b>&amp;</b>").first.wait_for()

    assert page.locator("main b", has_text="&").count() == 0
    page.close()


def axe_source() -> str:
    """Return axe-core's script, fetched once into the cache."""
    script = CACHE / "package" / "axe.min.js"
    if not script.exists():
        if shutil.which("npm") is None:
            pytest.skip("npm is not installed, and axe-core not in the cache")
        CACHE.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            ["npm", "pack", AXE], cwd=CACHE, capture_output=True, text=True, check=False
        )
        if done.returncode:
            pytest.skip(f"axe-core cannot be fetched: {done.stderr[-200:]}")
        with tarfile.open(CACHE / done.stdout.strip().splitlines()[-1]) as archive:
            archive.extractall(CACHE, filter="data")
    return script.read_text(encoding="utf-8")


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("name", PAGES)
def test_accessibility_check_finds_no_violation(
    stack: Stack, browser: Any, name: str, view: str
) -> None:
    script = axe_source()
    page = opened(browser, stack.board + PAGES[name], view, bypass_csp=True)
    page.add_script_tag(content=script)

    found = page.evaluate("axe.run()")

    broken = [
        (each["id"], [n["html"][:120] for n in each["nodes"]]) for each in found["violations"]
    ]
    assert found["passes"]
    assert broken == []
    page.close()

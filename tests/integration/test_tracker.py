"""The tracker script in a real browser: visits with the time that a page was seen, no cookies."""

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import pytest

from stream.collector.page_routes import read_script
from tests.system.harness import Json, eventually

pytestmark = [pytest.mark.page]

SCRIPT = read_script().body
HIDE = """() => {
  Object.defineProperty(document, 'visibilityState', {value: 'hidden', configurable: true});
  Object.defineProperty(document, 'hidden', {value: true, configurable: true});
  document.dispatchEvent(new Event('visibilitychange'));
}"""
SHOW = HIDE.replace("'hidden', c", "'visible', c").replace("true, c", "false, c")


class Call(NamedTuple):
    """One request of a tracker."""

    path: str
    body: Json
    headers: dict[str, str]


class Site(NamedTuple):
    """A site with the tracker in its pages, and a collector that takes what it sends."""

    url: str
    calls: list[Call]

    def pages(self) -> list[Json]:
        """Return the page calls that came."""
        return [call.body for call in self.calls if call.path == "/v1/page"]


@contextlib.contextmanager
def running_site() -> Iterator[Site]:
    calls: list[Call] = []

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            script = self.path == "/v1/tracker.js"
            consent = "true" if "consent" in self.path else "false"
            page = (
                f'<!doctype html><title>x</title><script src="/v1/tracker.js" data-key="k1" '
                f'data-account="acme" data-consent="{consent}"></script>'
            )
            body = SCRIPT if script else page.encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/javascript" if script else "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            headers = {name.lower(): value for name, value in self.headers.items()}
            calls.append(Call(self.path, body, headers))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Site(f"http://127.0.0.1:{server.server_port}", calls)
        server.shutdown()


@pytest.fixture
def site() -> Iterator[Site]:
    with running_site() as own:
        yield own


def opened(browser: Any, address: str, context: Any = None) -> Any:
    page = (context or browser).new_page()
    page.on("pageerror", lambda error: pytest.fail(f"The tracker failed: {error}"))
    page.goto(address)
    return page


def test_a_visit_is_sent_when_the_page_is_hidden_with_the_time_it_was_seen(
    site: Site, browser: Any
) -> None:
    began = time.monotonic()
    page = opened(browser, f"{site.url}/pricing")
    page.wait_for_timeout(1_200)
    assert site.calls == []

    page.evaluate(HIDE)
    seen = time.monotonic() - began

    assert eventually(lambda: len(site.pages()) == 1, within_seconds=10)
    (call,) = site.pages()
    assert call["properties"]["url"] == f"{site.url}/pricing"
    assert 1.1 <= call["properties"]["duration_seconds"] <= seen
    assert (call["writeKey"], call["context"]["groupId"]) == ("k1", "acme")
    assert call["messageId"]
    assert call["timestamp"] < call["sentAt"]
    assert site.calls[0].headers["content-type"].startswith("text/plain")  # asks nobody first
    page.close()


def test_time_while_hidden_does_not_count_and_a_short_look_back_is_no_visit(
    site: Site, browser: Any
) -> None:
    page = opened(browser, f"{site.url}/pricing")
    page.wait_for_timeout(300)
    page.evaluate(HIDE)
    assert eventually(lambda: len(site.pages()) == 1, within_seconds=10)
    page.wait_for_timeout(1_500)

    page.evaluate(SHOW)
    page.wait_for_timeout(300)
    page.evaluate(HIDE)
    page.evaluate(SHOW)
    page.wait_for_timeout(5_200)
    page.evaluate(HIDE)

    assert eventually(lambda: len(site.pages()) == 2, within_seconds=10)
    first, second = (each["properties"]["duration_seconds"] for each in site.pages())
    assert first < 1.5
    assert 5.0 <= second < 7.0
    page.close()


def test_leaving_the_page_sends_the_visit(site: Site, browser: Any) -> None:
    page = opened(browser, f"{site.url}/pricing")
    page.wait_for_timeout(200)

    page.goto(f"{site.url}/docs")

    assert eventually(lambda: len(site.pages()) == 1, within_seconds=10)
    assert site.pages()[0]["properties"]["url"].endswith("/pricing")
    page.close()


def test_a_page_that_changes_by_itself_is_told_by_the_page_call(site: Site, browser: Any) -> None:
    page = opened(browser, f"{site.url}/")
    page.wait_for_timeout(100)

    page.evaluate("history.pushState({}, '', '/product'); surgeline.page()")
    page.wait_for_timeout(100)
    page.evaluate(HIDE)

    assert eventually(lambda: len(site.pages()) == 2, within_seconds=10)
    paths = [each["properties"]["url"].removeprefix(site.url) for each in site.pages()]
    assert paths == ["/", "/product"]
    page.close()


def test_identify_names_the_visitor_from_then_on(site: Site, browser: Any) -> None:
    page = opened(browser, f"{site.url}/")
    page.wait_for_timeout(100)

    page.evaluate("surgeline.identify('ann', {email: 'ann@acme.example'})")
    page.evaluate(HIDE)

    assert eventually(lambda: len(site.calls) == 2, within_seconds=10)
    by_path = {call.path: call.body for call in site.calls}
    identify, visit = by_path["/v1/identify"], by_path["/v1/page"]
    assert (identify["userId"], identify["traits"]) == ("ann", {"email": "ann@acme.example"})
    assert visit["userId"] == "ann"
    assert visit["anonymousId"] == identify["anonymousId"]
    page.close()


def test_without_consent_nothing_is_kept_in_the_browser(site: Site, browser: Any) -> None:
    context = browser.new_context()
    for _ in range(2):
        page = opened(browser, f"{site.url}/", context)
        page.wait_for_timeout(100)
        page.evaluate(HIDE)
        kept = page.evaluate(
            "JSON.stringify([document.cookie, {...localStorage}, {...sessionStorage}])"
        )
        assert json.loads(kept) == ["", {}, {}]
        page.close()

    assert eventually(lambda: len(site.pages()) == 2, within_seconds=10)
    first, second = (each["anonymousId"] for each in site.pages())
    assert first != second
    assert context.cookies() == []


def test_with_consent_the_visitor_is_known_again_until_it_is_taken_back(
    site: Site, browser: Any
) -> None:
    context = browser.new_context()
    for _ in range(2):
        page = opened(browser, f"{site.url}/?consent", context)
        page.wait_for_timeout(100)
        page.evaluate(HIDE)
        page.close()
    assert eventually(lambda: len(site.pages()) == 2, within_seconds=10)

    page = opened(browser, f"{site.url}/?consent", context)
    kept = page.evaluate("localStorage.getItem('surgeline_id')")
    page.evaluate("surgeline.consent(false)")

    assert {each["anonymousId"] for each in site.pages()} == {kept}
    assert page.evaluate("localStorage.length") == 0
    assert context.cookies() == []
    page.close()

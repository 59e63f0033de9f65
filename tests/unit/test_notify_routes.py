"""The file of routes: what it says, and what is wrong with it."""

from pathlib import Path

import pytest

from stream.errors import InvalidSetting
from stream.notify.routes import Routes, parse_routes
from stream.notify.routes_file import read_routes
from tests.alerts import alert

SECRET = "0123456789abcdef-secret"
WEBHOOK = f'webhook = "https://crm.example.com/hook"\nsecret = "{SECRET}"\n'


def refusal(text: str) -> str:
    with pytest.raises(InvalidSetting) as caught:
        parse_routes(text, source="routes.toml")
    return str(caught.value)


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "routes.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_route_takes_what_it_does_not_say_from_the_defaults() -> None:
    text = f"[defaults]\nmax_age_hours = 2.0\nconcurrency = 3\n[routes.crm]\n{WEBHOOK}concurrency = 5\n"

    route = parse_routes(text).routes["crm"]

    assert (route.max_age_hours, route.concurrency) == (2.0, 5)


def test_a_route_may_undo_the_quiet_hours_of_the_defaults() -> None:
    text = "[defaults]\nrate_limit = {alerts = 1, minutes = 1}\n[routes.crm]\n"

    limited = parse_routes(f"{text}{WEBHOOK}").routes["crm"]
    free = parse_routes(f"{text}{WEBHOOK}rate_limit = false").routes["crm"]

    assert limited.rate_limit is not None
    assert free.rate_limit is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("routes = [", "routes.toml is not valid TOML"),
        (f"[routes.crm]\n{WEBHOOK}tiers = [4]", "routes.crm.tiers.0 = 4: "),
        (f"[routes.crm]\n{WEBHOOK}colour = 'red'", "routes.crm.colour = 'red': Extra inputs"),
        ("[routes.crm]\nrules = ['x']", "routes.crm: must have either url or webhook"),
        ("[routes.crm]\nwebhook = 'https://crm.example.com'", "must have a secret if, and only if"),
        (f"default = ['floor']\n[routes.crm]\n{WEBHOOK}", "default names 'floor', which must be"),
        (f"zones.ann = 'Mars/Base'\n[routes.crm]\n{WEBHOOK}", "zones.ann = 'Mars/Base': must be a"),
        (
            f"[routes.crm]\n{WEBHOOK}quiet_hours = {{from='25:00', to='08:00', zone='UTC'}}",
            "routes.crm.quiet_hours.from = '25:00': must be a time of day like 20:00.",
        ),
        (
            f"[routes.crm]\n{WEBHOOK}quiet_hours = {{from='08:00', to='08:00', zone='UTC'}}",
            "routes.crm.quiet_hours: must end some time",
        ),
        (f"[routes.'a b']\n{WEBHOOK}", "routes.a b.name = 'a b': "),
    ],
)
def test_a_wrong_file_is_refused_with_field_value_and_rule(text: str, said: str) -> None:
    sentence = refusal(text)

    assert said in sentence
    assert sentence.startswith("routes.toml")
    assert sentence.count("\n") == 0


@pytest.mark.parametrize(
    "text",
    [
        "[routes.crm]\nwebhook = 'ftp://user:t0ken@crm'\nsecret = '0123456789abcdef'",
        "[routes.crm]\nwebhook = 'https://crm.example.com'\nsecret = 't0ken'",
        "[routes.crm]\nurl = ['t0ken']",
    ],
)
def test_a_refusal_shows_no_secret(text: str) -> None:
    assert "t0ken" not in refusal(text)


def test_a_route_shows_no_secret_when_it_is_printed() -> None:
    route = parse_routes(f"[routes.crm]\n{WEBHOOK}").routes["crm"]

    assert SECRET not in repr(route)
    assert "hook" not in repr(route).replace("webhook", "")


def test_secrets_come_from_files_and_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key").write_text(f"{SECRET}\n", encoding="utf-8")
    monkeypatch.setenv("CRM_HOOK", "https://crm.example.com/hook")
    text = f"[routes.crm]\nwebhook_env = 'CRM_HOOK'\nsecret_file = '{tmp_path / 'key'}'\n"

    route = read_routes(written(tmp_path, text)).routes["crm"]

    assert (route.webhook, route.secret) == ("https://crm.example.com/hook", SECRET)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("url_env = 'NOT_SET_ANYWHERE'", "must name what holds the value"),
        ("url_file = '/no/such/file'", "must be a readable file"),
        ("url = 'json://localhost'\nurl_file = 'x'", "must not have both url and url_file"),
        ("url = 'surely-not-a-service'", "routes.ann.url: must be a URL that Apprise knows."),
    ],
)
def test_an_address_that_cannot_be_used_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InvalidSetting, match=r"routes\.ann") as caught:
        read_routes(written(tmp_path, f"[routes.ann]\n{text}\n"))

    assert said in str(caught.value)
    assert "surely" not in str(caught.value)


def test_without_a_file_nobody_is_told() -> None:
    assert read_routes(None) == Routes()


def test_the_example_is_a_good_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = Path("deploy/routes.example.toml").read_text(encoding="utf-8")
    (tmp_path / "secret").write_text("0123456789abcdef0123", encoding="utf-8")
    (tmp_path / "url").write_text("https://crm.example.com/hook", encoding="utf-8")
    text = text.replace("/run/secrets/crm-secret", str(tmp_path / "secret"))
    text = text.replace("/run/secrets/crm-url", str(tmp_path / "url"))
    monkeypatch.setenv("SLACK_SALES", "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/")

    routes = read_routes(written(tmp_path, text))

    assert routes.default
    assert len(routes.routes) >= 3


def test_an_owner_is_filled_into_an_address_and_cannot_change_the_rest_of_it() -> None:
    route = parse_routes(
        "[routes.mail]\nurl = 'mailto://smtp.example.com?to={owner_email}'"
    ).routes["mail"]

    plain = route.address(alert(owner_email="ann@example.com"))
    evil = route.address(alert(owner_email="a@example.com&to=eve@evil.example"))
    nobody = route.address(alert(owner_email=None))

    assert plain == "mailto://smtp.example.com?to=ann@example.com"
    assert evil is not None
    assert "&to=" not in evil
    assert nobody is None

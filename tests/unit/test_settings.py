"""Settings: right ones are read, wrong ones are told in one sentence without secrets."""

import os
import traceback
from pathlib import Path

import pytest
from pydantic import ValidationError

from stream.errors import InvalidSetting
from stream.settings import Settings, load_settings, settings_help


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith("SURGELINE_"):
            monkeypatch.delenv(name)


WRONG = [
    ("KAFKA_URL", "", ""),
    ("KAFKA_URL", "broker", ""),
    ("KAFKA_URL", ":9092", ""),
    ("KAFKA_URL", "broker:0", ""),
    ("KAFKA_URL", "broker:65536", ""),
    ("KAFKA_URL", "broker:9092,", ""),
    ("REDIS_URL", "", ""),
    ("REDIS_URL", "127.0.0.1:6379", ""),
    ("REDIS_URL", "http://127.0.0.1:6379", ""),
    ("GROUP", "", "="),
    ("GROUP", "x" * 201, "=" + "x" * 201),
    ("TOPIC_PREFIX", "two words", "=two words"),
    ("TOPIC_PREFIX", "ä", "=ä"),
    ("PARTITIONS", "0", "=0"),
    ("PARTITIONS", "4097", "=4097"),
    ("PARTITIONS", "eight", "=eight"),
    ("PARTITIONS", "1.5", "=1.5"),
    ("PARTITIONS", "", "="),
    ("REPLICATION", "-2", "=-2"),
    ("CLOCK", "Wall", "=Wall"),
    ("WORKER_PORT", "65536", "=65536"),
    ("EXPORTER_PORT", "-1", "=-1"),
    ("FLUSH_SECONDS", "0", "=0"),
    ("FLUSH_SECONDS", "nan", "=nan"),
    ("FLUSH_SECONDS", "inf", "=inf"),
    ("FLUSH_RECORDS", "0", "=0"),
    ("CACHE_BYTES", "1000", "=1000"),
    ("SESSION_SECONDS", "0.5", "=0.5"),
    ("MAX_RECORD_BYTES", "1000", "=1000"),
    ("ON_MISSING_STATE", "ignore", "=ignore"),
    ("ON_DATA_GONE", "replay", "=replay"),
    ("LOG_LEVEL", "verbose", "=verbose"),
]


@pytest.mark.parametrize(("name", "value", "shown"), WRONG)
def test_wrong_setting_is_told_in_one_sentence(
    name: str, value: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"SURGELINE_{name}", value)

    with pytest.raises(InvalidSetting) as raised:
        load_settings()

    sentence = str(raised.value)
    before, rule = sentence.split(": ", 1)
    assert before == f"SURGELINE_{name}{shown}"
    assert rule.endswith(".")
    assert "\n" not in sentence


@pytest.mark.parametrize("value", ["/no/such/model.toml", "."])
def test_model_that_is_no_file_is_told(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SURGELINE_MODEL", value)

    with pytest.raises(InvalidSetting, match=r"^SURGELINE_MODEL.*: must be a readable file\.$"):
        load_settings()


def test_first_of_several_wrong_settings_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SURGELINE_WORKER_PORT", "x")
    monkeypatch.setenv("SURGELINE_PARTITIONS", "x")

    with pytest.raises(InvalidSetting, match=r"^SURGELINE_PARTITIONS=x: "):
        load_settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REDIS_URL", "http://user:s3cret@redis:6379"),
        ("REDIS_URL", "user:s3cret@redis:6379"),
        ("KAFKA_URL", "user:s3cret@broker"),
    ],
)
def test_secrets_in_urls_are_not_shown(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"SURGELINE_{name}", value)

    with pytest.raises(InvalidSetting) as raised:
        load_settings()

    assert "s3cret" not in "".join(traceback.format_exception(raised.value))


@pytest.mark.parametrize(
    "url",
    ["redis://:s3cret@redis:6379/3", "rediss://redis:6379/0", "unix:///run/redis.sock?db=1"],
)
def test_redis_may_be_given_in_every_form(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SURGELINE_REDIS_URL", url)

    assert load_settings().redis_url == url


def test_several_brokers_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SURGELINE_KAFKA_URL", "one:9092, two:9093,[::1]:9094")

    assert load_settings().brokers == ["one:9092", "two:9093", "[::1]:9094"]


def test_command_line_comes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SURGELINE_PARTITIONS", "2")
    monkeypatch.setenv("SURGELINE_GROUP", "environment")

    settings = load_settings(partitions=3, group=None)

    assert (settings.partitions, settings.group) == (3, "environment")


def test_wrong_option_is_told_like_a_wrong_variable() -> None:
    with pytest.raises(InvalidSetting, match=r"^SURGELINE_PARTITIONS=0: "):
        load_settings(partitions=0)


def test_empty_model_is_the_default_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SURGELINE_MODEL", "")

    assert load_settings().model is None


def test_model_is_read_as_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tmp_path / "model.toml"
    model.touch()
    monkeypatch.setenv("SURGELINE_MODEL", str(model))

    assert load_settings().model == model


def test_unknown_variables_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    before = load_settings()

    monkeypatch.setenv("SURGELINE_SOMETHING_ELSE", "1")

    assert load_settings() == before


def test_settings_cannot_be_changed() -> None:
    settings = load_settings()

    with pytest.raises(ValidationError, match="frozen"):
        settings.partitions = 4


def test_help_names_every_setting_with_its_default_and_meaning() -> None:
    rows = {variable: (default, meaning) for variable, default, meaning in settings_help()}

    assert set(rows) == {f"SURGELINE_{name.upper()}" for name in Settings.model_fields}
    assert rows["SURGELINE_PARTITIONS"][0] == "8"
    assert rows["SURGELINE_MODEL"][0] == ""
    assert all(meaning for _, meaning in rows.values())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KAFKA_URL", "broker:²"),
        ("KAFKA_URL", "http://broker:9092"),
        ("REDIS_URL", "redis://h:notaport/0"),
        ("REDIS_URL", "redis://[::1/0"),
        ("REDIS_URL", "redis://h/x"),
        ("REPLICATION", "0"),
        ("MODEL", "/no/such"),
    ],
)
def test_unusable_setting_is_told(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"SURGELINE_{name}", value)

    with pytest.raises(InvalidSetting, match=f"SURGELINE_{name}") as raised:
        load_settings()

    assert "=:" not in str(raised.value)
    assert "invalid literal" not in str(raised.value)

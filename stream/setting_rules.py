"""Rules that bind several settings: how Kafka and Redis let us in, and secrets from files.

Each raises InvalidSetting, one sentence that names the variable and what it must be; none shows
a secret.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, urlsplit

from stream.errors import InvalidSetting
from stream.tls import client_tls

if TYPE_CHECKING:
    from stream.settings import Settings

SECRETS: Final = ("kafka_password", "redis_password")


def variable(name: str) -> str:
    """Return the environment variable of the setting *name*.

    >>> variable("kafka_url")
    'SURGELINE_KAFKA_URL'
    """
    return f"SURGELINE_{name.upper()}"


def secrets_from_files(given: dict[str, Any]) -> dict[str, Any]:
    """Return the raw settings *given*, each secret read from its file where one is named."""
    read = dict(given)
    for name in SECRETS:
        path = read.get(f"{name}_file")
        if path in (None, ""):
            continue
        if read.get(name) not in (None, ""):
            raise InvalidSetting(
                f"{variable(name)}: must not be set together with {variable(name)}_FILE."
            )
        read[name] = _secret(f"{variable(name)}_FILE={path}", Path(path))
    return read


def _secret(said: str, path: Path) -> str:
    try:
        # Editors and `echo` end a file with a newline, which is no part of the secret.
        secret = path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError):
        raise InvalidSetting(f"{said}: must be a readable file of UTF-8 text.") from None
    if not secret:
        raise InvalidSetting(f"{said}: must hold the password, and is empty.")
    return secret


def check_kafka_access(settings: "Settings") -> None:
    """Refuse what would connect to Kafka otherwise than it was meant."""
    security = f"SURGELINE_KAFKA_SECURITY={settings.kafka_security}"
    if "sasl" in settings.kafka_security:
        if settings.kafka_username is None:
            raise InvalidSetting(f"SURGELINE_KAFKA_USERNAME: must be set with {security}.")
        if settings.kafka_password is None:
            raise InvalidSetting(
                f"SURGELINE_KAFKA_PASSWORD: must be set for user {settings.kafka_username} (or "
                "SURGELINE_KAFKA_PASSWORD_FILE)."
            )
    else:
        _unused(settings, ("kafka_username", "kafka_password"), f"is not used with {security}")
    if settings.kafka_security == "sasl_plaintext" and not settings.kafka_allow_cleartext:
        raise InvalidSetting(
            f"{security}: nothing would be encrypted; must be sasl_tls, or "
            "SURGELINE_KAFKA_ALLOW_CLEARTEXT=true must say that this is meant."
        )
    if settings.kafka_tls is None:
        names = ("kafka_ca_file", "kafka_cert_file", "kafka_key_file")
        _unused(settings, names, f"is not used with {security}")
    else:
        client_tls(settings.kafka_tls)


def check_redis_access(settings: "Settings") -> None:
    """Refuse what would connect to Redis otherwise than it was meant."""
    url = urlsplit(settings.redis_url)
    if any(name.startswith("ssl_") for name in parse_qs(url.query, keep_blank_values=True)):
        raise InvalidSetting(
            "SURGELINE_REDIS_URL: must carry no ssl_ options; the files of TLS are set by "
            "SURGELINE_REDIS_CA_FILE, SURGELINE_REDIS_CERT_FILE and SURGELINE_REDIS_KEY_FILE."
        )
    if url.username and settings.redis_username is not None:
        raise InvalidSetting(
            "SURGELINE_REDIS_USERNAME: must not be set when SURGELINE_REDIS_URL names a user."
        )
    if url.password and settings.redis_password is not None:
        raise InvalidSetting(
            "SURGELINE_REDIS_PASSWORD: must not be set when SURGELINE_REDIS_URL carries one."
        )
    user = settings.redis_username or url.username
    if user and settings.redis_password is None and not url.password:
        raise InvalidSetting(
            f"SURGELINE_REDIS_PASSWORD: must be set for user {user} (or "
            "SURGELINE_REDIS_PASSWORD_FILE)."
        )
    if settings.redis_tls is None:
        names = ("redis_ca_file", "redis_cert_file", "redis_key_file")
        _unused(settings, names, "needs SURGELINE_REDIS_URL to begin with rediss://")
    else:
        client_tls(settings.redis_tls)


def _unused(settings: "Settings", names: Iterable[str], why: str) -> None:
    """Refuse a setting without effect: whoever made it believes that it protects."""
    for name in names:
        if getattr(settings, name) is not None:
            raise InvalidSetting(f"{variable(name)}: {why}.")

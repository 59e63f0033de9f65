"""How Redis lets us in: the arguments of every client, and the reason of a refusal."""

from collections.abc import Awaitable, Callable
from ssl import SSLError
from typing import Any, TypeVar

import redis.exceptions

from stream.errors import RefusedStart, Unreachable, cause
from stream.settings import Settings
from stream.state_store import RedisStore
from stream.tls import refused_tls

T = TypeVar("T")


def open_store(settings: Settings) -> RedisStore:
    """Return the state store of *settings*; it connects when it is first asked."""
    return RedisStore(settings.redis_url, access_arguments(settings))


def access_arguments(settings: Settings) -> dict[str, Any]:
    """Return what clients of redis-py take beside the URL.

    With TLS the server's certificate and host name are always checked.
    """
    access: dict[str, Any] = {}
    if settings.redis_username is not None:
        access["username"] = settings.redis_username
    if settings.redis_password is not None:
        access["password"] = settings.redis_password.get_secret_value()
    if settings.redis_tls is not None:
        access["ssl_cert_reqs"] = "required"
        access["ssl_check_hostname"] = True
        access["ssl_ca_certs"] = _path(settings.redis_ca_file)
        access["ssl_certfile"] = _path(settings.redis_cert_file)
        access["ssl_keyfile"] = _path(settings.redis_key_file)
    return access


def _path(file: object) -> str | None:
    return None if file is None else str(file)


async def let_in(call: Callable[[], Awaitable[T]]) -> T:
    """Return what *call* answers; raise RefusedStart when Redis answers and does not let us in."""
    try:
        return await call()
    except Unreachable as error:
        refusal = refusal_of(error)
        if refusal is not None:
            raise refusal from error
        if cause(error, ConnectionResetError) is not None:
            # Redis refuses a certificate after the handshake; its reason often gets lost.
            raise Unreachable(
                f"{error} Over TLS that may be its answer to SURGELINE_REDIS_CERT_FILE."
            ) from error
        raise


def refusal_of(error: BaseException) -> RefusedStart | None:
    """Return the sentence for an *error* that only another setting cures, None for others."""
    if cause(error, redis.exceptions.AuthenticationError) is not None:
        return RefusedStart(
            "SURGELINE_REDIS_USERNAME, SURGELINE_REDIS_PASSWORD: Redis does not let us in; "
            "user and password (here or in SURGELINE_REDIS_URL) must be ones that it knows."
        )
    broken = cause(error, SSLError)
    if broken is None:
        return None
    return refused_tls(broken, server="Redis", variables="SURGELINE_REDIS")

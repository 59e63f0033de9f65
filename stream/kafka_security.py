"""How Kafka lets us in: the arguments of every client, and the reason of a refusal."""

from ssl import SSLEOFError, SSLError
from typing import Any, Final

from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    IllegalSaslStateError,
    KafkaError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import MetadataRequest

from stream.errors import RefusedStart, cause
from stream.settings import Settings
from stream.tls import client_tls, refused_tls

ANSWER_SECONDS: Final = 5.0

NOT_ALLOWED: Final = (
    TopicAuthorizationFailedError,
    GroupAuthorizationFailedError,
    ClusterAuthorizationFailedError,
)
"""What Kafka answers to a request that its access control lists do not allow."""

_PROTOCOLS: Final = {
    "plaintext": "PLAINTEXT",
    "tls": "SSL",
    "sasl_tls": "SASL_SSL",
    "sasl_plaintext": "SASL_PLAINTEXT",
}


def client_arguments(settings: Settings) -> dict[str, Any]:
    """Return what every aiokafka client is made with: the brokers and how they let us in.

    Raises InvalidSetting when a certificate or key cannot be used.
    """
    return {"bootstrap_servers": settings.brokers, **_access(settings)}


def _access(settings: Settings) -> dict[str, Any]:
    access: dict[str, Any] = {"security_protocol": _PROTOCOLS[settings.kafka_security]}
    if settings.kafka_tls is not None:
        access["ssl_context"] = client_tls(settings.kafka_tls)
    if settings.kafka_password is not None:  # set with SASL, and only then
        access["sasl_mechanism"] = settings.kafka_mechanism
        access["sasl_plain_username"] = settings.kafka_username
        access["sasl_plain_password"] = settings.kafka_password.get_secret_value()
    return access


def faust_credentials(settings: Settings) -> Any:
    """Return Faust's ``broker_credentials``, None without security.

    The protocol follows from the arguments: without a TLS context SASL would go unencrypted,
    which only ``sasl_plaintext`` says, and the settings refuse unless it is consented to.
    """
    import faust  # workers alone have it in them

    if settings.kafka_security == "plaintext":
        return None
    context = None if settings.kafka_tls is None else client_tls(settings.kafka_tls)
    if settings.kafka_password is None:
        return faust.SSLCredentials(context)
    return faust.SASLCredentials(
        username=settings.kafka_username,
        password=settings.kafka_password.get_secret_value(),
        mechanism=settings.kafka_mechanism,
        ssl_context=context,
    )


def denied(settings: Settings, error: BaseException) -> RefusedStart:
    """Return the sentence for an *error* of NOT_ALLOWED."""
    name = settings.kafka_username
    who = "this client" if name is None else f"user {name}"
    what = "do what it asked of the cluster"
    if isinstance(error, TopicAuthorizationFailedError):
        what = "use a topic that it needs"
    elif isinstance(error, GroupAuthorizationFailedError):
        what = f"use consumer group {settings.group}"
    return RefusedStart(
        f"Kafka does not allow {who} to {what}: it must have the access rules of its "
        "process (deploy/kafka/acls.sh)."
    )


async def check_access(settings: Settings) -> str:
    """Raise RefusedStart when a broker answers and does not let us in.

    Else return why none let us in, as far as that is not clear from "does not answer", or nothing:
    Kafka's client keeps the reason to itself, so the brokers are asked once more.
    """
    arguments = _access(settings)
    hint = ""
    for host, port, _ in collect_hosts(settings.brokers):
        try:
            connection = await create_conn(
                host, port, request_timeout_ms=int(ANSWER_SECONDS * 1_000), **arguments
            )
            try:
                await connection.send(MetadataRequest([]))
            finally:
                connection.close()
        except (KafkaError, OSError, TimeoutError) as error:
            refusal = _refusal(settings, error, at=f"Kafka at {host}:{port}")
            if refusal is not None:
                raise refusal from error
            if isinstance(error.__cause__ or error, EOFError | ConnectionResetError | SSLEOFError):
                hint = (
                    " (it hangs up; is it SURGELINE_KAFKA_SECURITY="
                    f"{settings.kafka_security} that it speaks?)"
                )
        else:
            return ""
    return hint


def _refusal(settings: Settings, error: BaseException, *, at: str) -> RefusedStart | None:
    if isinstance(error, SaslAuthenticationFailed):
        return RefusedStart(
            f"SURGELINE_KAFKA_USERNAME={settings.kafka_username}: {at} refuses this user or its "
            f"password by {settings.kafka_mechanism}; SURGELINE_KAFKA_PASSWORD or "
            "SURGELINE_KAFKA_PASSWORD_FILE must be what it knows."
        )
    if isinstance(error, UnsupportedSaslMechanismError):
        return RefusedStart(
            f"SURGELINE_KAFKA_MECHANISM={settings.kafka_mechanism}: must be one that {at} offers."
        )
    if isinstance(error, IllegalSaslStateError):
        return RefusedStart(
            f"SURGELINE_KAFKA_SECURITY={settings.kafka_security}: {at} takes no user and password "
            "there; must be what it speaks."
        )
    broken = cause(error, SSLError)
    if broken is None:
        return None
    return refused_tls(broken, server=at, variables="SURGELINE_KAFKA")

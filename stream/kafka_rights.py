"""Whether Kafka lets this user do what a worker does, asked before it begins."""

from aiokafka.errors import GroupAuthorizationFailedError
from aiokafka.protocol.group import HeartbeatRequest

from stream.kafka_admin import admin_client, from_coordinator
from stream.settings import Settings

NOBODY = "surgeline-asks-whether-it-may"


async def require_group(settings: Settings) -> None:
    """Raise RefusedStart unless this user may be in the consumer group of *settings*.

    A consumer that may not waits for ever, deaf to its end. A heartbeat of a member that is not in
    the group needs the same right as joining, and changes nothing.
    """
    async with admin_client(settings) as admin:
        coordinator = await from_coordinator(lambda: admin.find_coordinator(settings.group))
        request = HeartbeatRequest(settings.group, -1, NOBODY)
        answer = await admin._send_request(request, coordinator)  # noqa: SLF001  # no public way
        if answer.error_code == GroupAuthorizationFailedError.errno:
            raise GroupAuthorizationFailedError(settings.group)

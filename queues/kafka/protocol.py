"""By which protocol a group is joined; by KIP-848 the brokers keep its session and heartbeat, and not its members."""

from confluent_kafka import KafkaError, KafkaException

from forebay.queues.errors import QueueError
from forebay.schemas.logger import get_logger

from .admin import Admin
from .faults import cause, reason
from .properties import beat_ms, session_ms

log = get_logger(__name__)

_SESSION = "consumer.session.timeout.ms"
_BEAT = "consumer.heartbeat.interval.ms"

#: Why a setting that insists on it can't be had.
TOO_OLD = "group.protocol is consumer, which these brokers can't do: KIP-848 came with Kafka 4.0; leave it out"


async def agreed_protocol(admin: Admin, asked: str | None, group: str, session_s: float) -> str:
    """What the brokers can do of the two protocols, unless the settings ask for one; they know the session then.

    Raises `QueueError` where they can't do what is asked for, and `QueueUnavailable`.
    """
    if asked == "classic":
        return asked
    if await admin.keeps_sessions(group):
        await _ask_for_session(admin, group, session_s)
        return "consumer"
    if asked is not None:
        raise QueueError(TOO_OLD)
    log.info("the classic protocol is used", group=group, reason="the brokers can't do KIP-848")
    return "classic"


async def _ask_for_session(admin: Admin, group: str, session_s: float) -> None:
    """Have the brokers keep them. They have a lower limit for each, and refuse what is below."""
    session, beat = {_SESSION: session_ms(session_s)}, {_BEAT: beat_ms(session_s)}
    try:
        # Together, since a session may be no shorter than a beat.
        await admin.set_of_group(group, session | beat)
    except KafkaException as error:
        if cause(error).code() == KafkaError.INVALID_CONFIG:
            await _ask_for_each(admin, group, session, beat)
        else:
            _tell(group, error)


async def _ask_for_each(admin: Admin, group: str, session: dict[str, int], beat: dict[str, int]) -> None:
    try:
        await admin.set_of_group(group, session)
    except KafkaException as error:
        _tell(group, error)
    try:
        await admin.set_of_group(group, beat)
    except KafkaException as error:
        log.info("members beat no more often than the brokers say", group=group, reason=reason(error))


def _tell(group: str, error: KafkaException) -> None:
    log.warning("session_s is not what the brokers will use", group=group, reason=reason(error))

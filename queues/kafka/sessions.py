"""The session and the heartbeat of a KIP-848 group, which the brokers keep for it and not its members."""

from confluent_kafka import KafkaError, KafkaException

from forebay.schemas.logger import get_logger

from .admin import Admin
from .faults import cause, reason
from .properties import beat_ms, session_ms

log = get_logger(__name__)

_SESSION = "consumer.session.timeout.ms"
_BEAT = "consumer.heartbeat.interval.ms"


async def ask_for_session(admin: Admin, group: str, session_s: float) -> None:
    """Have the brokers keep them. They have a lower limit for each, and refuse what is below."""
    session, beat = {_SESSION: session_ms(session_s)}, {_BEAT: beat_ms(session_s)}
    try:
        # Together, since a session may be no shorter than a beat.
        await admin.set_of_group(group, session | beat)
    except KafkaException as error:
        if cause(error).code() == KafkaError.INVALID_CONFIG:
            await _ask_for_each(admin, group, session, beat)
        else:
            # Brokers before 4.0 don't know them, and get both from the member itself.
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

"""From librdkafka's errors to ours, in words that say what to do."""

from collections.abc import Callable

from confluent_kafka import KafkaError, KafkaException

from forebay.queues.errors import QueueError, QueueUnavailable, RecordRefused, UnknownStream

from .remedies import remedy

_UNKNOWN = frozenset(
    {
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError.UNKNOWN_TOPIC_ID,
        KafkaError.TOPIC_EXCEPTION,
    }
)

_REFUSED = frozenset(
    {
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.RECORD_LIST_TOO_LARGE,
        KafkaError.INVALID_RECORD,
        KafkaError.INVALID_TIMESTAMP,
        KafkaError.POLICY_VIOLATION,
        KafkaError._INVALID_ARG,
    }
)

#: What brokers, or librdkafka, say of all records that came in one batch, though the reason may be another of them.
_OF_BATCH = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE, KafkaError.INVALID_TIMESTAMP})

#: What says that a partition has nothing at the place where a group stands.
_NOWHERE = frozenset({KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE, KafkaError._LOG_TRUNCATION})

#: These only say that nothing works, and come again and again: the reason, when there is one, came before.
_EMPTY = frozenset({KafkaError._ALL_BROKERS_DOWN, KafkaError._TIMED_OUT, KafkaError._MSG_TIMED_OUT})

#: A connection that came to nothing by what either side shows of itself: certificates, or a login.
_REFUSALS = frozenset({KafkaError._SSL, KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED})

#: What a broker has against our certificate comes when the connection stands for us, and ends it as anything would.
_ALERT = "SSL alert"

#: The same, and those that may only follow from the reason.
_VAGUE = _EMPTY | {KafkaError._TRANSPORT, KafkaError.THROTTLING_QUOTA_EXCEEDED}


def sentence(error: KafkaError) -> str:
    """What happened and what to do."""
    to_do = remedy(error)
    # Why there is no token; a log would take it for one, and hide it.
    told = error.str().replace("OAUTHBEARER token: ", "OAUTHBEARER token, ")
    return f"Kafka: {told.removesuffix('.')}; {to_do}" if to_do else f"Kafka: {told}"


def of_change(error: KafkaError) -> str:
    """The same of a topic that is to be made, or to grow: what is lacking is another right than that to use it."""
    if error.code() != KafkaError.TOPIC_AUTHORIZATION_FAILED:
        return sentence(error)
    return (
        f"Kafka: {error.str().removesuffix('.')}; give our user Create on the topic, and Alter for more partitions "
        "(kafka-acls), or do it as a user that may"
    )


def is_empty(error: KafkaError) -> bool:
    """Whether it only says that nothing works."""
    return error.code() in _EMPTY


def is_vague(error: KafkaError) -> bool:
    """Whether it only says that nothing works, or may follow from that."""
    return error.code() in _VAGUE


def is_fatal(error: KafkaError) -> bool:
    """Whether the client can't be used any more."""
    return error.fatal() or error.code() == KafkaError._FATAL


def cause(error: BaseException) -> KafkaError:
    """The KafkaError in an exception of the client."""
    first = error.args[0] if error.args else None
    return first if isinstance(first, KafkaError) else KafkaError(KafkaError._FAIL, str(error))


def of_record(error: KafkaError, stream: str, why: "Faults") -> QueueError:
    """What it means for a record that was sent to the stream."""
    if error.code() in _UNKNOWN:
        return unknown_stream(stream)
    if error.code() in _REFUSED:
        return RecordRefused(f"{stream} does not take this record. {sentence(error)}")
    text = why.text(otherwise=error) if is_vague(error) else sentence(error)
    return QueueUnavailable(f"{stream} did not take a record. {text}")


def of_request(error: KafkaError, stream: str) -> QueueError:
    """What it means for a question about the stream."""
    return unknown_stream(stream) if error.code() in _UNKNOWN else QueueUnavailable(sentence(error))


def is_of_stream(error: KafkaError) -> bool:
    """Whether it is about all records of the topic, until somebody has done something, and says that none is kept."""
    # A right that was taken away, as by mistake, is given back: the record itself may be taken then.
    return error.code() in _UNKNOWN or error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED


def is_of_batch(error: KafkaError) -> bool:
    """Whether a record may be refused with it for another's sake, which was sent in the same batch."""
    return error.code() in _OF_BATCH


def is_unknown_stream(error: KafkaError) -> bool:
    """Whether it says that there is no such topic."""
    return error.code() in _UNKNOWN


def unknown_stream(stream: str) -> UnknownStream:
    """The error for a topic that is not there."""
    return UnknownStream(f"there is no topic {stream}; `forebay topics ensure` makes it")


def of_reading(error: KafkaError, group: str, stream: str, partition: int | None) -> tuple[QueueError, bool]:
    """What it means for a member of the group that reads the stream, and whether it means that for good."""
    if error.code() in _NOWHERE:
        return _nowhere(group, stream, partition, error), True
    if is_fatal(error):
        return QueueError(f"the consumer can't go on. {sentence(error)}"), True
    return of_request(error, stream), False


def _nowhere(group: str, stream: str, partition: int | None, error: KafkaError) -> QueueError:
    """The error for a group whose place in a partition is not there."""
    return QueueError(
        f"group {group} stands in partition {partition} of {stream} at a place that is not there: retention took it, "
        f"the topic was made anew, or the cluster has lost the partition's end ({error.str()}). Nothing is skipped in "
        "silence: look at `forebay doctor`, move the group with kafka-consumer-groups --reset-offsets, and start again"
    )


class Faults:
    """The last trouble that a client told of: a wrong password is no failed call, but a complaint that repeats."""

    def __init__(self, hear: Callable[[KafkaError], None] = lambda error: None) -> None:
        self._last: KafkaError | None = None
        #: The last that tells of a connection refused, by either side; others may be well.
        self._refusal: KafkaError | None = None
        self._hear = hear
        #: Whether what the client was made with is not what stands in its files now.
        self.are_renewed: Callable[[], bool] = lambda: False

    def note(self, error: KafkaError) -> None:
        """For the client's `error_cb`; called in whichever thread polls."""
        if self._last is None or _weight(error) >= _weight(self._last):
            self._last = error
        if error.code() in _REFUSALS or _ALERT in error.str():
            self._refusal = error
        self._hear(error)

    def clear(self) -> None:
        """Something worked."""
        self._last = None

    @property
    def stranding(self) -> KafkaError | None:
        """Why the client can't go on and another one could; None while that isn't so.

        A connection that stands is no worse for a certificate that ends, an authority that is replaced, or another
        password; the next one is refused. By then whoever looks after them has renewed the files.
        """
        if self._refusal is None or not self.are_renewed():
            return None
        return KafkaError(self._refusal.code(), f"{self._refusal.str()}; what it logs in with was renewed since")

    @property
    def last(self) -> KafkaError | None:
        """The trouble, unless all is well."""
        return self._last

    def text(self, otherwise: KafkaError) -> str:
        """The trouble in words; that of the call, when the client told of none."""
        return sentence(self._last or otherwise)


def _weight(error: KafkaError) -> int:
    return 0 if error.code() in _EMPTY else 1 if error.code() in _VAGUE else 2


def reason(error: BaseException) -> str:
    """What an exception of the client says, in words."""
    return sentence(cause(error)) if isinstance(error, KafkaException) else str(error)

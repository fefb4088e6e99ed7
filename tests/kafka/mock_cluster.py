"""librdkafka's own mock of a cluster, for answers that no real broker gives on demand: errors, slowness, absence.

It lives in this process, starts in a millisecond, and is reached through the library inside the wheel of
confluent-kafka. It has no admin API beyond the looks of topics, and forgets what it is told when it ends.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import Any

import confluent_kafka
from confluent_kafka import Producer

#: Where the wheel keeps the libraries that it brings.
_LIBRARIES = Path(confluent_kafka.__file__).parents[1] / "confluent_kafka.libs"

_POINTER, _TEXT, _INT = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
_API, _BROKER, _SIZE = ctypes.c_int16, ctypes.c_int32, ctypes.c_size_t

#: A client object of confluent-kafka begins with Python's own head, and then points to its rd_kafka_t.
_HEAD_BYTES = object.__basicsize__


#: rd_kafka_producev's names of what follows, and the flag that has it keep a copy.
_END, _TOPIC, _PARTITION, _VALUE, _FLAGS, _HEADER = 0, 1, 3, 4, 7, 9
_COPY = 2


class Api(IntEnum):
    """The requests of Kafka's protocol, by their keys."""

    PRODUCE = 0
    FETCH = 1
    LIST_OFFSETS = 2
    METADATA = 3
    OFFSET_COMMIT = 8
    OFFSET_FETCH = 9
    FIND_COORDINATOR = 10
    JOIN_GROUP = 11
    HEARTBEAT = 12
    INIT_PRODUCER_ID = 22
    CONSUMER_GROUP_HEARTBEAT = 68


class MockCluster:
    """Brokers are numbered from 1. Used by one test at a time."""

    def __init__(self, library: Any, cluster: int) -> None:
        self._library, self._cluster = library, cluster
        self.bootstrap: str = library.rd_kafka_mock_cluster_bootstraps(cluster).decode()

    def make(self, topic: str, partitions: int) -> None:
        """Make a topic. One that nobody made is made when somebody asks for it."""
        assert not self._library.rd_kafka_mock_topic_create(self._cluster, topic.encode(), partitions, 1)

    def fail(self, api: Api, *codes: int) -> None:
        """Let the next requests of this kind end with these errors, one after the other; 0 lets one pass."""
        errors = (_INT * len(codes))(*codes)
        self._library.rd_kafka_mock_push_request_errors_array(self._cluster, api, len(codes), errors)

    def relent(self, api: Api) -> None:
        """Forget the errors that nobody got yet."""
        self._library.rd_kafka_mock_clear_request_errors(self._cluster, api)

    def count_requests(self) -> None:
        """Begin to count what is asked."""
        self._library.rd_kafka_mock_start_request_tracking(self._cluster)

    def asked(self, api: Api) -> int:
        """How many requests of this kind came since then."""
        count = _SIZE()
        requests = self._library.rd_kafka_mock_get_requests(self._cluster, ctypes.byref(count))
        keys = [self._library.rd_kafka_mock_request_api_key(requests[number]) for number in range(count.value)]
        self._library.rd_kafka_mock_request_destroy_array(requests, count)
        return keys.count(api)

    def deny(self, topic: str, code: int) -> None:
        """Let whoever asks for the topic get this error; 0 ends that."""
        self._library.rd_kafka_mock_topic_set_error(self._cluster, topic.encode(), code)

    def slow(self, broker: int, milliseconds: int) -> None:
        """Let the broker's answers take so long."""
        assert not self._library.rd_kafka_mock_broker_set_rtt(self._cluster, broker, milliseconds)

    def down(self, broker: int) -> None:
        """Let nobody reach the broker."""
        assert not self._library.rd_kafka_mock_broker_set_down(self._cluster, broker)

    def up(self, broker: int) -> None:
        """End that."""
        assert not self._library.rd_kafka_mock_broker_set_up(self._cluster, broker)


@contextmanager
def mock_cluster(brokers: int = 1) -> Iterator[MockCluster]:
    """A cluster that ends with the block."""
    # It hangs on a client, which is of no other use.
    client = Producer({"test.mock.num.brokers": brokers, "log_level": 0})
    library = _library()
    yield MockCluster(library, library.rd_kafka_handle_mock_cluster(_handle(client)))


def break_for_good(client: Producer, code: int) -> None:
    """Let the client meet a fatal error, after which it does nothing any more."""
    _library().rd_kafka_test_fatal_error(_handle(client), code, b"by a test")


def produce_as_others(client: Producer, topic: str, partition: int, value: bytes, header: bytes) -> None:
    """Produce a record whose header's name is these bytes, which need be no text: so other clients may."""
    _library().rd_kafka_producev(
        _POINTER(_handle(client)),
        *(_INT(_TOPIC), _TEXT(topic.encode())),
        *(_INT(_PARTITION), _BROKER(partition)),
        *(_INT(_VALUE), _TEXT(value), _SIZE(len(value))),
        *(_INT(_HEADER), _TEXT(header), _TEXT(b"1"), _SIZE(1)),
        *(_INT(_FLAGS), _INT(_COPY)),
        _INT(_END),
    )
    assert client.flush(30) == 0


def _handle(client: Producer) -> int | None:
    return _POINTER.from_address(id(client) + _HEAD_BYTES).value


def _library() -> Any:
    [path] = _LIBRARIES.glob("librdkafka*")
    library = ctypes.CDLL(str(path))
    for name, (result, *arguments) in _FUNCTIONS.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


#: Function → the types of its result and of its arguments, as in rdkafka.h and rdkafka_mock.h.
_FUNCTIONS: dict[str, tuple[Any, ...]] = {
    "rd_kafka_test_fatal_error": (_INT, _POINTER, _INT, _TEXT),
    "rd_kafka_handle_mock_cluster": (_POINTER, _POINTER),
    "rd_kafka_mock_cluster_bootstraps": (_TEXT, _POINTER),
    "rd_kafka_mock_start_request_tracking": (None, _POINTER),
    "rd_kafka_mock_get_requests": (ctypes.POINTER(_POINTER), _POINTER, ctypes.POINTER(_SIZE)),
    "rd_kafka_mock_request_api_key": (_API, _POINTER),
    "rd_kafka_mock_request_destroy_array": (None, ctypes.POINTER(_POINTER), _SIZE),
    "rd_kafka_mock_topic_create": (_INT, _POINTER, _TEXT, _INT, _INT),
    "rd_kafka_mock_topic_set_error": (None, _POINTER, _TEXT, _INT),
    "rd_kafka_mock_push_request_errors_array": (None, _POINTER, _API, _SIZE, ctypes.POINTER(_INT)),
    "rd_kafka_mock_clear_request_errors": (None, _POINTER, _API),
    "rd_kafka_mock_broker_set_rtt": (_INT, _POINTER, _BROKER, _INT),
    "rd_kafka_mock_broker_set_down": (_INT, _POINTER, _BROKER),
    "rd_kafka_mock_broker_set_up": (_INT, _POINTER, _BROKER),
}

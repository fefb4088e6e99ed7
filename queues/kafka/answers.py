"""Waiting for what librdkafka was asked, and no longer than it has time for."""

import asyncio
from concurrent.futures import Future
from typing import TypeVar

from confluent_kafka import KafkaError, KafkaException

T = TypeVar("T")

#: More than an answer that came in time needs until the loop hears of it.
_TO_SPARE_S = 1.0

_FORGOTTEN = KafkaError(KafkaError._TIMED_OUT, "the client never said what became of a question")


async def answered(future: "Future[T]", asked_for_s: float) -> T:
    """The answer to what was asked with that `request_timeout`. Raises `KafkaException`.

    librdkafka says by then what became of it. But a client that has been refused by all brokers, as with a token that
    has expired, begins anew at the bootstrap servers, and of what it was asked in that moment it never says anything.
    """
    try:
        async with asyncio.timeout(asked_for_s + _TO_SPARE_S):
            return await asyncio.wrap_future(future)
    except TimeoutError as error:
        raise KafkaException(_FORGOTTEN) from error

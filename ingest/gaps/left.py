"""Gaps of a host that won't come back: told by somebody else."""

import time
from pathlib import Path

from forebay.queues.contract import Producer
from forebay.schemas.codec import Codec

from .book import Book, left_books
from .marker import marker


async def tell_left(folder: Path, producer: Producer, topic: str, codec: Codec) -> int:
    """Tell each portal of the gap that stands in a book of nobody; how many were told. Raises `QueueError`."""
    told = 0
    for book in left_books(folder):
        try:
            told += await _tell(book, producer, topic, codec)
        finally:
            book.close()
    return told


async def _tell(book: Book, producer: Producer, topic: str, codec: Codec) -> int:
    for gap in book.gaps:
        await producer.send(topic, marker(gap, codec, time.time_ns()))
        book.write(gap.without(gap))
    return len(book.gaps)

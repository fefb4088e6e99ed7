"""A record is handed to the queue, and whatever its client does then, one of two things is told: kept, or not kept."""

import traceback

from forebay.ingest.telling import Teller
from forebay.queues.contract import Delivery, Producer, Record
from forebay.queues.errors import QueueError, QueueUnavailable


class Tripped(QueueUnavailable):
    """The queue's client failed over this record as nobody has foreseen. It says nothing about other records."""


def hand_over(producer: Producer, stream: str, record: Record, delivery: Delivery, teller: Teller) -> None:
    """Submit the record; what is raised at once is told to the delivery, which heeds the first that it is told.

    After an error that is none of the contract's nobody will tell more of the record for certain: it counts as not
    kept, and may so be kept twice. Otherwise its portal would wait for the end of this process.
    """
    try:
        producer.submit(stream, record, delivery)
    except QueueError as error:
        delivery.set_exception(error)
    except Exception as error:
        # As text: a log that shows a traceback's variables would show the record.
        lines = "".join(traceback.format_exception(error))
        teller.warn("the queue's client failed over a record", portal=record.key, traceback=lines)
        delivery.set_exception(Tripped(f"the queue's client failed: {type(error).__name__}"))

"""What a process has of librdkafka that opens a queue, and forks."""

import subprocess
import sys

_OPEN = """
import os
import time
from forebay.queues.kafka.queue import KafkaQueue
from forebay.queues.settings import QueueSettings

def has():
    return os.listdir("/proc/self/task"), os.listdir("/proc/self/fd")

before = has()
queue = KafkaQueue(QueueSettings(queue_url="kafka://127.0.0.1:9"))
# A thread that has ended is listed for a moment more.
until = time.monotonic() + 10
while has() != before and time.monotonic() < until:
    pass
print(has() == before)
"""


def test_a_queue_that_was_opened_has_no_thread_and_no_connection_that_would_cross_a_fork() -> None:
    done = subprocess.run([sys.executable, "-c", _OPEN], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout == "True\n", done.stderr

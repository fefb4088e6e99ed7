"""With what queues are declared."""

from typing import Any

import pytest

from forebay.queues.rabbitmq.logs import dead_letter_arguments, intake_arguments


@pytest.mark.parametrize("arguments", [intake_arguments(), dead_letter_arguments()], ids=["intake", "dead letters"])
def test_nothing_is_thrown_away_for_having_been_looked_at_often(arguments: dict[str, Any]) -> None:
    # RabbitMQ 4 throws away what was given back 20 times, unless the queue says another limit.
    assert arguments["x-queue-type"] == "quorum"
    assert arguments["x-delivery-limit"] >= 1_000_000

"""What a person reads when RabbitMQ refuses something: its own words, as real nodes said them, and what to do."""

import pytest
from pika.exceptions import ConnectionClosedByBroker, NoFreeChannels

from forebay.queues.rabbitmq.faults import sentence


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (
            ConnectionClosedByBroker(
                541,
                "INTERNAL_ERROR - Cannot declare a queue 'queue 'forebay:catalog' in vhost '/'' of type "
                "'rabbit_stream_queue' on node 'rabbit@mq': the corresponding feature flag is disabled",
            ),
            "enable_feature_flag all",
        ),
        (
            ConnectionClosedByBroker(
                530,
                "NOT_ALLOWED - number of channels opened for user 'forebay' has reached the maximum allowed user "
                "limit of (2)",
            ),
            "set_user_limits, max-channels",
        ),
        (NoFreeChannels(), "raise channel_max"),
    ],
)
def test_what_to_do_is_said(error: Exception, remedy: str) -> None:
    assert remedy in sentence(error)

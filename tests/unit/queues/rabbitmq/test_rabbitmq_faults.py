"""What a person reads when RabbitMQ refuses something: its own words, as real nodes said them, and what to do."""

from ssl import SSLError

import pytest
from pika.exceptions import (
    AMQPConnectionError,
    AuthenticationError,
    ChannelClosedByBroker,
    ConnectionClosedByBroker,
    NoFreeChannels,
    StreamLostError,
)

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
        (AuthenticationError("PLAIN"), "auth_mechanisms"),
        (
            StreamLostError(
                "Stream connection lost: SSLError(1, '[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert "
                "certificate required (_ssl.c:2580)')"
            ),
            "certfile and keyfile",
        ),
        (AMQPConnectionError(SSLError("[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)")), "amqp://"),
        (
            ChannelClosedByBroker(
                406,
                "PRECONDITION_FAILED - invalid arg 'x-stream-offset' for queue 'forebay:catalog' in vhost '/' of queue "
                "type rabbit_classic_queue",
            ),
            "somebody else made this queue",
        ),
        (
            ChannelClosedByBroker(
                405, "RESOURCE_ERROR - queue 'forebay:events:2' in vhost '/' does not have a running local replica"
            ),
            "it passes while a node starts",
        ),
    ],
)
def test_what_to_do_is_said(error: Exception, remedy: str) -> None:
    assert remedy in sentence(error)

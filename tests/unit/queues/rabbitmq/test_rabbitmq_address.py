"""From a URL to where RabbitMQ is."""

import pytest

from forebay.queues.errors import QueueError
from forebay.queues.opening import check_url
from forebay.queues.rabbitmq.address import address


def test_all_that_a_url_can_say_is_read() -> None:
    found = address("amqps://us%40er:p%2Fw%3F@mq.example.com:1234/a%2Fb?cafile=/ca.pem&certfile=/c.pem&keyfile=/k.pem")

    assert (found.user, found.password.now(), found.nodes) == ("us@er", "p/w?", (("mq.example.com", 1234),))
    assert found.vhost == "a/b"
    assert found.files == {"cafile": "/ca.pem", "certfile": "/c.pem", "keyfile": "/k.pem"}


@pytest.mark.parametrize("url", ["amqp://host", "amqp://host/", "amqp://host/%2F"])
def test_what_is_left_out_is_as_usual(url: str) -> None:
    found = address(url)

    assert (found.nodes, found.vhost, found.user, found.context()) == ((("host", 5672),), "/", "guest", None)
    assert found.name == "amqp://host/"


def test_of_a_cluster_several_nodes_may_be_named() -> None:
    found = address("amqp://user:hush:hush@mq1,MQ2:5673,[::1],[fd00::2]:5674/events")

    assert found.nodes == (("mq1", 5672), ("mq2", 5673), ("::1", 5672), ("fd00::2", 5674))
    assert found.password.now() == "hush:hush"
    assert found.name == "amqp://mq1,mq2:5673,[::1],[fd00::2]:5674/events"
    assert [one.name for one in found.each()][1] == "amqp://mq2:5673/events"


@pytest.mark.parametrize(
    "url",
    [
        "amqp://user:hush@hush@host/",
        "amqp://user:hu/sh@host/",
        "amqp://user:hush@host:port/",
        "amqp://user:hush@host/a/b",
        "amqp://user:hush@one,/",
        "amqp://user:hush@one,:5672/",
        "amqp://user:hush@one:5672two/",
        "amqp://user:hush@one:65536/",
        "amqp://user:hush@::1/",
        "amqp://user:hush@one,/two/",
        "amqp://user:hush@host/?verify=hush",
        "amqp://user:hush@host/?cafile=/ca.pem",
        "amqp://user:hush@host/?password_file=/run/password",
    ],
)
def test_a_url_that_can_not_be_right_is_refused_without_being_quoted(url: str) -> None:
    with pytest.raises(QueueError, match="queue_url") as refused:
        check_url(url)

    assert "hush" not in str(refused.value)

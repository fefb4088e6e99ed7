"""What RabbitMQ's refusals mean, and what to do about them."""

import re

from pika.exceptions import (
    AMQPHeartbeatTimeout,
    AuthenticationError,
    ChannelClosed,
    ConnectionClosed,
    ProbableAuthenticationError,
)

from forebay.queues.errors import QueueError, QueueUnavailable

from ..strictness import LACKING

#: Reply codes of AMQP 0.9.1.
REFUSED, NOT_FOUND, PRECONDITION, NOT_ALLOWED = 403, 404, 406, 530

#: A stream that is just being made has none for a moment.
_NO_COPY = "replica on the local node"

#: How a node refuses what is larger than its own setting.
TOO_LARGE = re.compile(r"message size \d+ is larger than configured max size (\d+)")

#: What the broker says → what to do.
_REMEDIES = (
    ("not found", "rabbitmqctl add_vhost VHOST, or another virtual host in queue_url"),
    (
        "user connection limit",
        "rabbitmqctl set_user_limits, max-connections: an ingest process has two, a worker four",
    ),
    ("connection limit", "rabbitmqctl set_vhost_limits, max-connections: an ingest process has two, a worker four"),
    ("queue limit", "rabbitmqctl set_vhost_limits, max-queues: two for each partition of a stream, one for each group"),
    ("allowed user limit", "rabbitmqctl set_user_limits, max-channels: two for each partition, on each connection"),
    (
        "NoFreeChannels",
        "raise channel_max of the node above twice `partitions`: each has one on each connection",
    ),
    (
        "delivery acknowledgement",
        "raise consumer_timeout of the node to three minutes or more: an intake keeps what was forwarded for one",
    ),
    ("access to vhost", "rabbitmqctl set_permissions -p VHOST USER '^forebay:' '^(forebay:|amq.default$)' '^forebay:'"),
    ("access to", "rabbitmqctl set_permissions, as docs/rabbitmq.md has it"),
    (
        _NO_COPY,
        "it passes while a node starts or a leader is chosen; else name nodes in queue_url that hold a copy of each "
        "stream, or add one: rabbitmq-streams add_replica",
    ),
    (
        "running local replica",
        "it passes while a node starts or a leader is chosen; else rabbitmq-streams stream_status says where copies "
        "are",
    ),
    (
        "inequivalent",
        "somebody else made this queue: it has other arguments than ours; delete it, or set another topic",
    ),
    ("of queue type", "somebody else made this queue, of another type than ours; delete it, or set another topic"),
    ("feature flag is disabled", "rabbitmqctl enable_feature_flag all: it was left out when the node was upgraded"),
    ("INTERNAL_ERROR", "the node's log says why; where it stays, start the node anew (docs/rabbitmq.md)"),
    ("Connection refused", "check that RabbitMQ runs, host and port in queue_url, and listeners.tcp"),
    *LACKING.items(),
    ("WRONG_VERSION_NUMBER", "the node speaks no TLS on this port: write amqp://, or name its TLS port (5671)"),
    ("CERTIFICATE_VERIFY_FAILED", "cafile in queue_url; the host's name as in the certificate"),
    ("CERTIFICATE_REQUIRED", "certfile and keyfile in queue_url: the node lets in who shows a certificate"),
    ("SSLV3_ALERT_HANDSHAKE_FAILURE", "certfile and keyfile in queue_url, if the node asks for a certificate"),
)


class NotThere(QueueError):
    """The broker has no such queue. Never leaves this module's neighbours."""


class NoCopy(QueueUnavailable):
    """The node has no copy of the stream: none at all, or not yet."""


def sentence(error: BaseException | None) -> str:
    """The broker's own words, if it had some, and what to do."""
    said = _said(error)
    remedy = next((remedy for words, remedy in _REMEDIES if words in said), "")
    return f"{said}: {remedy}" if remedy else said


def _said(error: BaseException | None) -> str:
    if isinstance(error, ChannelClosed | ConnectionClosed):
        return str(error.reply_text)
    if isinstance(error, AuthenticationError):
        return "the node knows no login by user and password: auth_mechanisms of the node must have PLAIN"
    if isinstance(error, ProbableAuthenticationError):
        return "the login was refused: check user and password in queue_url"
    if isinstance(error, AMQPHeartbeatTimeout):
        return "no heartbeat came any more"
    # What wraps the error of the socket says less than that does.
    inner = getattr(error, "exceptions", None) or [getattr(error, "exception", None), *getattr(error, "args", ())]
    if causes := [one for one in inner if isinstance(one, BaseException)]:
        return _said(causes[-1])
    return str(error) or type(error).__name__


def fault(where: str, error: BaseException | None) -> QueueError:
    """The error that says who acts."""
    code = error.reply_code if isinstance(error, ChannelClosed) else 0
    told = f"{where}: {sentence(error)}"
    # "home node … of durable queue … is down or inaccessible" has the same code, and passes: nothing is gone then.
    if code == NOT_FOUND and "no queue" in told:
        return NotThere(told)
    if _NO_COPY in told:
        return NoCopy(told)
    return QueueError(told) if code == PRECONDITION else QueueUnavailable(told)

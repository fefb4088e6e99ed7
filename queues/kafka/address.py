"""From the setting `queue_url` to the brokers that are asked for all others."""

from urllib.parse import urlsplit

from forebay.queues.errors import QueueError


def bootstrap_servers(url: str) -> str:
    """`h1:9092,h2:9092` of `kafka://h1:9092,h2:9092`. Raises `QueueError`, which quotes nothing of the URL."""
    scheme, _, servers = url.partition("://")
    servers = servers.removesuffix("/")
    if "@" in servers:
        raise QueueError("queue_url: a user goes into the setting kafka (sasl.username, sasl.password), not the URL")
    # Whoever writes kafka+ssl:// expects what only security.protocol in the setting kafka brings.
    if scheme != "kafka" or not all(map(_is_broker, servers.split(","))):
        raise QueueError("queue_url: Kafka's looks like kafka://host1:9092,host2:9092")
    return servers


def _is_broker(server: str) -> bool:
    try:
        parts = urlsplit(f"//{server.strip()}")
        return bool(parts.hostname) and parts.port != 0 and not (parts.path or parts.query or parts.fragment)
    except ValueError:
        return False

"""What a person reads when Redis can't be had."""

from redis.exceptions import TimeoutError as RedisTimeout

from forebay.queues.redis.remedies import remedy


def test_a_port_that_waits_for_more_than_the_beginning_of_tls_is_thought_of() -> None:
    assert "rediss:// is for a TLS port" in remedy("redis", RedisTimeout("Timeout connecting to server"))

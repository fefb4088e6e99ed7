"""What is told of a server, from its own answers."""

import pytest

from forebay.queues.redis.server import server


@pytest.mark.parametrize(
    ("info", "name"),
    [
        ({"redis_version": "8.0.6"}, "Redis 8.0.6"),
        # As it answers: its programs are to take it for a Redis, and people are not.
        ({"redis_version": "7.2.4", "server_name": "valkey", "valkey_version": "9.1.2"}, "Valkey 9.1.2"),
    ],
)
def test_a_server_is_called_what_it_is(info: dict[str, str], name: str) -> None:
    found = server(info, None)

    assert found.name == name
    assert found.supported

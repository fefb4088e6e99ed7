"""What a Memcached URL may say."""

import pytest

from forebay.queues.errors import QueueError
from forebay.queues.memcached.address import address
from forebay.queues.opening import check_url


def test_a_url_says_where_the_server_is() -> None:
    assert address("memcached://cache.example.com").name == "memcached://cache.example.com"
    assert address("memcached://cache.example.com:11212/").port == 11212


@pytest.mark.parametrize("rest", ["", "me:hunter2@host", "host:hunter2", "host/hunter2", "host?hunter2=1"])
def test_a_url_that_says_more_is_refused_and_not_quoted(rest: str) -> None:
    with pytest.raises(QueueError, match="without user") as refused:
        check_url(f"memcached://{rest}")

    assert "hunter2" not in str(refused.value)

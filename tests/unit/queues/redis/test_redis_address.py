"""What a Redis URL may say."""

import pytest

from forebay.queues.errors import QueueError
from forebay.queues.opening import check_url
from forebay.queues.redis.address import address


def test_a_url_says_where_the_server_is_and_what_is_relied_on() -> None:
    found = address("rediss://me:p%40ss@db.example.com:6390/2?fsync=everysec&replicas=1&ssl_ca=/ca.pem")

    assert (found.host, found.port, found.user, found.password.now(), found.database) == (
        "db.example.com",
        6390,
        "me",
        "p@ss",
        2,
    )
    assert (found.tls, found.fsync, found.replicas, found.ca) == (True, "everysec", 1, "/ca.pem")
    assert found.name == "rediss://db.example.com:6390/2"
    assert found.options()["ssl_ca_certs"] == "/ca.pem"


def test_what_a_url_leaves_out_is_the_strictest() -> None:
    found = address("redis://host")

    assert (found.port, found.database, found.fsync, found.replicas, found.tls) == (6379, 0, "always", 0, False)


def test_a_socket_takes_the_place_of_host_and_port() -> None:
    assert address("redis:///1?unix_socket=/run/redis.sock").options()["unix_socket_path"] == "/run/redis.sock"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("redis://me:hunter2@here@host/0", "%40"),
        ("redis://me:hunter2@host:port/0", "%40"),
        ("redis://me:hunter2@host/events", "database's number"),
        ("redis://me:hunter2@host/0?appendfsync=always", "'appendfsync'"),
        ("redis://me:1234/5?hunter2=x@host/0", "%3F"),
        ("redis://me:hunter2@host/0?fsync=sometimes", "always, everysec, no"),
        ("redis://me:hunter2@host/0?replicas=many", "replicas"),
        ("redis://me:hunter2@host/0?password_file=/run/password", "one of them must go"),
        ("redis://me:hunter2@host/0?ssl_ca=/ca.pem", "rediss://"),
        ("redis://me:1234/a?hunter2=x@host/0", "%40"),
    ],
)
def test_a_url_that_can_not_be_read_is_told_without_its_password(url: str, told: str) -> None:
    with pytest.raises(QueueError, match=told) as refused:
        check_url(url)

    assert "hunter2" not in str(refused.value)

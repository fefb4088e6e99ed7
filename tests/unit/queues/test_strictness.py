"""Certificates that older Pythons took: what is said is about them, and not about files and names in the settings."""

from ssl import SSLCertVerificationError

import pytest
from pymysql import OperationalError
from redis.exceptions import ConnectionError as RedisConnectionError

from forebay.queues.rabbitmq.faults import sentence
from forebay.queues.redis.remedies import remedy as of_redis
from forebay.queues.registry.faults import of_failure
from forebay.queues.sql.mariadb.remedies import remedy as of_mariadb


@pytest.mark.parametrize("lacks", ["CA cert does not include key usage extension", "Missing Authority Key Identifier"])
def test_what_a_certificate_lacks_is_told_with_how_to_make_it_anew(lacks: str) -> None:
    # As Python 3.14 words it.
    words = f"[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: {lacks} (_ssl.c:1127)"

    told = [
        of_redis("rediss://db", RedisConnectionError(f"Error 1 connecting to db:6379. {words}")),
        of_mariadb("mariadb://db", OperationalError(2003, f"Can't connect to MySQL server on 'db' ({words})")),
        sentence(SSLCertVerificationError(1, words)),
        str(of_failure(OSError(words))),
    ]

    assert [("docs/queues.md" in one, "check" in one) for one in told] == [(True, False)] * 4

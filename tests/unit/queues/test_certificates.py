"""When the certificates end that the settings name."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from prometheus_client import CollectorRegistry, generate_latest

from forebay.console.processes.certificate_metrics import tell_regularly
from forebay.ingest.metrics import IngestMetrics
from forebay.queues.certificates import Certificates
from forebay.queues.errors import QueueError
from forebay.queues.opening import check_url
from forebay.queues.settings import QueueSettings
from tests.certificates import Authority, Certificate

#: Scheme → how a URL names our certificate, and the authority's.
IN_URLS = {
    "postgresql": "postgresql://h/d?sslmode=verify-full&sslcert={}&sslrootcert={}",
    "mariadb": "mariadb://h/d?ssl=verify&ssl_cert={}&ssl_ca={}",
    "rediss": "rediss://h/0?ssl_cert={}&ssl_ca={}",
    "amqps": "amqps://h/v?certfile={}&cafile={}",
}

#: Schemes without TLS, and parameters that name no certificate.
WITHOUT = {"sqlite", "memory", "memcached", "redis", "amqp"}
NO_CERTIFICATES = {"password_file", "ssl", "ssl_key", "keyfile", "unix_socket", "fsync", "replicas"}


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def end_of(path: Path) -> float:
    return x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc.timestamp()


def settings(authority: Authority, ours: Certificate) -> QueueSettings:
    files = {"ssl.certificate.location": str(ours.both), "ssl.ca.location": str(authority.certificate)}
    return QueueSettings(queue_url="kafka://broker:9093", kafka={"security.protocol": "SSL", **files})


def test_a_kafka_s_certificates_are_ours_and_its_authority_s(authority: Authority) -> None:
    ours = authority.signed("us", valid_until=datetime(2031, 1, 2, tzinfo=UTC))

    found = Certificates(settings(authority, ours)).expiries()

    assert found == {"client": datetime(2031, 1, 2, tzinfo=UTC).timestamp(), "authority": end_of(authority.certificate)}


@pytest.mark.parametrize("url", IN_URLS.values(), ids=IN_URLS)
def test_those_of_the_others_stand_in_their_urls(authority: Authority, url: str) -> None:
    ours = authority.signed("us")
    filled = url.format(ours.certificate, authority.certificate)

    check_url(filled)
    found = Certificates(QueueSettings(queue_url=filled)).expiries()

    assert found == {"client": end_of(ours.certificate), "authority": end_of(authority.certificate)}


def listed(url: str) -> set[str]:
    """What there is, as the refusal of such a URL tells."""
    with pytest.raises(QueueError, match="; there are ") as refused:
        check_url(url)
    return set(str(refused.value).rpartition("; there are ")[2].split(", "))


def test_no_queue_and_no_parameter_is_forgotten(authority: Authority) -> None:
    assert listed("nothing://h") == {*IN_URLS, *WITHOUT, "kafka"}
    # libpq takes very many, and lists them to nobody.
    for scheme in IN_URLS.keys() - {"postgresql"}:
        for name in listed(f"{scheme}://h/0?nothing=1") - NO_CERTIFICATES:
            given = QueueSettings(queue_url=f"{scheme}://h/0?{name}={authority.certificate}")
            assert Certificates(given).expiries(), f"{scheme}: whose certificate is {name}?"


def test_a_renewed_file_is_read_again_and_one_that_is_none_is_left_out(authority: Authority) -> None:
    old = authority.signed("us", valid_until=datetime(2031, 1, 2, tzinfo=UTC))
    new = authority.signed("us", valid_until=datetime(2032, 1, 2, tzinfo=UTC), file="new")
    certificates = Certificates(settings(authority, old))
    before = certificates.expiries()["client"]

    old.both.write_bytes(new.both.read_bytes() + b"\n")
    after = certificates.expiries()["client"]
    old.both.write_bytes(b"no certificate")

    assert (before, after) == (end_of(old.certificate), datetime(2032, 1, 2, tzinfo=UTC).timestamp())
    assert certificates.expiries().keys() == {"authority"}


def test_without_certificates_nothing_is_shown(tmp_path: Path) -> None:
    folder = QueueSettings(queue_url="kafka://h:9092", kafka={"ssl.ca.location": str(tmp_path)})

    assert Certificates(QueueSettings()).expiries() == Certificates(folder).expiries() == {}


async def test_ingest_and_workers_show_them_alike(authority: Authority) -> None:
    ours = authority.signed("us")
    certificates = Certificates(settings(authority, ours))
    ingest, workers, looked = IngestMetrics(), CollectorRegistry(), asyncio.Event()

    async def sleep(seconds: float) -> None:
        looked.set()
        await asyncio.Event().wait()

    ingest.watch_certificates(certificates)
    telling = asyncio.create_task(tell_regularly(certificates, workers, sleep))
    await looked.wait()
    telling.cancel()

    for exposition in (ingest.exposition(), generate_latest(workers)):
        [line] = [one for one in exposition.decode().splitlines() if 'certificate="client"' in one]
        name, value = line.split()
        assert name.startswith("forebay_certificate_expiry_timestamp_seconds{")
        assert float(value) == end_of(ours.certificate)


def test_of_several_in_a_file_our_first_counts_and_the_authority_that_is_left_last(authority: Authority) -> None:
    soon = authority.signed("soon", valid_until=datetime(2031, 1, 2, tzinfo=UTC))
    late = authority.signed("late", valid_until=datetime(2035, 1, 2, tzinfo=UTC))
    both = authority.certificate.with_name("both.pem")
    both.write_bytes(soon.certificate.read_bytes() + late.certificate.read_bytes())
    named = QueueSettings(
        queue_url="kafka://broker:9093", kafka={"ssl.certificate.location": str(both), "ssl.ca.location": str(both)}
    )

    found = Certificates(named).expiries()

    assert found == {"client": end_of(soon.certificate), "authority": end_of(late.certificate)}

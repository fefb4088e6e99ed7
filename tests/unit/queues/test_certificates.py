"""When the certificates end that the settings name."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from prometheus_client import CollectorRegistry, generate_latest

from forebay.console.expiry import tell_regularly
from forebay.ingest.metrics import IngestMetrics
from forebay.queues.certificates import Certificates
from forebay.queues.settings import QueueSettings
from tests.certificates import Authority, Certificate


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


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://h/d?sslmode=verify-full&sslcert={}&sslrootcert={}",
        "mariadb://h/d?ssl=verify&ssl_cert={}&ssl_ca={}",
    ],
)
def test_those_of_a_database_stand_in_its_url(authority: Authority, url: str) -> None:
    ours = authority.signed("us")
    filled = url.format(ours.certificate, authority.certificate)

    found = Certificates(QueueSettings(queue_url=filled)).expiries()

    assert found == {"client": end_of(ours.certificate), "authority": end_of(authority.certificate)}


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

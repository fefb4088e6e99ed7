"""When a client is followed by another because of files that were renewed since it was made."""

import os
from itertools import count
from pathlib import Path

import pytest
from confluent_kafka import KafkaError

from forebay.queues.kafka.credentials import Credentials
from forebay.queues.kafka.faults import Faults
from forebay.queues.kafka.properties import Properties

REFUSED = KafkaError(KafkaError._SSL, "SSL handshake failed: certificate verify failed")


def _faults(properties: Properties) -> Faults:
    """Those of a client that is made with these; each look at the files comes long after the one before."""
    faults = Faults()
    faults.are_renewed = Credentials(properties, count(100.0).__next__).are_renewed
    return faults


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "client.crt"
    path.write_text("first", "ascii")
    return path


@pytest.mark.parametrize(
    "refusal",
    [
        REFUSED,
        KafkaError(KafkaError._AUTHENTICATION, "SASL authentication failed"),
        # What comes behind the handshake of TLS 1.3.
        KafkaError(KafkaError._TRANSPORT, "Receive failed: ssl/tls alert certificate expired: SSL alert number 45"),
    ],
)
def test_who_was_refused_is_followed_once_a_file_is_another(file: Path, refusal: KafkaError) -> None:
    faults = _faults({"ssl.certificate.location": str(file)})
    faults.note(refusal)
    before = faults.stranding

    file.write_text("renewed", "ascii")
    # Another broker, which knows us from before, has answered.
    faults.clear()
    why = faults.stranding

    assert before is None
    assert why is not None
    assert refusal.str() in why.str()


def test_who_was_not_refused_goes_on_whatever_becomes_of_the_files(file: Path) -> None:
    faults = _faults({"ssl.certificate.location": str(file)})

    file.write_text("renewed", "ascii")
    faults.note(KafkaError(KafkaError._TRANSPORT, "Connect to ipv4#127.0.0.1:9092 failed: Connection refused"))

    assert faults.stranding is None


def test_nobody_follows_while_a_file_is_away(file: Path) -> None:
    key = file.with_name("client.key")
    key.write_text("first", "ascii")
    faults = _faults({"ssl.certificate.location": str(file), "ssl.key.location": str(key)})
    faults.note(REFUSED)

    file.write_text("renewed", "ascii")
    key.unlink()
    while_away = faults.stranding
    key.write_text("renewed", "ascii")

    assert while_away is None
    assert faults.stranding is not None


def test_a_link_that_leads_to_another_file_is_a_renewal(tmp_path: Path) -> None:
    # As Kubernetes replaces what is in a volume, in the same moment and of the same length.
    for folder in ("old", "new"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "ca.pem").write_text("same", "ascii")
        os.utime(tmp_path / folder / "ca.pem", (1, 1))
    link = tmp_path / "data"
    link.symlink_to("old")
    faults = _faults({"ssl.ca.location": str(link / "ca.pem")})
    faults.note(REFUSED)

    link.unlink()
    link.symlink_to("new")

    assert faults.stranding is not None

"""`forebay doctor` against each usual fault of the way to a real Kafka: what is wrong, what to do, and no secret."""

import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Thread

import pytest
from confluent_kafka.admin import (
    AdminClient,
)

from tests.kafka.secured import Secured
from tests.kafka.ways_in import Way, ways_in
from tests.ports import free_ports

from .doctoring import WRONG, Doctor
from .doctoring import doctor as doctor
from .doctoring import made as made
from .doctoring import topic as topic

pytestmark = pytest.mark.kafka


def test_all_is_well(secured: Secured, doctor: Doctor, made: AdminClient) -> None:
    report = doctor(ways_in(secured)["scram over tls"])

    assert report.status == 0, report.told("fail")
    assert "queue: reached, and every stream is there" in report.told("ok")
    assert "newest record: the queue is empty" in report.told("ok")
    # The cluster of the tests has one broker; nothing else is to be said.
    [warning] = report.told("warn").splitlines()
    assert warning.startswith("brokers: a cluster of 1 can't keep 3 copies")


def test_what_is_missing_is_no_failure(secured: Secured, doctor: Doctor, topic: str) -> None:
    report = doctor(ways_in(secured)["clear"])

    assert report.status == 0
    assert f"stream {topic} with 2 partitions" in report.told("warn")
    assert "forebay topics ensure" in report.told("warn")


#: Fault → the way that has it, and what must be said.
FAULTS: Mapping[str, tuple[Callable[[Secured, Mapping[str, Way]], Way], tuple[str, ...]]] = {
    "a wrong password": (lambda s, w: w["plain"].but(sasl_password=WRONG), ("authentication", "sasl.password")),
    "a wrong password over TLS": (
        lambda s, w: w["scram over tls"].but(sasl_password=WRONG),
        ("invalid credentials", "sasl.password"),
    ),
    "a mechanism that the brokers lack": (
        lambda s, w: w["plain"].but(sasl_mechanism="SCRAM-SHA-256"),
        ("supported mechanisms: PLAIN,SCRAM-SHA-512", "set sasl.mechanism"),
    ),
    "no mechanism": (lambda s, w: w["plain"].but(sasl_mechanism=None), ("set sasl.mechanism", "SCRAM-SHA-512")),
    "no user": (lambda s, w: w["plain"].but(sasl_username=None), ("sasl.username and sasl.password must be set",)),
    "a login without its protocol": (
        lambda s, w: w["plain"].but(security_protocol=None),
        ("wants a login (PLAIN, SCRAM-SHA-512)", "security.protocol in the setting kafka to SASL_PLAINTEXT"),
    ),
    "a login where none is wanted": (
        lambda s, w: w["plain"].at(s.clear),
        ("wants no login", "security.protocol"),
    ),
    "an authority that is not known": (
        lambda s, w: w["tls"].but(ssl_ca_location=str(s.other_authority)),
        ("authority that is not known here", "ssl.ca.location"),
    ),
    "no authority": (
        lambda s, w: w["tls"].but(ssl_ca_location=None),
        ("authority that is not known here", "ssl.ca.location"),
    ),
    "no such authority's file": (
        lambda s, w: w["tls"].but(ssl_ca_location="/nowhere/ca.pem"),
        ("kafka ssl.ca.location: /nowhere/ca.pem can't be read: No such file",),
    ),
    "no such certificate's file": (
        lambda s, w: w["mutual tls"].but(ssl_certificate_location="/nowhere/own.pem"),
        ("kafka ssl.certificate.location: /nowhere/own.pem can't be read: No such file",),
    ),
    "no such key's file": (
        lambda s, w: w["mutual tls"].but(ssl_key_location="/nowhere/own.key"),
        ("kafka ssl.key.location: /nowhere/own.key can't be read: No such file",),
    ),
    "a key of another certificate": (
        lambda s, w: w["mutual tls"].but(ssl_key_location=str(s.expired_client.key)),
        ("ssl.key.location", "key values mismatch"),
    ),
    "a broker's certificate that has expired": (
        lambda s, w: w["tls"].at(s.at("EXPIRED")),
        ("has expired", "renewed"),
    ),
    "a certificate for another name": (
        lambda s, w: w["tls"].at(s.at("FOREIGN", "localhost")),
        ("certificate is not valid for 'localhost'", "a name in queue_url that is in the certificate"),
    ),
    "a certificate for another address": (
        lambda s, w: w["tls"].at(s.at("FOREIGN")),
        ("certificate is not valid for '127.0.0.1'",),
    ),
    "no certificate where one is wanted": (
        lambda s, w: w["mutual tls"].but(ssl_certificate_location=None, ssl_key_location=None),
        ("want a certificate", "ssl.certificate.location"),
    ),
    "a certificate of ours that has expired": (
        lambda s, w: w["mutual tls"].but(
            ssl_certificate_location=str(s.expired_client.certificate), ssl_key_location=str(s.expired_client.key)
        ),
        ("kafka ssl.certificate.location", "has expired on", "renewed"),
    ),
    "TLS on a port without": (lambda s, w: w["tls"].at(s.clear), ("speaks no TLS", "to PLAINTEXT")),
    "no TLS on a port with it": (
        lambda s, w: w["clear"].at(s.at("SSL")),
        ("speaks TLS only", "security.protocol in the setting kafka to SSL"),
    ),
    "no TLS on a port with TLS and a login": (
        lambda s, w: w["plain"].at(s.at("SASL_SSL")),
        ("speaks TLS only", "security.protocol in the setting kafka to SASL_SSL"),
    ),
    "TLS without the login": (
        lambda s, w: w["tls"].at(s.at("SASL_SSL")),
        ("wants a login (PLAIN, SCRAM-SHA-512)", "security.protocol in the setting kafka to SASL_SSL"),
    ),
    "a wrong secret for the tokens": (
        lambda s, w: w["oidc"].but(sasl_oauthbearer_client_secret=WRONG),
        ("invalid_client", "sasl.oauthbearer.token.endpoint.url"),
    ),
    "no method for the tokens": (
        lambda s, w: w["oidc"].but(sasl_oauthbearer_method=None),
        ("kafka sasl.oauthbearer.method: not set", "oidc"),
    ),
    "tokens that the brokers don't take": (
        lambda s, w: w["unsigned tokens"].at(s.at("OIDC")),
        ("invalid_token", "audience"),
    ),
    "nobody there": (
        lambda s, w: w["clear"].at(f"127.0.0.1:{free_ports(1)[0]}"),
        ("refuses connections", "queue_url"),
    ),
    "a name that nobody knows": (
        lambda s, w: w["clear"].at("kafka.invalid:9092"),
        ("broker kafka.invalid:9092: the name can't be resolved", "queue_url"),
    ),
    "an advertised address where nobody is": (
        lambda s, w: w["clear"].at(s.at("LOST")),
        ("broker 1: tells its clients to come to 127.0.0.1:", "that the broker runs", "advertised.listeners"),
    ),
    "an advertised name that nobody knows": (
        lambda s, w: w["clear"].at(s.at("NAMELESS")),
        ("tells its clients to come to kafka-0.invalid:", "can't be resolved", "advertised.listeners"),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_usual_fault_is_told_with_its_remedy(secured: Secured, doctor: Doctor, fault: str) -> None:
    broken, told = FAULTS[fault]

    report = doctor(broken(secured, ways_in(secured)))

    assert report.status == 1
    [line] = report.told("fail").splitlines()
    assert not [part for part in told if part.lower() not in line.lower()], line


def test_a_file_that_may_not_be_read_is_told(secured: Secured, doctor: Doctor, tmp_path: Path) -> None:
    # A folder where a file should be can't be read by root either.
    way = ways_in(secured)["mutual tls"].but(ssl_key_location=str(tmp_path))

    report = doctor(way)

    assert report.status == 1
    assert "ssl.key.location" in report.told("fail")


def test_a_port_that_never_answers_is_given_up(secured: Secured, doctor: Doctor) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        report = doctor(ways_in(secured)["clear"].at(f"127.0.0.1:{silent.getsockname()[1]}"))

    assert report.status == 1
    # By its own limits, and not by that of the whole.
    assert "does not let us in within 4 s" in report.told("fail")


@contextmanager
def served(handler: type[BaseRequestHandler]) -> Iterator[str]:
    """The address of a server whose connections are handled so."""
    with ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


class Web(BaseRequestHandler):
    """Says what a web server says to what it can't read."""

    def handle(self) -> None:
        self.request.recv(4096)
        self.request.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def test_a_port_that_is_another_servers_is_told(secured: Secured, doctor: Doctor) -> None:
    with served(Web) as address:
        report = doctor(ways_in(secured)["clear"].at(address))

    assert report.status == 1
    assert "what answers there is no Kafka" in report.told("fail")


def test_a_port_without_tls_is_told_also_where_it_is_silent_to_it(secured: Secured, doctor: Doctor) -> None:
    host, port = secured.clear.split(":")

    class Patient(BaseRequestHandler):
        """As a broker with a `socket.request.max.bytes` that lets it take the begin of TLS for a request's size."""

        def handle(self) -> None:
            while asked := self.request.recv(4096):
                if asked[0] == 0:
                    with socket.create_connection((host, int(port))) as broker:
                        broker.sendall(asked)
                        self.request.sendall(broker.recv(4096))

    with served(Patient) as address:
        report = doctor(ways_in(secured)["tls"].at(address))

    assert report.status == 1
    assert "speaks no TLS -> set security.protocol in the setting kafka to PLAINTEXT, or" in report.told("fail")


def test_one_address_of_several_that_is_wrong_is_a_warning(secured: Secured, doctor: Doctor, made: AdminClient) -> None:
    report = doctor(ways_in(secured)["clear"].at(f"kafka.invalid:9092,{secured.clear}"))

    assert report.status == 0
    assert "broker kafka.invalid:9092: the name can't be resolved" in report.told("warn")

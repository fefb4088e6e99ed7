"""What answers at an address: nobody, a port with or without TLS, one that wants a login."""

import asyncio
import re
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import KafkaError

from forebay.queues.kafka.properties import Properties
from forebay.queues.kafka.remedies import remedy

#: A broker that needs longer for a connection can't be worked with.
_CONNECT_S = 3.0

_DEFAULT_PORT = 9092

#: Kafka's protocol: the request SaslHandshake, version 1; its number, which the answer bears; a mechanism that no
#: broker has; the code that is answered.
_NUMBER = 1
_SASL_HANDSHAKE = struct.pack(">hhih", 17, 1, _NUMBER, -1)
_NO_MECHANISM = b"FOREBAY-ASKS"
_UNSUPPORTED_MECHANISM = 33

#: OpenSSL's codes of what is wrong with a certificate (openssl/x509_vfy.h).
_WRONG = {
    9: ("the broker's certificate is not valid yet", "set the clocks, here and there"),
    10: ("the broker's certificate, or its authority's, has expired", "have the brokers' certificate renewed"),
    62: ("{told}", "use a name in queue_url that is in the certificate, or have a certificate made for this one"),
    64: ("{told}", "use a name in queue_url that is in the certificate, or have a certificate made for this one"),
}
#: What librdkafka says of the state that a connection was in helps nobody here.
_ASIDE = re.compile(r" \(after \d+ms in state \w+\)")

_UNKNOWN_AUTHORITY = (
    "the broker's certificate is signed by an authority that is not known here",
    "set ssl.ca.location in the setting kafka to the certificate of the authority that signed the brokers'",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A host and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What is wrong, and what to do."""

    detail: str
    remedy: str


def told(complaint: KafkaError) -> Trouble:
    """What the client complains of."""
    return Trouble(detail=_ASIDE.sub("", complaint.str()), remedy=remedy(complaint))


def addresses(servers: str) -> list[Address]:
    """The addresses in a list such as `h1:9092,h2`."""
    return [_address(one.strip()) for one in servers.split(",") if one.strip()]


def _address(text: str) -> Address:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit():
        return Address(host=text.strip("[]"), port=_DEFAULT_PORT)
    return Address(host=host.strip("[]"), port=int(port))


async def unreachable(address: Address) -> Trouble | None:
    """Why nothing can be sent to the address; None when a connection was made."""
    try:
        async with _connected(address, None):
            return None
    except socket.gaierror as error:
        return Trouble(detail=f"the name can't be resolved: {error.strerror}", remedy="check the name, and the DNS")
    except TimeoutError:
        return Trouble(detail=f"does not answer within {_CONNECT_S:g} s", remedy="check the address, and the firewalls")
    except ConnectionRefusedError:
        return Trouble(detail="refuses connections", remedy="check the port, and that the broker runs")
    except OSError as error:
        return Trouble(detail=str(error), remedy="check the address, and the network")


async def bad_certificate(address: Address, properties: Properties) -> Trouble | None:
    """What is wrong with the certificate that the broker shows; None when TLS works, as far as it goes without ours."""
    try:
        async with _connected(address, _verifying(properties)):
            return None
    except ssl.SSLCertVerificationError as error:
        detail, remedy = _WRONG.get(error.verify_code, _UNKNOWN_AUTHORITY)
        return Trouble(detail=detail.format(told=error.verify_message.rstrip(".")), remedy=remedy)
    except (OSError, TimeoutError):
        return None


async def speaks_tls(address: Address) -> bool:
    """Whether a TLS server is there."""
    try:
        async with _connected(address, _trusting()):
            return True
    except (OSError, TimeoutError):
        return False


async def mechanisms(address: Address, *, tls: bool) -> list[str] | None:
    """The ways to log in that the port offers; empty when it wants no login, and None where no Kafka answers us."""
    # No size is below zero, but for one who answers something else.
    with suppress(OSError, TimeoutError, asyncio.IncompleteReadError, struct.error, ValueError):
        async with _connected(address, _trusting() if tls else None) as (reader, writer), asyncio.timeout(_CONNECT_S):
            asked = _SASL_HANDSHAKE + _text(_NO_MECHANISM)
            writer.write(struct.pack(">i", len(asked)) + asked)
            size, number = struct.unpack(">ii", await reader.readexactly(8))
            if number == _NUMBER:
                return _offered(await reader.readexactly(size - 4))
    return None


def _text(text: bytes) -> bytes:
    return struct.pack(">h", len(text)) + text


def _offered(answer: bytes) -> list[str]:
    code, count = struct.unpack_from(">hi", answer)
    found, at = [], 6
    for _ in range(count if code == _UNSUPPORTED_MECHANISM else 0):
        [length] = struct.unpack_from(">h", answer, at)
        found.append(answer[at + 2 : at + 2 + length].decode("ascii", "replace"))
        at += 2 + length
    return found


@asynccontextmanager
async def _connected(
    address: Address, tls: ssl.SSLContext | None
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    async with asyncio.timeout(_CONNECT_S):
        reader, writer = await asyncio.open_connection(address.host, address.port, ssl=tls)
    try:
        yield reader, writer
    finally:
        # Not closed in order: a port that speaks no TLS would never answer to that.
        writer.transport.abort()


def _verifying(properties: Properties) -> ssl.SSLContext:
    """As librdkafka verifies. (Python's own default asks more of a certificate than that.)"""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = str(properties.get("ssl.endpoint.identification.algorithm", "https")) == "https"
    place, text = str(properties.get("ssl.ca.location", "")), properties.get("ssl.ca.pem")
    if text:
        context.load_verify_locations(cadata=str(text))
    elif place and place != "probe":
        context.load_verify_locations(**{"capath" if Path(place).is_dir() else "cafile": place})
    else:
        context.load_default_certs()
    return context


def _trusting() -> ssl.SSLContext:
    """For a question that tells no secret: whoever answers may do so."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context

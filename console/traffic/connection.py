"""One keep-alive connection to the ingest, as thin as it can be: it shares the processors with the server it loads."""

import asyncio
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

from httptools import HttpParserError, HttpResponseParser

from forebay.console.errors import WrongUsage

#: A caller gives up then; Bitrix24's own patience is of this order.
ANSWER_TIMEOUT_S = 60.0

_LIKE = "should look like http://127.0.0.1:8080/bitrix24"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where bodies go: the address, and the head of each request without its length."""

    host: str
    port: int
    tls: bool
    head: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer's status and body; status 0 when there was none, and the body says why."""

    status: int
    body: bytes


def target_of(url: str) -> Target:
    """The target that a URL means."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise WrongUsage(f"--url: {url!r} {_LIKE}: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise WrongUsage(f"--url: {url!r} {_LIKE}")
    tls = parts.scheme == "https"
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {parts.netloc.rpartition('@')[2]}\r\nUser-Agent: forebay-send\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: "
    )
    return Target(host=parts.hostname, port=port or (443 if tls else 80), tls=tls, head=head.encode())


class Connection:
    """Posts one body at a time, and connects again when the server has closed."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._tls = ssl.create_default_context() if target.tls else None
        self._wire: _Wire | None = None

    async def post(self, body: bytes) -> Answer:
        """The server's answer. Never raises for what the network does: then the status is 0."""
        try:
            wire = self._wire
            if wire is None or wire.closed:
                wire = self._wire = await self._connected()
            return await wire.exchange(b"%b%d\r\n\r\n%b" % (self._target.head, len(body), body))
        except OSError as error:
            self.close()
            return Answer(status=0, body=_reason(error).encode())

    async def _connected(self) -> "_Wire":
        target, loop = self._target, asyncio.get_running_loop()
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            # By itself: the loop's end would wait for a name that `create_connection` looks up.
            found = await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
            *others, last = dict.fromkeys(str(one[4][0]) for one in found)
            for ip in others:
                with suppress(OSError):
                    return await self._connected_to(ip)
            return await self._connected_to(last)

    async def _connected_to(self, ip: str) -> "_Wire":
        port, name = self._target.port, self._target.host if self._tls else None
        _, wire = await asyncio.get_running_loop().create_connection(
            _Wire, ip, port, ssl=self._tls, server_hostname=name
        )
        return wire

    @property
    def certificate_end(self) -> float | None:
        """When the certificate ends that the server has shown, in seconds since the epoch; None without TLS."""
        return self._wire.certificate_end if self._wire is not None else None

    def close(self) -> None:
        """Hang up. Idempotent."""
        if self._wire is not None:
            self._wire.close()
            self._wire = None


class _Wire(asyncio.Protocol):
    """One TCP connection. httptools calls the `on_` methods."""

    def __init__(self) -> None:
        self.closed = False
        self._parser = HttpResponseParser(self)
        self._transport: asyncio.WriteTransport | None = None
        self._answer: asyncio.Future[Answer] | None = None
        self._body = b""

    async def exchange(self, request: bytes) -> Answer:
        """Write the request, and return its answer. Raises `OSError` when none can come any more."""
        if self._transport is None or self.closed:
            raise ConnectionError("closed before the request was sent")
        loop = asyncio.get_running_loop()
        self._answer = loop.create_future()
        # Half the cost of asyncio.timeout, which is a tenth of all that a call costs here.
        late = loop.call_later(ANSWER_TIMEOUT_S, self._fail, TimeoutError())
        try:
            self._transport.write(request)
            return await self._answer
        finally:
            late.cancel()

    def close(self) -> None:
        """Hang up. Idempotent."""
        self.closed = True
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """As in asyncio."""
        self._transport = cast(asyncio.WriteTransport, transport)

    @property
    def certificate_end(self) -> float | None:
        """As in `Connection`."""
        shown = self._transport.get_extra_info("peercert") if self._transport is not None else None
        return ssl.cert_time_to_seconds(shown["notAfter"]) if shown else None

    def data_received(self, data: bytes) -> None:
        """As in asyncio."""
        try:
            self._parser.feed_data(data)
        except HttpParserError as error:
            self._fail(ConnectionError(f"what came is not HTTP: {error}"))
            self.close()

    def connection_lost(self, error: Exception | None) -> None:
        """As in asyncio."""
        self.closed = True
        self._fail(ConnectionError("closed without an answer"))

    def on_body(self, body: bytes) -> None:
        """A part of the answer's body."""
        self._body += body

    def on_message_complete(self) -> None:
        """The answer's end."""
        answer, self._body = Answer(status=self._parser.get_status_code(), body=self._body), b""
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(answer)
        if not self._parser.should_keep_alive():
            self.close()

    def _fail(self, error: OSError) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)


def _reason(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return f"nothing within {ANSWER_TIMEOUT_S:.0f} s"
    return "connection refused" if isinstance(error, ConnectionRefusedError) else str(error) or type(error).__name__

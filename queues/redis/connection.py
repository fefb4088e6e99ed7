"""A connection to a server that was looked at, and the store that makes them."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import cache
from hashlib import sha1
from typing import Any, cast

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as LostConnection
from redis.exceptions import NoPermissionError, NoScriptError, RedisError, ResponseError
from redis.retry import Retry

from ..threads.connection_thread import ConnectionThread, Lives
from .address import Address
from .remedies import remedy
from .server import Server, server

#: Milliseconds that one question takes at most whether the replicas have what was written.
_WAIT_MS = 1_000

#: Seconds after which a server is looked at again before something is entrusted to it: its settings are changed as it
#: runs, and as much may be lost as with `appendfsync everysec`.
_LOOK_EVERY_S = 1.0

#: The settings that are looked at. What else is set may be secret.
_SETTINGS = ("*append*", "proto-max-bulk-len", "client-*-limit")


class RedisConnection:
    """One connection, and one more to hear of news where that is asked for. Used by one thread."""

    def __init__(self, address: Address, clock: Callable[[], float]) -> None:
        self.name = address.name
        self._address, self._clock = address, clock
        # What fails is told, and not tried again behind our back: a write that is unknown must not be done twice.
        once = Retry(NoBackoff(), 0)
        self._client: Any = Redis(
            single_connection_client=True, protocol=2, driver_info=None, retry=once, **address.options()
        )
        self._subscription: Subscription | None = None
        try:
            self._check()
            if address.replicas:
                # Whoever may not wait for them must not write first.
                self.ask("WAIT", 0, 1)
        except BaseException:
            self.close()
            raise

    def _check(self) -> None:
        self.server = self.look()
        self.server.check(self._address)
        self._checked_at = self._clock()

    def check(self) -> None:
        """Before something is entrusted to it: raise `QueueError` when the server keeps less by now."""
        if self._clock() - self._checked_at >= _LOOK_EVERY_S:
            self._check()

    def look(self) -> Server:
        """Ask the server what it is and what it is set to."""
        info = self.ask("INFO")
        try:
            config = {name: told for asked in _SETTINGS for name, told in self.ask("CONFIG GET", asked).items()}
        except ResponseError as error:
            # A hosted server has no such command, or our user may not say it.
            if not isinstance(error, NoPermissionError) and "unknown command" not in str(error).lower():
                raise
            config = None
        return server(info, config and {_text(name): _text(value) for name, value in config.items()})

    def ask(self, *words: str | bytes | int) -> Any:
        """One command, and its answer as the client gives it."""
        return self._client.execute_command(*words)

    def is_copied(self, replicas: int) -> bool:
        """Whether so many replicas have all that was written here; it waits a second for them."""
        return not replicas or int(self.ask("WAIT", replicas, _WAIT_MS)) >= replicas

    def run(self, script: str, keys: Sequence[str], *arguments: str | bytes | int) -> Any:
        """One script. Nothing of it is done when it is not known to the server yet."""
        call = (len(keys), *keys, *arguments)
        try:
            return self.ask("EVALSHA", _digest(script), *call)
        except NoScriptError:
            return self.ask("EVAL", script, *call)

    def subscription(self, channel: str) -> "Subscription":
        """What is announced on the channel from now on."""
        if self._subscription is None:
            self._subscription = Subscription(self._client, channel)
        return self._subscription

    def lives(self) -> bool:
        """Whether the server has not hung up: it says nothing unless it was asked."""
        connection = self._client.connection
        try:
            return connection is not None and connection.is_connected and not connection.can_read(0)
        except (RedisError, OSError):
            return False

    def close(self) -> None:
        """Let go of both."""
        if self._subscription is not None:
            self._subscription.close()
        with suppress(RedisError, OSError):
            self._client.close()


class Subscription:
    """A connection that says nothing but what was announced."""

    def __init__(self, client: Redis, channel: str) -> None:
        self._connection = cast("Any", client.connection_pool.make_connection())
        self._connection.connect()
        self._connection.send_command("SUBSCRIBE", channel)
        # The confirmation: what is announced after it is heard.
        self._connection.read_response()

    def heard(self) -> Iterator[str]:
        """What was announced so far. Raises the client's errors."""
        # One that broke would be made anew by the client, without what it has subscribed to.
        if not self._connection.is_connected:
            raise LostConnection("Connection closed by server")
        while self._connection.can_read(0):
            yield _text(self._connection.read_response()[2])

    def fileno(self) -> int:
        """The socket, to be waited for: the client has no public way to do that together with something else."""
        return int(self._connection._get_socket().fileno())

    def close(self) -> None:
        """Let go of it."""
        with suppress(RedisError, OSError):
            self._connection.disconnect()


class RedisStore:
    """One database of one server."""

    errors: tuple[type[Exception], ...] = (RedisError, OSError)

    def __init__(self, address: Address, clock: Callable[[], float] = time.monotonic) -> None:
        self.address, self._clock = address, clock

    @property
    def name(self) -> str:
        """As in the protocol, and so are the next three."""
        return self.address.name

    def connect(self) -> RedisConnection:
        """A server that keeps less than the URL says is refused with `QueueError`."""
        return RedisConnection(self.address, self._clock)

    def current(self, connection: RedisConnection) -> bool:
        """A server that went away while we did nothing has said so to the socket."""
        return connection.lives()

    def remedy(self, error: Exception) -> str:
        """The server's words, and what to do."""
        return remedy(self.name, error)

    def thread(self, name: str, lives: Lives | None = None) -> ConnectionThread[RedisConnection]:
        """A thread with a connection of its own."""
        return ConnectionThread(self, name, errors=self.errors, lives=lives)


@cache
def _digest(script: str) -> str:
    # The name of a script in Redis, and no secret.
    return sha1(script.encode(), usedforsecurity=False).hexdigest()


def _text(word: str | bytes) -> str:
    return word.decode() if isinstance(word, bytes) else word

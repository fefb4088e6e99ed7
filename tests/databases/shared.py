"""The server that the tests of one system share: the one that is named, or one started here."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Generic, TypeVar

import pytest

from tests.kafka.container import docker_answers
from tests.missing import NotHere, entered, missing

from .server import DatabaseServer, wait_until

S = TypeVar("S", bound=DatabaseServer)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared(Generic[S]):
    """Where the server is; `server` is there when it is ours to stop, to restart and to set."""

    url: str
    server: S | None = None

    def ours(self) -> S:
        """The server; skips the test when it is somebody else's."""
        if self.server is None:
            pytest.skip("this server is not ours: the test needs the system's package")
        return self.server


@dataclass(frozen=True, slots=True, kw_only=True)
class System(Generic[S]):
    """One database system, and how its server is come by."""

    name: str
    #: The variable with the URL of those who run a server of their own, for a user who may make databases.
    variable: str
    server: Callable[[tuple[str, ...]], AbstractContextManager[S]]
    container: Callable[[], AbstractContextManager[str]]
    #: Comes in as a client, or raises.
    enter: Callable[[str], None]

    def named_or_started(self, running: ExitStack) -> Shared[S]:
        """The server that is named, or one that is started."""
        if named := os.environ.get(self.variable):
            return self._named(named)
        try:
            server = running.enter_context(self.server(()))
        except NotHere as reason:
            if not docker_answers():
                missing(f"{reason}; no Docker engine answers either; or name a {self.name} in {self.variable}")
            return Shared(url=running.enter_context(self.container()))
        return Shared(url=server.url(), server=server)

    def _named(self, url: str) -> Shared[S]:
        try:
            wait_until(self.name, lambda: self.enter(url))
        except NotHere as error:
            pytest.fail(f"{self.variable} is set, and {error}")
        return Shared(url=url)

    def starter(self, running: ExitStack) -> Callable[..., S]:
        """Starts servers of the test's own, with the settings that it gives."""

        def started(*options: str) -> S:
            return entered(running, lambda: self.server(options))

        return started

"""The registries that tests run against: the fake in each run, the real one in the full run."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.missing import entered

from .apicurio import Apicurio
from .fake import FakeRegistry

AnyRegistry = FakeRegistry | Apicurio


@pytest.fixture(scope="session")
def apicurio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Apicurio]:
    """A real registry, shared by the tests. Empty it before use."""
    with ExitStack() as running:
        yield entered(running, lambda: Apicurio(tmp_path_factory.mktemp("apicurio")))


@pytest.fixture(params=["fake", pytest.param("apicurio", marks=pytest.mark.faults)])
def registry(request: pytest.FixtureRequest) -> Iterator[AnyRegistry]:
    """A registry that holds nothing."""
    if request.param == "fake":
        with FakeRegistry() as fake:
            yield fake
        return
    server: Apicurio = request.getfixturevalue("apicurio")
    server.empty()
    yield server
    server.up()


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    """The fake alone, for what the real one can't be told to do."""
    with FakeRegistry() as fake:
        yield fake

"""What the fault tests start from."""

import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
import uvloop

from tests.e2e.site import Site, open_site
from tests.kafka.cluster import Cluster, Node

from .failing import Failing, built
from .reporting import Report
from .stand import ELSEWHERE, PATIENCE_S, Size, Stand
from .under import chance as chance
from .under import under as under

#: Where the report's text goes, its figures going to `build/faults.json`. Without it they stay with the run.
REPORT = "FOREBAY_TEST_FAULTS_REPORT"

_ROOT = Path(__file__).parents[2]


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The load shares the processors with those whom it measures: with this loop it takes a fifth less of them."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
def clusters(clusters: Callable[..., Cluster], tmp_path: Path) -> Callable[..., Cluster]:
    """As elsewhere, but a broker that is alone gets the time which the ingest and the load leave it."""

    def started(nodes: int | Sequence[Node] = 1, features: Sequence[str] = ()) -> Cluster:
        if isinstance(nodes, int):
            nodes = [Node(number, tmp_path / f"node-{number}") for number in range(1, nodes + 1)]
        if len(nodes) == 1:
            # Of several, on two cores, each would get too little to be a broker.
            nodes[0].within = (*nodes[0].within, *ELSEWHERE)
        return clusters(nodes, features)

    return started


@pytest.fixture
def report(tmp_path: Path) -> Report:
    """Where rows go."""
    if named := os.environ.get(REPORT):
        return Report(data=_ROOT / "build" / "faults.json", text=_ROOT / named)
    return Report(data=tmp_path / "faults.json", text=tmp_path / "faults.md")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A site of workers whose handlers write into a book, `handled.log`."""
    (tmp_path / "site").mkdir()
    monkeypatch.setenv("BOOK", str(tmp_path / "site" / "handled.log"))
    with open_site(tmp_path / "site") as made:
        yield made


@pytest.fixture
def stands(tmp_path: Path, report: Report, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Stand]]:
    """Makes a stand in front of that queue: so many hosts, each with an ingest that is not started yet."""
    monkeypatch.setattr("forebay.console.traffic.connection.ANSWER_TIMEOUT_S", PATIENCE_S)
    with ExitStack() as running:

        def stand(url: str, size: Size, *, hosts: int = 1, **more: object) -> Stand:
            sites = []
            for number in range(hosts):
                (folder := tmp_path / f"host-{number}").mkdir()
                sites.append(running.enter_context(open_site(folder)))
                sites[-1].settings |= {"queue_url": url, "auth": "none"}
            return Stand(sites=sites, size=size, report=report, **more)  # type: ignore[arg-type]  # fields of a stand

        yield stand


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is preloaded into processes whose system calls are to fail."""
    return built(tmp_path_factory.mktemp("failing"))


@pytest.fixture
def failing(library: Path, tmp_path: Path) -> Failing:
    """The orders for processes that have `failing.environ` among their variables."""
    return Failing(library, tmp_path)

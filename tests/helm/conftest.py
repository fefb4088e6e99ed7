"""What the tests of the chart start from."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from .cluster import Kubernetes, kubernetes
from .kube_schemas import write_custom


@pytest.fixture(scope="session")
def custom_schemas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The schemas of the kinds that are not Kubernetes' own."""
    write_custom(folder := tmp_path_factory.mktemp("crds"))
    return folder


@pytest.fixture(scope="session")
def cluster() -> Iterator[Kubernetes]:
    """One Kubernetes for all tests; each takes a namespace of its own."""
    with kubernetes() as running:
        yield running

"""Settings as a test writes them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from forebay.console.settings import load_settings
from forebay.queues.bad_settings import BadSettings

#: Takes a text, and gives the file in which it stands.
Write = Callable[[str], Path]


def faults_of(config: Path | None = None, **environ: str) -> list[str]:
    with pytest.raises(BadSettings) as refused:
        load_settings(config, environ=environ)
    return refused.value.faults

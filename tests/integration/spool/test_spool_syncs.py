"""What a spool says that it has kept is on the disk by then: a real process, ended right before its fsync."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.failing import End, Failing, built

KEEPS = """
import sys
from pathlib import Path

from tests.spool.stores import Stores, put

store = Stores(Path(sys.argv[1])).open()
for line in sys.stdin:
    [told] = store.put([put(int(line))])
    print("kept" if isinstance(told, int) else told, flush=True)
"""


class Keeper:
    """A process with a spool."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process

    def keep(self, number: int) -> str:
        """What it says of a record; nothing where it ended before."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(f"{number}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()


@pytest.fixture
def failing(tmp_path: Path) -> Failing:
    return Failing(built(tmp_path), tmp_path)


@contextmanager
def keeper(folder: Path, failing: Failing) -> Iterator[Keeper]:
    environ = {"PYTHONPATH": str(Path(__file__).parents[3]), **failing.environ}
    command = [sys.executable, "-c", KEEPS, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ, text=True) as process:
        yield Keeper(process)
        process.kill()


def test_who_ends_before_the_fsync_has_told_nobody_that_it_is_kept(tmp_path: Path, failing: Failing) -> None:
    with keeper(tmp_path, failing) as one:
        before = one.keep(1)

        failing.end(End.BEFORE_SYNC, 1)
        told = one.keep(2)

    assert (before, told, failing.deaths) == ("kept", "", 1)

import fcntl
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from prometheus_client.mmap_dict import MmapedDict, mmap_key

from forebay.ingest import metric_files
from forebay.ingest.metric_files import exposition_of, forget_dead, metrics_folder

#: A process that counts, tells so, and is killed.
_COUNTS = """
import os, sys
from prometheus_client import Counter, Gauge, Histogram
Counter("c", "").inc(2)
Histogram("h", "", buckets=[1]).observe(0.5)
Gauge("newest", "", multiprocess_mode="mostrecent").set(int(sys.argv[1]))
Gauge("worst", "", multiprocess_mode="livemax").set(9)
print("counted", flush=True)
sys.stdin.read()
"""

_HAS_FOLDER = """
import sys
from pathlib import Path
from forebay.ingest import metric_files
metric_files._MEMORY = Path(sys.argv[1])
with metric_files.metrics_folder() as folder:
    print(folder, flush=True)
    sys.stdin.read()
"""


def started(script: str, *arguments: str, **environ: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environ},
    )


def said(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def killed(process: "subprocess.Popen[str]") -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_a_process_that_is_just_starting_does_not_break_the_metrics_of_the_others(tmp_path: Path) -> None:
    (tmp_path / "counter_1.db").touch()

    assert exposition_of(str(tmp_path)) == b""


def test_however_many_processes_die_their_files_stay_as_many_and_no_count_is_missing(tmp_path: Path) -> None:
    lives, *others = [started(_COUNTS, str(at), PROMETHEUS_MULTIPROC_DIR=str(tmp_path)) for at in range(4)]
    for process in (lives, *others):
        assert said(process) == "counted"
    for process in others:
        killed(process)
        forget_dead(str(tmp_path))

    files = {file.name for file in tmp_path.glob("*.db")}
    text = exposition_of(str(tmp_path)).decode()
    killed(lives)

    kinds = ("counter", "gauge_livemax", "gauge_mostrecent", "histogram")
    of_the_dead = {f"{kind}_dead.db" for kind in kinds if kind != "gauge_livemax"}
    assert files == {f"{kind}_{lives.pid}.db" for kind in kinds} | of_the_dead
    assert "c_total 8.0" in text
    assert 'h_bucket{le="1.0"} 4.0' in text and "h_sum 2.0" in text


def test_who_comes_in_place_of_a_dead_one_can_count_where_the_folder_was_taken_away(tmp_path: Path) -> None:
    folder = tmp_path / "metrics"

    forget_dead(str(folder))

    process = started(_COUNTS, "1", PROMETHEUS_MULTIPROC_DIR=str(folder))
    assert said(process) == "counted"
    killed(process)


@pytest.mark.parametrize("octets", [b"\x00", b"no such thing" * 20, struct.pack("<ii", 1 << 30, 0) + b"x" * 100])
def test_what_a_dead_one_has_left_and_nobody_can_read_costs_its_own_counts_alone(tmp_path: Path, octets: bytes) -> None:
    process = started(_COUNTS, "1", PROMETHEUS_MULTIPROC_DIR=str(tmp_path))
    said(process)
    killed(process)
    (tmp_path / f"histogram_{process.pid}.db").write_bytes(octets)

    forget_dead(str(tmp_path))

    assert b"c_total 2.0" in exposition_of(str(tmp_path))


def test_files_that_are_put_together_have_no_holes_that_a_full_disk_could_not_fill(tmp_path: Path) -> None:
    for kind in ("ingest", "worker"):
        file = MmapedDict(str(tmp_path / "counter_99999999.db"))  # type: ignore[no-untyped-call]
        for number in range(800):
            key = mmap_key("c", "c_total", ["of"], [f"{kind} {number}"], "")
            file.write_value(key, 1.0, 0.0)  # type: ignore[no-untyped-call]
        file.close()  # type: ignore[no-untyped-call]
        forget_dead(str(tmp_path))

    (sums,) = tmp_path.glob("*.db")
    assert sums.stat().st_blocks * 512 >= sums.stat().st_size > 100_000
    assert exposition_of(str(tmp_path)).count(b"c_total{") == 1600


def test_who_stands_still_while_he_reads_holds_up_neither_others_who_read_nor_a_restart(tmp_path: Path) -> None:
    process = started(_COUNTS, "1", PROMETHEUS_MULTIPROC_DIR=str(tmp_path))
    said(process)
    killed(process)

    with (tmp_path / "read.lock").open("w") as reads:
        fcntl.flock(reads, fcntl.LOCK_SH)
        forget_dead(str(tmp_path))
        meanwhile = exposition_of(str(tmp_path))
        left = list(tmp_path.glob(f"*_{process.pid}.db"))
    forget_dead(str(tmp_path))

    assert b"c_total 2.0" in meanwhile and left
    assert b"c_total 2.0" in exposition_of(str(tmp_path))
    assert not list(tmp_path.glob(f"*_{process.pid}.db"))


def test_what_a_killed_process_has_left_goes_with_the_next_start_and_what_lives_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metric_files, "_MEMORY", tmp_path)
    lives, dies = (started(_HAS_FOLDER, str(tmp_path)) for _ in range(2))
    stays, left = Path(said(lives)), Path(said(dies))
    killed(dies)
    assert left.exists()

    with metrics_folder() as ours:
        beside = {stays.exists(), Path(ours).exists(), not left.exists()}
    lives.communicate()

    assert beside == {True}
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(metric_files.memory_folder() is None, reason="there is no folder in memory")
def test_a_full_disk_does_not_end_a_process_that_begins_to_count() -> None:
    with metrics_folder() as folder:
        assert Path(folder).parent == metric_files.memory_folder()


@pytest.mark.parametrize(("on_disk", "taken"), [(1 << 30, "disk"), (0, "memory")])
def test_a_folder_in_memory_that_is_full_is_not_taken_unless_the_disk_has_less_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_disk: int, taken: str
) -> None:
    memory, disk = tmp_path / "memory", tmp_path / "disk"
    left = memory / "forebay-metrics-left"
    left.mkdir(parents=True)
    (left / "owned.lock").touch()
    disk.mkdir()
    monkeypatch.setattr(metric_files, "_MEMORY", memory)
    monkeypatch.setattr(tempfile, "tempdir", str(disk))
    free = {memory: 4096, disk: on_disk}
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free[path]))

    with metrics_folder() as folder:
        assert Path(folder).parent == tmp_path / taken
    # What fills it may be ours.
    assert not left.exists()


def test_where_no_disk_can_be_written_to_memory_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metric_files, "_MEMORY", tmp_path)

    def nowhere() -> str:
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", nowhere)

    with metrics_folder() as folder:
        assert Path(folder).parent == tmp_path

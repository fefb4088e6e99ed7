"""What doctor says of the disk that an embedded queue is on."""

from pathlib import Path

import pytest

from forebay.console.checks.examination import examined
from forebay.console.settings import load_settings
from forebay.queues.findings import Finding


async def disk(tmp_path: Path, kind: str, **options: str) -> list[Finding]:
    """Of a site whose disk is of this kind, but for the folder `local`."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"22 1 8:1 / / rw - {kind} x rw\n23 22 8:2 / {tmp_path}/local rw - xfs y rw\n")
    loaded = load_settings(options={"data_dir": str(tmp_path / "data")} | options, environ={})
    return [one for one in await examined(loaded, mounts=mounts) if one.check == "queue disk"]


@pytest.mark.parametrize(("kind", "told"), [("nfs4", "network"), ("tmpfs", "memory"), ("overlay", "container")])
async def test_a_disk_that_does_not_keep_is_a_warning_with_its_remedy(tmp_path: Path, kind: str, told: str) -> None:
    [one] = await disk(tmp_path, kind)

    assert one.state == "warn"
    assert told in one.detail
    assert "set data_dir, or queue_url," in one.remedy and kind in one.remedy


async def test_the_disk_is_that_of_the_queue_and_not_of_data_dir(tmp_path: Path) -> None:
    (tmp_path / "local").mkdir()

    [one] = await disk(tmp_path, "nfs4", queue_url=f"sqlite:///{tmp_path}/local/queue.db")

    assert (one.state, one.detail) == ("ok", "xfs, a local disk")


async def test_a_queue_that_is_no_file_has_no_disk_here(tmp_path: Path) -> None:
    assert await disk(tmp_path, "nfs4", queue_url="memory://") == []

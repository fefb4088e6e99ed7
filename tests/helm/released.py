"""The rule of the chart's version: what was released, as the tag `chart-<version>`, changes under another one only."""

import subprocess
from pathlib import Path


def changed_since_release(root: Path, version: str) -> list[str]:
    """The chart's files that are not as they were released; none where the version was not released yet."""
    tag = f"chart-{version}"
    if not _git(root, "tag", "--list", tag):
        return []
    return _git(root, "diff", "--name-only", tag, "--", "helm")


def _git(root: Path, *arguments: str) -> list[str]:
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.split()

"""What the Dockerfile's first stage makes, made here: its own steps, in a clean environment of this Python's."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from .chart import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")

#: Wheels are fetched, and one parser in C is compiled.
_STEP_S = 600


def steps(stage: int) -> list[tuple[str, str]]:
    """The instructions of a stage: the word, and what follows it."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE).replace("\\\n", " ")
    stages = re.split(r"^FROM ", text, flags=re.MULTILINE)[1:]
    lines = [line for line in stages[stage].splitlines()[1:] if line.strip()]
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines)]


def built(folder: Path) -> Path:
    """The environment of the image. What Debian's packages are for is there already."""
    places = {"/opt/venv": str(folder / "venv"), "/src": str(folder / "src")}
    for word, rest in steps(0):
        here = re.sub("|".join(map(re.escape, places)), lambda found: places[found[0]], rest)
        if word == "COPY":
            _copy(*here.split())
        elif word == "RUN" and "apt-get" not in rest:
            script = here.replace("python -m venv", f"{sys.executable} -m venv", 1)
            where = folder / "src" if (folder / "src" / "pyproject.toml").exists() else folder
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", script],
                cwd=where,
                capture_output=True,
                text=True,
                timeout=_STEP_S,
                check=False,
            )
            assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
    return folder / "venv"


def _copy(*words: str) -> None:
    *sources, target = words
    for name in sources:
        source, to = ROOT / name, Path(target)
        if source.is_dir():
            shutil.copytree(source, to, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            to.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, to)

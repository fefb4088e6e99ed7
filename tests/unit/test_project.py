"""The project itself: its rooms, its style, its packages, and what its documents say."""

import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import pytest
from grimp import build_graph
from sqlalchemy import Connection, Engine, event

from forebay.console.settings import load_settings

ROOT = Path(__file__).parents[2]
ROOMS = ("schemas", "queues", "ingest", "processors", "console")
BIN = Path(sys.executable).parent
DOCUMENTS = ["README.md", "README.ru.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md"))]


def run(*command: str | Path, cwd: Path = ROOT) -> None:
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


def test_the_code_is_clean_for_ruff() -> None:
    run(BIN / "ruff", "check", ".")
    run(BIN / "ruff", "format", "--check", ".")


@pytest.mark.timeout(600)
def test_the_code_is_typed() -> None:
    run(BIN / "mypy")


@pytest.mark.timeout(600)
def test_what_linux_alone_has_is_nowhere_taken_for_granted() -> None:
    """Many who write handlers do it on a Mac."""
    run(BIN / "mypy", "--platform", "darwin", "--package", "forebay", "--cache-dir", ".mypy_cache/darwin")


def test_no_room_imports_what_is_above_it() -> None:
    run(BIN / "lint-imports")


def test_no_file_needs_one_that_needs_it() -> None:
    graph = build_graph("forebay", cache_dir=None)
    # The one pair of which each has the other: a partition and its parking.
    graph.remove_import(importer="forebay.processors.partitions", imported="forebay.processors.parking.parking")

    TopologicalSorter({file: graph.find_modules_directly_imported_by(file) for file in graph.modules}).prepare()


def test_what_we_set_for_tests_is_no_setting_that_a_command_would_refuse() -> None:
    ours = {
        name
        for file in ("Makefile", ".ci/run", "CONTRIBUTING.md")
        for name in re.findall(r"FOREBAY_\w+", (ROOT / file).read_text())
    }

    assert ours
    load_settings(environ=dict.fromkeys(ours, "1"))


def test_forebay_links_to_every_room() -> None:
    for room in ROOMS:
        link = ROOT / "forebay" / room

        assert link.is_symlink()
        assert link.readlink() == Path("..", room)


@pytest.mark.parametrize("by_way_of_an_sdist", [False, True])
def test_the_wheel_holds_every_room(tmp_path: Path, by_way_of_an_sdist: bool) -> None:
    source = ROOT
    if by_way_of_an_sdist:
        run(sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", tmp_path)
        (source,) = tmp_path.glob("*.tar.gz")
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", tmp_path, source)

    names = zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist()
    for room in ROOMS:
        sources = {f"forebay/{path.relative_to(ROOT)}" for path in (ROOT / room).rglob("*.py")}
        assert sources <= set(names)
    assert "forebay/py.typed" in names
    assert "forebay/schemas/avro/portal_event.v1.avsc" in names
    assert not [name for name in names if not name.startswith("forebay")]


def test_importing_forebay_brings_no_server_and_no_client() -> None:
    heavy = "{'falcon', 'gunicorn', 'sqlalchemy', 'confluent_kafka', 'prometheus_client', 'pydantic'}"

    run(sys.executable, "-c", f"import forebay, sys; assert not {heavy} & set(sys.modules), sys.modules")


def test_the_public_names_are_there() -> None:
    import forebay

    for name in forebay.__all__:
        assert getattr(forebay, name).__name__ == name
    with pytest.raises(AttributeError):
        forebay.nothing  # noqa: B018 - asking is the test


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_python_in_the_documents_runs(document: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = (ROOT / document).read_text("utf-8")
    names: dict[str, Any] = {"__name__": "example"}

    with connected_engines():
        # One after the other, as they are read.
        for number, block in enumerate(re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)):
            exec(compile(block, f"{document}:python:{number}", "exec"), names)  # noqa: S102 - our own


@contextmanager
def connected_engines() -> Iterator[None]:
    """Dispose of every engine that connects meanwhile: a module's lives as long as its process, which here goes on."""
    with ExitStack() as opened:

        def connected(connection: Connection) -> None:
            opened.callback(connection.engine.dispose)

        event.listen(Engine, "engine_connect", connected)
        opened.callback(event.remove, Engine, "engine_connect", connected)
        yield


@pytest.mark.parametrize("document", [*DOCUMENTS, "CONTRIBUTING.md", "CHANGELOG.md"])
def test_the_links_between_documents_hold(document: str) -> None:
    path = ROOT / document

    for target in re.findall(r"\]\((?!https?://|mailto:)([^)\s]+)\)", path.read_text("utf-8")):
        file, _, place = target.partition("#")
        linked = path.parent / file if file else path
        assert linked.exists(), f"{document} links to {target}"
        assert not place or place in anchors(linked), f"{document} links to {target}"


def anchors(document: Path) -> set[str]:
    """The names of its headings in links, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", document.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_setting_is_in_both_readmes() -> None:
    from forebay.console.settings import Settings

    for document in ("README.md", "README.ru.md"):
        text = (ROOT / document).read_text("utf-8")
        missing = [name for name in Settings.model_fields if f"`{name}`" not in text]

        assert missing == [], document


def test_the_readme_has_the_defaults_of_the_settings() -> None:
    from forebay.console.settings import Settings

    table = (ROOT / "README.md").read_text("utf-8").split("| setting | default |")[1].split("\n\n")[0]
    told = {
        name: value
        for named, values in re.findall(r"^\| ([^|]+) \| ([^|]*)\|", table, re.MULTILINE)
        for name, value in zip(re.findall(r"`(\w+)`", named), values.replace("`", "").split(","), strict=True)
    }

    defaults = Settings().model_dump()
    numbers = {name: value for name, value in defaults.items() if isinstance(value, int | float)}
    assert told.keys() == defaults.keys()
    assert {name: in_units(told[name]) for name in numbers} == numbers
    for name in ("topic", "group", "bind", "key", "give_up"):
        assert told[name].strip() == defaults[name]


def in_units(told: str) -> float:
    """What is told, in the unit of the setting's name."""
    number, _, size = told.strip().partition(" ")
    return float(number) * {"": 1, "MiB": 1 << 20, "GiB": 1 << 30}[size]


def test_both_readmes_have_the_same_numbers_in_their_tables() -> None:
    english, russian = (ROOT / name for name in ("README.md", "README.ru.md"))
    # 9,100 and 2.1 there are 9100 and 2,1 here, and 36,000 is 36 000.
    there = re.sub(r"(?<=\d),(?=\d{3}\b)", "", english.read_text("utf-8"))
    here = re.sub(r"(?<=\d)[ \u00a0](?=\d{3}\b)", "", russian.read_text("utf-8"))
    here = re.sub(r"(?<=\d),(?=\d)", ".", here)

    assert [numbers(row) for row in rows(here)] == [numbers(row) for row in rows(there)]


def rows(text: str) -> list[str]:
    """The rows of its tables."""
    return [line for line in text.splitlines() if line.startswith("| ")]


def numbers(row: str) -> list[str]:
    """What is counted or measured in it; nothing of names, addresses and versions."""
    prose = re.sub(r"`[^`]*`|\]\([^)]*\)", "", row)
    return sorted(re.findall(r"(?<![\w.])\d+(?:\.\d+)?(?!\w)", prose))

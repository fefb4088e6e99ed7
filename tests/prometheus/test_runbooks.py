"""The runbooks: one an alert, of one form, with commands that exist and links that hold."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from forebay.console.cli import build

from .exposed import labels
from .rules import ALERTS, ROOT, THRESHOLDS

BOOKS = sorted((ROOT / "docs" / "runbooks").glob("*.md"))
SECTIONS = ["What it means", "What is at stake", "Look", "Mend", "When it is harmless"]

#: What a runbook may tell to type beside `forebay`.
OTHERS = {"kubectl"}


def text_of(book: Path) -> str:
    return book.read_text("utf-8")


def commands(book: Path) -> list[list[str]]:
    """What the runbook tells to type: in its blocks, and in its sentences where that has options or two words."""
    blocks = re.findall(r"^```sh\n(.*?)^```", text_of(book), re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    lines += [" ".join(found.split()) for found in re.findall(r"`(forebay [^`]+)`", text_of(book))]
    return [shlex.split(line, comments=True) for line in lines]


def parsed(words: list[str]) -> int:
    """The exit status of the command line with `--help` before its options: all of it is read, and nothing is run."""
    options = next((at for at, word in enumerate(words) if word.startswith("-")), len(words))
    return CliRunner().invoke(build(), [*words[:options], "--help", *words[options:]]).exit_code


def test_every_alert_has_its_runbook_and_no_other_is_there() -> None:
    assert {book.stem for book in BOOKS} == set(ALERTS)


@pytest.mark.parametrize("book", BOOKS, ids=lambda book: book.stem)
def test_a_runbook_has_its_sections_and_names_the_threshold(book: Path) -> None:
    text = text_of(book)
    wanted = re.findall(r"# (\w+)$", ALERTS[book.stem]["expr"], re.MULTILINE)

    assert text.startswith(f"# {book.stem}\n")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == SECTIONS
    told = set(re.findall(r"`(\w+)`", text)) & THRESHOLDS.keys()
    assert set(wanted) <= told | {"errorBudget"}


@pytest.mark.parametrize("book", BOOKS, ids=lambda book: book.stem)
def test_every_command_of_a_runbook_exists(book: Path) -> None:
    found = commands(book)

    assert any(words[0] == "forebay" for words in found)
    for program, *words in found:
        if program == "forebay":
            assert parsed(words) == 0, words
        else:
            assert program in OTHERS


def test_a_command_that_does_not_exist_is_noticed() -> None:
    for wrong in (["lags"], ["lag", "--everything"], ["parked", "resumed"], ["dead", "list", "--since"]):
        assert parsed(wrong) != 0


@pytest.mark.parametrize("book", BOOKS, ids=lambda book: book.stem)
def test_the_links_of_a_runbook_hold(book: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(book)):
        file, _, place = target.partition("#")
        linked = book.parent / file
        assert linked.is_file(), target
        headings = re.findall(r"^#+ (.+)$", linked.read_text("utf-8"), re.MULTILINE)
        anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
        assert not place or place in anchors, target


def test_the_page_on_monitoring_has_every_metric_with_its_labels_and_every_alert() -> None:
    page = (ROOT / "docs" / "monitoring.md").read_text("utf-8")
    rows = re.findall(r"^\| `(forebay_\w+)` \| ([^|]*) \| (\w+) \|", page, re.MULTILINE)
    told = {name: frozenset(re.findall(r"`(\w+)`", own)) for name, own, _ in rows}

    parts = re.compile(r"_(bucket|sum|count)$")
    # `group` is told of in a sentence, as it is there only where a process has several.
    wanted = {parts.sub("", name): own - {"le", "group"} for name, own in labels().items()}
    assert told == wanted
    assert re.findall(r"\]\(runbooks/(\w+)\.md\)", page) == list(ALERTS)


def test_every_command_of_that_page_exists() -> None:
    page = ROOT / "docs" / "monitoring.md"

    assert all(parsed(words) == 0 for program, *words in commands(page) if program == "forebay")

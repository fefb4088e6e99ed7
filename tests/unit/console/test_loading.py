from pathlib import Path

import pytest

from forebay.console.errors import WrongUsage
from forebay.console.processes.loading import load_handlers


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("sys.path", list(__import__("sys").path))
    return tmp_path


def test_handlers_come_from_the_working_directory(folder: Path) -> None:
    (folder / "loading_shop.py").write_text("from forebay import Handlers\nhandlers = Handlers()\n")

    found = load_handlers("loading_shop:handlers", folder)

    assert type(found).__name__ == "Handlers"


def test_a_working_directory_that_is_gone_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (gone := folder / "gone").mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()

    with pytest.raises(WrongUsage, match="the working directory was deleted"):
        load_handlers("loading_shop:handlers")


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("loading_bad", "should be MODULE:OBJECT, as in loading_bad:handlers"),
        ("loading_bad.py:handlers", "name the module and not its file: loading_bad:handlers"),
        ("loading_bda:handlers", "there is no module loading_bda in .*; did you mean loading_bad"),
        ("loading_bad:handler", "loading_bad has no handler; did you mean handlers"),
        ("loading_bad:number", "loading_bad:number is of type int; it has to be a Handlers"),
        (
            "loading_import:handlers",
            "loading_import can't be imported: .* No module named 'not_there'",
        ),
        ("loading_raises:handlers", r"ZeroDivisionError: .*loading_raises.py, line 2"),
        ("loading_syntax:handlers", r"SyntaxError: .*loading_syntax.py, line 1"),
        ("loading_exits:handlers", r"loading_exits can't be imported: it ends the process .*loading_exits.py, line 2"),
        ("loading_twice:handlers", "ONX has two handlers.*loading_twice.py, line 3"),
    ],
)
def test_a_wrong_target_is_told_with_a_remedy(folder: Path, target: str, told: str) -> None:
    (folder / "loading_bad.py").write_text("from forebay import Handlers\nhandlers = Handlers()\nnumber = 1\n")
    (folder / "loading_import.py").write_text("import not_there\n")
    (folder / "loading_raises.py").write_text("#\n1 / 0\n")
    (folder / "loading_exits.py").write_text("import sys\nsys.exit()\n")
    (folder / "loading_syntax.py").write_text("def\n")
    (folder / "loading_twice.py").write_text(
        "from forebay import Handlers\nhandlers = Handlers()\n@handlers.on('ONX', 'ONX')\ndef f(event): ...\n"
    )

    with pytest.raises(WrongUsage, match=told):
        load_handlers(target, folder)

"""From MODULE:OBJECT on the command line to the user's handlers."""

import os
import sys
from importlib import import_module
from pathlib import Path
from traceback import extract_tb
from types import ModuleType
from typing import TYPE_CHECKING

from forebay.console.errors import WrongUsage
from forebay.schemas.near import did_you_mean

if TYPE_CHECKING:
    from forebay.processors.handlers import Handlers

#: Where our own code is.
_OURS = str(Path(__file__).parents[2]) + os.sep


def load_handlers(target: str, folder: Path | None = None) -> "Handlers":
    """Import the module, with the working directory first on the path as `python -m` has it, and take the object.

    Raises `WrongUsage`, which says what is wrong and what is near.
    """
    from forebay.processors.handlers import Handlers

    module, name = _parts(target)
    found = _attribute(_imported(module, folder or _working_directory()), name)
    if not isinstance(found, Handlers):
        raise WrongUsage(f"{target} is of type {type(found).__name__}; it has to be a Handlers: handlers = Handlers()")
    return found


def _working_directory() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise WrongUsage("the working directory was deleted; go to its new one") from None


def _parts(target: str) -> tuple[str, str]:
    module, colon, name = target.partition(":")
    if module.endswith(".py"):
        module = module.removesuffix(".py").replace("/", ".").lstrip(".")
        raise WrongUsage(f"{target}: name the module and not its file: {module}:{name or 'handlers'}")
    if not (module and colon and name):
        raise WrongUsage(f"{target!r} should be MODULE:OBJECT, as in {module or 'shop'}:handlers")
    return module, name


def _imported(module: str, folder: Path) -> ModuleType:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name and (module == error.name or module.startswith(f"{error.name}.")):
            raise WrongUsage(
                f"there is no module {module} in {folder}{did_you_mean(module, _modules(folder))}"
            ) from None
        raise WrongUsage(_fault(module, error)) from error
    # The module is the user's and may raise anything; whatever it is, it is told in one line.
    except (Exception, SystemExit) as error:
        raise WrongUsage(_fault(module, error)) from error


def _fault(module: str, error: Exception | SystemExit) -> str:
    # What we refuse is to be mended where it is written, and not where we say so.
    last = [frame for frame in extract_tb(error.__traceback__) if not frame.filename.startswith(_OURS)][-1]
    at = (error.filename, error.lineno) if isinstance(error, SyntaxError) else (last.filename, last.lineno)
    told = "it ends the process" if isinstance(error, SystemExit) else f"{type(error).__name__}: {error}"
    return f"{module} can't be imported: {told} ({at[0]}, line {at[1]})"


def _attribute(module: ModuleType, name: str) -> object:
    try:
        return getattr(module, name)
    except AttributeError:
        public = [found for found in vars(module) if not found.startswith("_")]
        raise WrongUsage(f"{module.__name__} has no {name}{did_you_mean(name, _handlers(module) or public)}") from None


def _handlers(module: ModuleType) -> list[str]:
    from forebay.processors.handlers import Handlers

    return [name for name, value in vars(module).items() if isinstance(value, Handlers)]


def _modules(folder: Path) -> list[str]:
    files = [path.stem for path in folder.glob("*.py")]
    return files + [path.parent.name for path in folder.glob("*/__init__.py")]

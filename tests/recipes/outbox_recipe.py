"""The recipe of docs/outbox.py as a module, on a database of the test's."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine

DOCS = Path(__file__).parents[2] / "docs"


def recipe_on(url: str) -> Any:
    """The recipe, with its database there."""
    spec = spec_from_file_location("outbox", DOCS / "outbox.py")
    assert spec and spec.loader
    module: Any = module_from_spec(spec)
    spec.loader.exec_module(module)
    module.engine = create_engine(url)
    return module

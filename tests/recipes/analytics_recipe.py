"""The recipe of docs/analytics.md as a module, with a database and a Kafka of the test's."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[2] / "docs"


def recipe_on(bootstrap: str, topic: str, database: Path | str) -> Any:
    """The recipe, which has small batches."""
    spec = spec_from_file_location("analytics", DOCS / "analytics.py")
    assert spec and spec.loader
    module: Any = module_from_spec(spec)
    spec.loader.exec_module(module)
    module.KAFKA, module.TOPIC, module.DATABASE = {"bootstrap.servers": bootstrap}, topic, str(database)
    module.BATCH = 20
    return module

"""What docs/handlers.md shows can be run as it stands, and every option is in its table."""

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

from forebay import Handlers
from forebay.processors.options import Options

DOCUMENT = (Path(__file__).parents[3] / "docs" / "handlers.md").read_text("utf-8")


def test_the_examples_register_their_handlers() -> None:
    examples = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
    names: dict[str, Any] = {}

    for example in examples:
        exec(example, names)  # noqa: S102 - our own document

    made = names["handlers"]
    assert isinstance(made, Handlers)
    assert len(made) == len(examples)


def test_every_option_is_told() -> None:
    table = " ".join(re.findall(r"^\| (`[^|]*) \|", DOCUMENT, re.MULTILINE))

    assert [one.name for one in fields(Options) if f"`{one.name}`" not in table] == []

"""The event codes that Bitrix24's documents name. Portals and their modules have more: an unknown one is no error."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.resources import files

from forebay.schemas import names

#: A smart process has events of its own, with its number behind the code: ONCRMDYNAMICITEMADD_147.
_OF_ONE_PROCESS = re.compile(r"(ONCRMDYNAMICITEM[A-Z]+)_\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """A documented event: the part of Bitrix24 that it comes from, and where its object's id stands, if it has one."""

    name: str
    area: str
    id_path: str


@cache
def known_codes() -> Mapping[str, Code]:
    """Name → what is documented, Forebay's own event included."""
    lines = files(__package__).joinpath("codes.tsv").read_text("utf-8").splitlines()[1:]
    rows = (line.split("\t") for line in lines)
    found = {name: Code(name=name, area=area, id_path=id_path) for name, area, id_path in rows}
    return found | {names.GAP: Code(name=names.GAP, area="forebay", id_path="")}


def known_code(name: str) -> Code | None:
    """What is documented of an event of this name."""
    codes = known_codes()
    one_process = _OF_ONE_PROCESS.fullmatch(name)
    return codes.get(name) or (codes.get(one_process[1]) if one_process else None)


def nearest_code(name: str) -> str | None:
    """The documented name that is most like it, if any is."""
    return next(iter(get_close_matches(name, known_codes(), n=1)), None)

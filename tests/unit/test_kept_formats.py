"""What any released Forebay has kept is read by this one, and what this one keeps is read by the last one.

`tests/data/kept/VERSION.json` has what that version wrote. A format that changes gets a new file, whose entries take
the place of the earlier ones' as what is written; whatever stands in an earlier file is read for ever.
"""

import json
from pathlib import Path

import pytest

from tests.kept.formats import FORMATS

FILES = sorted(
    Path(__file__).parents[1].joinpath("data", "kept").glob("*.json"),
    key=lambda file: [int(part) for part in file.stem.split(".")],
)
#: Each byte is a character, so that what is text can be read there.
KEPT = {
    (file.stem, name): octets.encode("latin-1")
    for file in FILES
    for name, octets in json.loads(file.read_text("utf-8")).items()
}
#: Of each format what stands in the newest file that has it.
NEWEST = {name: octets for (_, name), octets in KEPT.items()}


@pytest.mark.parametrize(("version", "name"), KEPT)
def test_what_an_earlier_version_has_kept_is_read(version: str, name: str) -> None:
    assert FORMATS[name].read(KEPT[version, name]) == FORMATS[name].means


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_kept_has_not_changed(name: str) -> None:
    kept = FORMATS[name]
    written = kept.write()

    assert kept.read(written) == kept.means
    if kept.varies:
        assert written[:3] == NEWEST[name][:3]
    else:
        assert written == NEWEST[name]

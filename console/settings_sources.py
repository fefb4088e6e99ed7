"""Settings as they were written: in a file, in the environment, and as options of a command."""

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from forebay.schemas.near import did_you_mean

_PREFIX = "FOREBAY_"
_FILE_SUFFIX = "_FILE"

#: Read when it stands in the working directory and no other was named.
_CONFIG_NAME = "forebay.toml"
_CONFIG = "FOREBAY_CONFIG"

#: Variables that start so are the tests' own.
_TEST = "FOREBAY_TEST_"

#: What Kubernetes sets in each pod for a service that is called forebay or forebay-…; it is none of ours.
_SERVICE = re.compile(r"FOREBAY_(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_\w+)?)")
_SERVICE_URL = re.compile(r"(?:tcp|udp|sctp)://.+")

#: Tables of which one property may come alone, since it alone is a secret: FOREBAY_KAFKA__SASL_PASSWORD_FILE.
_TABLES = ("kafka", "schema_registry")
_WITHIN = "__"

#: Of these the client takes the file itself, under this name, since what stands in it may be renewed.
_READ_BY_THE_CLIENT = {("kafka", "sasl.password"): "sasl.password.file"}

#: Tables whose keys are none of the user's own choice, and none of our settings' names.
_NAMED = (*_TABLES, "callers", "forebay")


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A setting as it was written somewhere."""

    value: Any
    source: str

    def where(self, name: str) -> str:
        """The setting with its place, in words."""
        return self.source if self.source.startswith("--") else f"{name} (from {self.source})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What was given of these settings, the later place before the earlier, and what is wrong with how it is written.

    A fault never holds a value: it may be a secret.
    """

    fields: Mapping[str, FieldInfo]
    given: dict[str, Given] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def read(self, config: Path | None, environ: Mapping[str, str], options: Mapping[str, object]) -> None:
        """Take what stands in the file, the environment and the options; one that is None was not given."""
        variables = self._without_empty(environ)
        self.given.update(self._in_file(config or variables.get(_CONFIG)))
        self.given.update(self._in_environment(variables))
        for variable in filter(_property, variables):
            self._add_property(variable, variables[variable])
        for name, value in options.items():
            if value is not None:
                self.given[name] = Given(value=value, source=f"--{name.replace('_', '-')}")
        self._refuse_empty(one.where(name) for name, one in self.given.items() if one.value == "")

    def _refuse_empty(self, places: Iterable[str]) -> None:
        # A script's variable that isn't set, or a secret that has not come yet: the default, as another queue, isn't
        # meant.
        self.faults.extend(f"{place}: is empty; leave it out for the default" for place in places)

    def _without_empty(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Our variables in their order, those of tests left out."""
        ours = [name for name in sorted(environ) if name.startswith(_PREFIX) and not name.startswith(_TEST)]
        self._refuse_empty(name for name in ours if not environ[name].strip())
        return {name: environ[name] for name in ours if environ[name].strip()}

    def _in_file(self, named: str | Path | None) -> dict[str, Given]:
        path = Path(named or _CONFIG_NAME)
        try:
            if not named and not _is_there(path):
                return {}
            found = tomllib.loads(_text_of(path))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            self.faults.append(f"{path}: {error}")
            return {}
        return {name: Given(value=self._apart(name, value, path), source=str(path)) for name, value in found.items()}

    def _apart(self, table: str, value: object, path: Path) -> object:
        """Without settings of ours in it: what stands below `[kafka]` belongs to that in TOML, as few expect."""
        if table not in _NAMED or not isinstance(value, dict):
            return value
        if ours := [name for name in value if name in self.fields]:
            names = ", ".join(ours)
            self.faults.append(f"{path}: {names} below [{table}] would be part of that; put it above, as all settings")
        return {name: one for name, one in value.items() if name not in ours}

    def _in_environment(self, variables: Mapping[str, str]) -> dict[str, Given]:
        given: dict[str, Given] = {}
        for variable, text in variables.items():
            if variable.startswith(_CONFIG) or _is_service(variable, text) or _property(variable):
                continue
            name, value = self._setting(variable, text)
            if name not in self.fields:
                self.faults.append(f"{variable}: there is no such setting{did_you_mean(name, self.fields)}")
            elif name in given:
                self.faults.append(f"{variable}: {given[name].source} is set too; one of them must go")
            elif value is not None:
                try:
                    given[name] = Given(value=self._parsed(name, value), source=variable)
                except json.JSONDecodeError as error:
                    # The error's own text names the place, and never the content, which may be a secret.
                    self.faults.append(f"{variable}: is not valid JSON: {error}")
        return given

    def _setting(self, variable: str, text: str) -> tuple[str, str | None]:
        """The setting that the variable gives, and its text; None where that can't be read from the file."""
        name = variable.removeprefix(_PREFIX).lower()
        if name not in self.fields and variable.endswith(_FILE_SUFFIX):
            return name.removesuffix(_FILE_SUFFIX.lower()), self._content(text, variable)
        return name, text

    def _parsed(self, name: str, text: str) -> object:
        """Lists and tables are JSON in the environment; all else is text, which pydantic reads."""
        annotation = str(self.fields[name].annotation)
        takes_json = any(kind in annotation for kind in ("dict", "list", "tuple", "CallerSettings"))
        return json.loads(text) if takes_json and text.lstrip().startswith(("[", "{")) else text

    def _add_property(self, variable: str, text: str) -> None:
        """Put the property into its table, beside those that stand there already."""
        table, name = _property(variable) or ("", "")
        value = self._content(text, variable) if variable.endswith(_FILE_SUFFIX) else text
        before = self.given.get(table) or Given(value={}, source="")
        if not isinstance(before.value, dict) or value is None:
            # That has a fault of its own.
            return
        in_file = _READ_BY_THE_CLIENT.get((table, name), name)
        others = {one: found for one, found in before.value.items() if one not in (name, in_file)}
        if len(others) < len(before.value) and before.source.startswith(_PREFIX):
            self.faults.append(f"{variable}: {name} is set by {before.source} too; one of them must go")
            return
        source = ", ".join(filter(None, (before.source, variable)))
        is_read_later = variable.endswith(_FILE_SUFFIX) and in_file != name
        # As a whole path: by then a handler may have gone to another folder.
        own = {in_file: str(Path(text).absolute())} if is_read_later else {name: value}
        self.given[table] = Given(value={**others, **own}, source=source)

    def _content(self, path: str, variable: str) -> str | None:
        try:
            text = _text_of(Path(path)).strip()
        except (OSError, UnicodeDecodeError) as error:
            self.faults.append(f"{variable}: can't read {path}: {error}")
            return None
        if not text:
            # Not the same as unset: of a secret that has not come yet would follow the default, as another queue.
            self.faults.append(f"{variable}: {path} is empty")
        return text or None


def _property(variable: str) -> tuple[str, str] | None:
    """The table and the property that a variable names; properties have dots where variables can't."""
    table, _, name = variable.removeprefix(_PREFIX).lower().partition(_WITHIN)
    found = name.removesuffix(_FILE_SUFFIX.lower()).replace("_", ".")
    return (table, found) if found and table in _TABLES else None


def _is_service(variable: str, value: str) -> bool:
    return bool(_SERVICE.fullmatch(variable) or (variable.endswith("_PORT") and _SERVICE_URL.fullmatch(value)))


def _is_there(path: Path) -> bool:
    # A link that leads nowhere is, and so is a folder, as Docker makes one for a file that it should mount and that is
    # missing: somebody means settings by it, and not the defaults, as another queue.
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    return True


def _text_of(path: Path) -> str:
    # Editors of Windows put a mark before the text, which would be part of a secret.
    return path.read_text("utf-8-sig")

"""The one place where settings are read: `forebay.toml`, then the environment, then the command line."""

import json
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import (
    ConfigDict,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from forebay.ingest.settings import IngestSettings
from forebay.processors.settings import WorkerSettings
from forebay.queues.errors import QueueError
from forebay.queues.opening import check_url, faults_of, why_no_portals
from forebay.schemas.errors import ForebayError

from .masking import masked

_PREFIX = "FOREBAY_"
_FILE_SUFFIX = "_FILE"

#: Read when it stands in the working directory and no other was named.
CONFIG_NAME = "forebay.toml"

#: Variables that are ours without being settings: they start so.
_TEST = "FOREBAY_TEST_"
_NOT_SETTINGS = ("FOREBAY_CONFIG", _TEST)


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

#: How a setting that is a list or a table is written, in JSON as in the environment.
_SHAPES = {
    "endpoints": '[{"path": "/bitrix24", "auth": "tokens", "tokens": {"*": "<token>"}}]',
    "tokens": '{"<portal, member_id or *>": "<token>"}',
    "callers": '{"allow": ["203.0.113.0/24"], "trusted_proxies": ["127.0.0.1"]}',
    "seal_keys": '{"<key id>": "<32 bytes in base64>"}',
    "kafka": '{"<property of librdkafka>": "<value>"}',
    "schema_registry": '{"<property of the client>": "<value>"}',
    "auth": '"tokens", or ["tokens", "url-secret"]',
}


class Settings(IngestSettings, WorkerSettings):
    """Every setting of every room."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    @field_validator("queue_url")
    @classmethod
    def _check_queue_url(cls, queue_url: str) -> str:
        try:
            check_url(queue_url)
        except QueueError as error:
            raise ValueError(str(error).removeprefix("queue_url: ")) from error
        return queue_url

    @field_validator("kafka")
    @classmethod
    def _check_kafka(cls, kafka: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        # Without a queue_url that can be used it is not known whether anybody will read it.
        if faults := faults_of(info.data["queue_url"], kafka) if "queue_url" in info.data else []:
            raise ValueError("; ".join(faults))
        return kafka

    @field_validator("seal_keys")
    @classmethod
    def _check_portals_are_kept(cls, keys: dict[str, SecretStr], info: ValidationInfo) -> dict[str, SecretStr]:
        # Whoever says auth=registry has seal_keys, or is told already that they are missing.
        if keys and "queue_url" in info.data and (reason := why_no_portals(info.data["queue_url"])):
            raise ValueError(f"{reason}; use another queue_url, or neither auth=registry nor seal_keys")
        return keys


class BadSettings(ForebayError):
    """Some settings can't be used; the message lists all of them."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(["the settings can't be used:", *(f"  - {fault}" for fault in faults)]))
        self.faults = faults


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """The settings, and for each that was given the place it came from."""

    settings: Settings
    sources: Mapping[str, str]
    #: As they were written, secrets included: another process makes the same settings of them.
    given: Mapping[str, object]

    def shown(self) -> dict[str, tuple[str, str]]:
        """Name → (value as text, secrets masked; where it came from)."""
        return {
            name: (masked(getattr(self.settings, name)), self.sources.get(name, "default"))
            for name in type(self.settings).model_fields
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Given:
    """A setting as it was written somewhere."""

    value: Any
    source: str


def load_settings(
    config: Path | None = None,
    options: Mapping[str, object] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Loaded:
    """The effective settings. An option that is None was not given. Raises `BadSettings` with every fault at once."""
    faults: list[str] = []
    environ = _without_empty(environ, faults)
    given = _from_file(config or environ.get("FOREBAY_CONFIG"), faults) | _from_environment(environ, faults)
    for variable in filter(_within, sorted(environ)):
        _add_property(given, variable, environ[variable], faults)
    for name, value in (options or {}).items():
        if value is not None:
            given[name] = _Given(value=value, source=f"--{name.replace('_', '-')}")
    faults += [_empty(_where(name, one)) for name, one in given.items() if one.value == ""]
    sources = {name: one.source for name, one in given.items()}
    try:
        settings = Settings(**{name: one.value for name, one in given.items()})
    except ValidationError as error:
        raise BadSettings(faults + _faults(error, sources)) from None
    except FileNotFoundError:
        gone = "data_dir: the working directory, which it is in, was deleted; go to its new one, or give a whole path"
        raise BadSettings([*faults, gone]) from None
    if faults:
        raise BadSettings(faults)
    return Loaded(settings=settings, sources=sources, given={name: one.value for name, one in given.items()})


def _without_empty(environ: Mapping[str, str], faults: list[str]) -> Mapping[str, str]:
    ours = (name for name in environ if name.startswith(_PREFIX) and not name.startswith(_TEST))
    empty = sorted(name for name in ours if not environ[name].strip())
    faults += map(_empty, empty)
    return {name: value for name, value in environ.items() if name not in empty}


def _empty(where: str) -> str:
    # A script's variable that isn't set, or a secret that has not come yet: the default, as another queue, isn't meant.
    return f"{where}: is empty; leave it out for the default"


def _where(name: str, one: _Given) -> str:
    return one.source if one.source.startswith("--") else f"{name} (from {one.source})"


def _from_file(named: str | Path | None, faults: list[str]) -> dict[str, _Given]:
    path = Path(named or CONFIG_NAME)
    try:
        if not named and not _is_there(path):
            return {}
        found = tomllib.loads(_text_of(path))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        faults.append(f"{path}: {error}")
        return {}
    return {name: _Given(value=_apart(name, value, path, faults), source=str(path)) for name, value in found.items()}


def _apart(table: str, value: object, path: Path, faults: list[str]) -> object:
    """Without settings of ours in it: what stands below `[kafka]` belongs to that in TOML, as few expect."""
    if table not in _NAMED or not isinstance(value, dict):
        return value
    if not (ours := [name for name in value if name in Settings.model_fields]):
        return value
    faults.append(f"{path}: {', '.join(ours)} below [{table}] would be part of that; put it above, as all settings")
    return {name: one for name, one in value.items() if name not in ours}


def _from_environment(environ: Mapping[str, str], faults: list[str]) -> dict[str, _Given]:
    given: dict[str, _Given] = {}
    for variable in sorted(environ):
        if not variable.startswith(_PREFIX) or variable.startswith(_NOT_SETTINGS):
            continue
        if _is_service(variable, environ[variable]) or _within(variable):
            continue
        name = variable.removeprefix(_PREFIX).lower()
        text: str | None = environ[variable]
        if name not in Settings.model_fields and variable.endswith(_FILE_SUFFIX):
            name = name.removesuffix(_FILE_SUFFIX.lower())
            text = _content(environ[variable], variable, faults)
        if name not in Settings.model_fields:
            faults.append(f"{variable}: there is no such setting{_near(name)}")
        elif name in given:
            faults.append(f"{variable}: {given[name].source} is set too; one of them must go")
        elif text is not None:
            try:
                given[name] = _Given(value=_parsed(name, text), source=variable)
            except json.JSONDecodeError as error:
                # The error's own text names the place, and never the content, which may be a secret.
                faults.append(f"{variable}: is not valid JSON: {error}")
    return given


def _within(variable: str) -> tuple[str, str] | None:
    """The table and the property that a variable names; properties have dots where variables can't."""
    table, _, name = variable.removeprefix(_PREFIX).lower().partition(_WITHIN)
    found = name.removesuffix(_FILE_SUFFIX.lower()).replace("_", ".")
    return (table, found) if found and table in _TABLES and variable.startswith(_PREFIX) else None


def _add_property(given: dict[str, _Given], variable: str, text: str, faults: list[str]) -> None:
    """Put the property into its table, beside those that stand there already."""
    table, name = _within(variable) or ("", "")
    value = _content(text, variable, faults) if variable.endswith(_FILE_SUFFIX) else text
    before = given.get(table) or _Given(value={}, source="")
    if not isinstance(before.value, dict) or value is None:
        # That has a fault of its own.
        return
    in_file = _READ_BY_THE_CLIENT.get((table, name), name)
    others = {one: found for one, found in before.value.items() if one not in (name, in_file)}
    if len(others) < len(before.value) and before.source.startswith(_PREFIX):
        faults.append(f"{variable}: {name} is set by {before.source} too; one of them must go")
        return
    source = ", ".join(filter(None, (before.source, variable)))
    own = {in_file: text} if variable.endswith(_FILE_SUFFIX) and in_file != name else {name: value}
    given[table] = _Given(value={**others, **own}, source=source)


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


def _content(path: str, variable: str, faults: list[str]) -> str | None:
    try:
        text = _text_of(Path(path)).strip()
    except (OSError, UnicodeDecodeError) as error:
        faults.append(f"{variable}: can't read {path}: {error}")
        return None
    if not text:
        # Not the same as unset: of a secret that has not come yet would follow the default, as another queue.
        faults.append(f"{variable}: {path} is empty")
    return text or None


def _parsed(name: str, text: str) -> object:
    """Lists and tables are JSON in the environment; all else is text, which pydantic reads."""
    annotation = str(Settings.model_fields[name].annotation)
    takes_json = any(kind in annotation for kind in ("dict", "list", "tuple", "CallerSettings"))
    return json.loads(text) if takes_json and text.lstrip().startswith(("[", "{")) else text


def _faults(error: ValidationError, sources: Mapping[str, str]) -> list[str]:
    """Pydantic's errors as sentences that name the setting and its place, without the value: it may be a secret."""
    found = []
    for one in error.errors(include_input=False, include_url=False):
        where = ".".join(str(part) for part in one["loc"])
        name = str(one["loc"][0]) if one["loc"] else ""
        source = f" (from {sources[name]})" if name in sources else ""
        if one["type"] == "extra_forbidden":
            # What is near is looked for among the settings, and not in a list or table of one.
            found.append(f"{where}{source}: there is no such setting{_near(name) if where == name else ''}")
        else:
            text = one["msg"].removeprefix("Value error, ")
            if one["type"] in ("tuple_type", "dict_type", "model_type") and name in _SHAPES:
                text = f"should look like {_SHAPES[name]}"
            found.append(f"{where}{source}: {text}" if where else text)
    return found


def _near(name: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, Settings.model_fields, n=1)
    return f"; did you mean {near[0]}?" if near else ""

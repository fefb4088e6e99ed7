"""What is wrong with settings, as sentences that name them, and never a value: it may be a secret."""

from collections.abc import Collection, Mapping
from types import MappingProxyType

from pydantic import ValidationError

from forebay.schemas.errors import ForebayError
from forebay.schemas.near import did_you_mean


class BadSettings(ForebayError):
    """Some settings can't be used; the message lists all of them."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(["the settings can't be used:", *(f"  - {fault}" for fault in faults)]))
        self.faults = faults


def faults_in(
    error: ValidationError,
    names: Collection[str],
    sources: Mapping[str, str] = MappingProxyType({}),
    shapes: Mapping[str, str] = MappingProxyType({}),
) -> list[str]:
    """Pydantic's errors. `names` are all settings that there are, `sources` where those that were given came from, and
    `shapes` how lists and tables are written.
    """
    found = []
    for one in error.errors(include_input=False, include_url=False):
        where = ".".join(str(part) for part in one["loc"])
        name = str(one["loc"][0]) if one["loc"] else ""
        source = f" (from {sources[name]})" if name in sources else ""
        if one["type"] == "extra_forbidden":
            # What is near is looked for among the settings, and not in a list or table of one.
            hint = did_you_mean(name, names) if where == name else ""
            found.append(f"{where}{source}: there is no such setting{hint}")
        else:
            text = one["msg"].removeprefix("Value error, ")
            if one["type"] in ("tuple_type", "dict_type", "model_type") and name in shapes:
                text = f"should look like {shapes[name]}"
            found.append(f"{where}{source}: {text}" if where else text)
    return found

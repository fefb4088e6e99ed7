"""Which groups a process runs: by what the handlers say, and by what was asked for."""

from forebay.console.errors import WrongUsage
from forebay.processors.handlers import Handlers


def groups_of(handlers: Handlers, default: str, only: str | None = None) -> dict[str, Handlers]:
    """Group → its handlers. Those that name no group are in the default one, beside those that name it.

    With `only` it is that group alone: as it is among all of them, else those that name none, under this name.
    Raises `WrongUsage` when nothing is in it, `BadHandler` when two handlers of a group want the same.
    """
    named = [group for group in handlers.groups() if group is not None]
    has_default = None in handlers.groups() or not named
    found = dict.fromkeys([default, *named] if has_default else named)
    if only is not None and only not in found:
        if not has_default:
            raise WrongUsage(f"no handler is in the group {only}; there are {', '.join(named)}")
        return {only: handlers.of(None)}
    return {
        group: handlers.of(None, group) if group == default else handlers.of(group)
        for group in found
        if only in (None, group)
    }

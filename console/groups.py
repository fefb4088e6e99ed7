"""Which groups a process runs: by what the handlers say, and by what was asked for."""

from forebay.processors.handlers import Handlers

from .errors import WrongUsage


def groups_of(handlers: Handlers, default: str, only: str | None = None) -> dict[str, Handlers]:
    """Group → its handlers. Those that name no group are in the default one.

    With `only` it is that group alone: the one that handlers name so, else those that name none, under this name.
    Raises `WrongUsage` when nothing is in it, `BadHandler` when two handlers of a group want the same.
    """
    named = [group for group in handlers.groups() if group is not None]
    if only in named:
        return {only: handlers.of(only)}
    has_default = None in handlers.groups() or not named
    if only is not None and not has_default:
        raise WrongUsage(f"no handler is in the group {only}; there are {', '.join(named)}")
    if only is not None:
        return {only: handlers.of(None)}
    found = {default: handlers.of(None, default)} if has_default else {}
    return found | {group: handlers.of(group) for group in named if group not in found}

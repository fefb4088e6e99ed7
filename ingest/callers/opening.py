"""From the settings to the allow list, where there is one."""

from forebay.ingest.settings import IngestSettings

from .allow_list import AllowList
from .published import Shelf, networks_of_file
from .settings import networks


def open_allow_list(settings: IngestSettings) -> AllowList | None:
    """The list, which reads nothing yet; None where every address may call."""
    callers = settings.callers
    if not callers.limits:
        return None
    return AllowList(
        fixed=networks(callers.allow),
        file=callers.allow_file,
        url=callers.allow_url,
        shelf=Shelf(settings.data_dir, callers.allow_url) if callers.allow_url else None,
        refresh_s=callers.refresh_s,
    )


def check_allow_file(settings: IngestSettings) -> None:
    """Raise `BadAllowList` when the file of the settings can't be used: at a start nothing was good before."""
    if settings.callers.allow_file:
        networks_of_file(settings.callers.allow_file)

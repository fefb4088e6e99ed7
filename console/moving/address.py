"""How a queue is called where everybody may read it: without user, password and parameters, and the same each time."""

from pathlib import Path

from forebay.console.errors import WrongUsage
from forebay.queues.opening import scheme_of

#: Stands before the name of a file that holds the URL: what is on a command line every user of the machine can read.
_FILE = "@"


def url_of(given: str) -> str:
    """The URL that was given, or that stands in the file that was named."""
    if not given.startswith(_FILE):
        return given
    path = Path(given.removeprefix(_FILE))
    try:
        return path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise WrongUsage(f"{path} can't be read: {error}") from error


def name_of(queue_url: str) -> str:
    """The queue's name; two ways to write one file, or the same brokers, are one."""
    scheme = scheme_of(queue_url)
    rest = queue_url.partition("://")[2].partition("?")[0]
    if scheme == "sqlite":
        return f"sqlite:///{Path(rest.removeprefix('/')).absolute()}"
    hosts, slash, path = rest.rpartition("@")[2].partition("/")
    return f"{scheme}://{','.join(sorted(hosts.split(',')))}{slash if path else ''}{path}"

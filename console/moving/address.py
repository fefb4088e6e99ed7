"""How a queue is called where everybody may read it: without user, password and parameters, and the same each time."""

from pathlib import Path
from urllib.parse import parse_qsl, urlencode

from forebay.console.errors import WrongUsage
from forebay.queues.opening import scheme_of

#: Stands before the name of a file that holds the URL: what is on a command line every user of the machine can read.
_FILE = "@"

#: Parameters of a URL that say where the server or the database is.
_WHERE = ("dbname", "host", "hostaddr", "port", "service", "unix_socket")


def url_of(given: str) -> str:
    """The URL that was given, or that stands in the file that was named."""
    if not given.startswith(_FILE):
        return given
    path = Path(given.removeprefix(_FILE))
    try:
        return path.read_text("utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise WrongUsage(f"{path} can't be read: {error}") from error


def name_of(queue_url: str) -> str:
    """The queue's name; two ways to write one file, or the same brokers, are one."""
    scheme = scheme_of(queue_url)
    rest, _, query = queue_url.partition("://")[2].partition("?")
    if scheme == "sqlite":
        return f"sqlite:///{Path(rest.removeprefix('/')).absolute()}"
    hosts, slash, path = rest.rpartition("@")[2].partition("/")
    where = urlencode([(name, value) for name, value in parse_qsl(query) if name in _WHERE])
    name = f"{scheme}://{','.join(sorted(hosts.split(',')))}{slash if path else ''}{path}"
    return f"{name}?{where}" if where else name

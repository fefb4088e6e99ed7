"""gunicorn as a library: the processes that serve the ingest, from the socket to the last answer."""

import gc
import mimetypes
import os
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any, TypeAlias

from gunicorn.app.base import BaseApplication

from forebay.queues.opening import open_checked, open_queue
from forebay.queues.registry.opening import open_registry
from forebay.queues.tracing.opening import is_traced, open_tracer
from forebay.schemas.errors import ForebayError
from forebay.schemas.logger import get_logger

from .app import create_app
from .callers.opening import check_allow_file
from .health import Health
from .master import Master
from .metric_files import exposition_of, forget_dead, memory_folder, metrics_folder
from .metrics import IngestMetrics
from .open_files import allow_many
from .ports import by_port
from .protocol import find_parser
from .server_log import ServerLog
from .settings import IngestSettings
from .spool.opening import open_spool
from .stopping import EarlyStop, let_forked_workers_stop
from .worker import PortalWorker

#: A worker whose loop stands still for so long is replaced. Longer than any wait that a call may cause.
_STUCK_S = 120

#: Bitrix24's headers are under 1 KB and its URLs under 300 bytes; what is larger is refused before it is kept.
_MAX_LINE_BYTES = 8190
_MAX_HEADERS = 64
_MAX_HEADER_BYTES = 8190

#: gunicorn cancels a call so long after its client has left. Never: the event is still on its way to the queue.
_AFTER_DISCONNECT_S = 86_400

#: Python's 700 are there as soon as ten calls wait for the queue, and nothing is found: 7 % of the time of a call.
_OBJECTS_A_COLLECTION = 50_000

_METRICS_DIR_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

#: Sockets, and what is kept on this host, are those of the start.
_FIXED = ("bind", "metrics_bind", "data_dir")

_log = get_logger(__name__)

#: Gives the settings as they are written by now, or raises what is wrong with them.
Reread: TypeAlias = Callable[[], IngestSettings]

#: Gives the metrics of all that leave them in the folder.
Exposition: TypeAlias = Callable[[str], bytes]


class NeedsRestart(ForebayError):
    """A setting has another value that can't be taken over by a process that serves."""


class Server(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn with our application and our settings; it looks at no file, variable or argument of its own."""

    def __init__(
        self,
        settings: IngestSettings,
        multiprocess_dir: str,
        listening: Callable[[], None],
        early_stop: EarlyStop,
        reread: Reread | None = None,
        exposition: Exposition = exposition_of,
    ) -> None:
        self.settings = settings
        self._listening, self._early_stop, self._reread = listening, early_stop, reread
        self._health: Health | None = None
        self._metrics: IngestMetrics | None = None
        self._multiprocess_dir, self._exposition = multiprocess_dir, exposition
        super().__init__()

    def run(self) -> None:
        """Serve until the process is told to end, and exit."""
        Master(self).run()

    def load_config(self) -> None:
        """gunicorn's settings, from ours."""
        hooks = {
            "on_starting": lambda arbiter: _prepare_forks(),
            "when_ready": lambda arbiter: self._ready(),
            "child_exit": self._ended,
            "on_reload": lambda arbiter: _freeze(),
        }
        for name, value in {**_config(self.settings), **hooks}.items():
            # Releases before 25.1 have no control socket, and so no setting to switch it off.
            if name in self.cfg.settings:
                self.cfg.set(name, value)

    def _ended(self, master: Master, worker: PortalWorker) -> None:
        master.ended(worker)
        self.forget_dead()

    def forget_dead(self) -> None:
        """Let go of the metrics of workers that have ended."""
        forget_dead(self._multiprocess_dir)

    def _ready(self) -> None:
        # From here on gunicorn has its own handlers, and no worker is there yet.
        self._early_stop.heed()
        self._listening()

    def take_over_settings(self) -> bool:
        """Go by what the settings are by now, from the next worker on; False, which is told, where that can't be."""
        if self._reread is None:
            return False
        try:
            settings = self._reread()
            changed = _changes(self.settings, settings)
            _check(settings)
        # Whatever it is: those who serve go on as they are.
        except Exception as error:
            _log.error("the settings stay as they were", why=str(error) or repr(error))
            return False
        # A text: of a list of two names the log would take the second for the value of the first.
        _log.info("the settings were read again", changed=", ".join(changed))
        self.settings, self.callable = settings, None
        return True

    def load(self) -> Any:
        """The application, made once for all workers: until it is opened it connects to nothing and has no thread."""
        queue, registry = open_queue(self.settings), open_registry(self.settings)
        ingest = create_app(
            self.settings,
            queue,
            spool=open_spool(self.settings),
            registry=registry,
            data_dir=self.settings.data_dir,
            everyones_metrics=partial(self._exposition, self._multiprocess_dir),
            tracer=open_tracer(self.settings, "forebay-ingest"),
        )
        self._health, self._metrics = ingest.health, ingest.metrics
        return by_port(ingest, self.settings.metrics_bind)

    def stop(self) -> None:
        """Called in a worker that was told to stop: it is not ready any more."""
        if self._health:
            self._health.stop()

    def not_http(self, status: int) -> None:
        """Count a request that never came to the application."""
        if self._metrics:
            self._metrics.not_http.labels(str(status)).inc()


def _config(settings: IngestSettings) -> dict[str, Any]:
    return {
        "bind": [address for address in (settings.bind, settings.metrics_bind) if address],
        "workers": settings.ingest_processes,
        "worker_class": PortalWorker,
        # Workers touch a file there each second, and a slow disk would stop them.
        "worker_tmp_dir": str(memory_folder() or "") or None,
        "asgi_lifespan": "on",
        "asgi_disconnect_grace_period": _AFTER_DISCONNECT_S,
        "timeout": _STUCK_S,
        "graceful_timeout": int(settings.drain_s) or 1,
        "keepalive": settings.keep_alive_s,
        "limit_request_line": _MAX_LINE_BYTES,
        "limit_request_fields": _MAX_HEADERS,
        "limit_request_field_size": _MAX_HEADER_BYTES,
        # A third of a worker's start, and of the memory that is its own. A tracer's thread would not cross the fork.
        "preload_app": not is_traced(),
        "control_socket_disable": True,
        "logger_class": ServerLog,
        "accesslog": None,
        "proc_name": "forebay-ingest",
    }


def _prepare_forks() -> None:
    """Do once what is the same in every worker: one that takes a dead one's place is there in a fifth of the time.

    Nothing is opened: no connection and no thread may cross a fork.
    """
    let_forked_workers_stop()
    find_parser()
    mimetypes.init()
    gc.set_threshold(_OBJECTS_A_COLLECTION)
    _freeze()


def _freeze() -> None:
    # What lives as long as a worker is looked through no more, nor copied by that, and a burst of calls passes without
    # a collection: only what refers to itself waits for one, and no call that is answered leaves such a thing behind.
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def serve(
    settings: IngestSettings,
    folder: str | None = None,
    exposition: Exposition = exposition_of,
    listening: Callable[[], None] = lambda: None,
    reread: Reread | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT; then take no new connection, finish what runs, and exit the process with 0.

    Metrics stand in a folder of its own, or in that of a supervisor, whose other children are then served with them, as
    `exposition` gives them.
    `listening` is called once, when the addresses are ours. At SIGHUP new workers take the places of the old ones, by
    the settings that `reread` gives then.
    Raises `QueueError`, `BadRegistrySettings` or `BadAllowList` before anything is started when settings can't work.
    """
    early_stop = EarlyStop()
    _check(settings)
    allow_many()
    with nullcontext(folder) if folder else metrics_folder() as metrics:
        _share_metrics(metrics)
        Server(settings, metrics, listening, early_stop, reread, exposition).run()


def _check(settings: IngestSettings) -> None:
    """Raise what each worker would, which opens its own, and of which only would be told that it failed to boot."""
    open_checked(settings)
    open_registry(settings)
    check_allow_file(settings)


def _changes(before: IngestSettings, now: IngestSettings) -> list[str]:
    """The names of what is other than before. Raises `NeedsRestart`."""
    changed = [name for name in type(now).model_fields if _ordered(before, name) != _ordered(now, name)]
    if fixed := ", ".join(name for name in changed if name in _FIXED):
        raise NeedsRestart(f"{fixed}: another value needs a stop and a start")
    return changed


def _ordered(settings: IngestSettings, name: str) -> Any:
    """The value, with its order where it is a table: the first of seal_keys seals."""
    value = getattr(settings, name)
    return list(value.items()) if isinstance(value, dict) else value


def _share_metrics(folder: str) -> None:
    """Have prometheus-client keep its values in files of this folder, whether it was imported already or not."""
    os.environ[_METRICS_DIR_VARIABLE] = folder
    from prometheus_client import values

    choose: Callable[[], Any] = values.get_value_class
    values.ValueClass = choose()

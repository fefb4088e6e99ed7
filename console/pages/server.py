"""gunicorn as a library: the one process that serves the operators' page."""

from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.workers import gasgi

from forebay.console.settings import Settings
from forebay.ingest.metric_files import memory_folder
from forebay.ingest.patience import PatientProtocol
from forebay.ingest.server_log import ServerLog
from forebay.queues.opening import open_checked
from forebay.queues.registry.opening import open_registry

from .app import create_app
from .protocol import PageProtocol

#: A look that is under way at a stop is waited for no longer: whoever waits for it can ask again.
_GRACE_S = 5

#: A process whose loop stands still for so long is replaced.
_STUCK_S = 60

#: A connection that has asked for nothing for so long is closed: whoever holds a thousand of them keeps others out.
_SILENT_S = 10.0


class PageWorker(gasgi.ASGIWorker):  # type: ignore[misc]  # gunicorn has no types
    """The process that serves the pages, whose connections may be neither silent nor unread for ever."""

    def init_process(self) -> None:
        """Have the connections made of our protocol; gunicorn has no setting for it."""
        self.connections: set[PatientProtocol] = set()
        gasgi.ASGIProtocol = PageProtocol
        super().init_process()

    def patience_s(self) -> float:
        """How long a new connection may take to its first request."""
        return _SILENT_S


class Server(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn with our application and our settings; it looks at no file, variable or argument of its own."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        super().__init__()

    def load_config(self) -> None:
        """gunicorn's settings, from ours."""
        chosen = {
            "bind": self._settings.web_bind,
            "workers": 1,
            "worker_class": PageWorker,
            "worker_tmp_dir": str(memory_folder() or "") or None,
            "asgi_lifespan": "off",
            "timeout": _STUCK_S,
            "graceful_timeout": _GRACE_S,
            "control_socket_disable": True,
            "logger_class": ServerLog,
            "accesslog": None,
            "proc_name": "forebay-web",
        }
        for name, value in chosen.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """The application, made in the process that serves it."""
        return create_app(self._settings)


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, and exit the process with 0.

    Raises `QueueError` or `BadRegistrySettings` before anything is started when settings can't work.
    """
    open_checked(settings)
    open_registry(settings)
    Server(settings).run()

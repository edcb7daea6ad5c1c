"""Starting and ending the server."""

from __future__ import annotations

import errno
import socket
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from captum_ext.core.optional import require
from captum_ext.exceptions import ArgumentError
from captum_ext_integrations.viewer.collection import opened
from captum_ext_integrations.viewer.server import Page, photographs_of

_HOST = "127.0.0.1"
_SECONDS = 20.0


def view(folders: Sequence[Path], images: Path | None = None, port: int = 0) -> Serving:
    """Serve the page of runs in this process.

    Raises:
        ArgumentError, RunFolderError: as `captum-ext view`.
    """
    collection = opened(folders)
    return Serving(Page(collection, photographs_of(collection, images)), port).start()


class Serving:
    """A page that is served on this machine, until it is closed or the process ends.

    Args:
        page: what is served.
        port: 0: any that is free.

    Attributes:
        url: the address, with its token.

    Raises:
        ArgumentError: the port is in use.
    """

    def __init__(self, page: Page, port: int = 0) -> None:
        self.page = page
        self._socket = _listening(port)
        self.url = f"http://{_HOST}:{self._socket.getsockname()[1]}/{page.token}/"
        uvicorn: Any = require("uvicorn", "view")
        config = uvicorn.Config(page.app, log_level="critical", lifespan="off", timeout_graceful_shutdown=1)
        self._server: Any = uvicorn.Server(config)
        self._thread: threading.Thread | None = None

    def here(self) -> None:
        """Serve until Ctrl-C."""
        self.page.collection.comparisons.start()
        self._server.run(sockets=[self._socket])

    def start(self) -> Serving:
        """Serve in a thread."""
        self.page.collection.comparisons.start()
        self._server.install_signal_handlers = lambda: None
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True)
        self._thread.start()
        until = time.monotonic() + _SECONDS
        while not self._server.started and self._thread.is_alive() and time.monotonic() < until:
            time.sleep(0.01)
        return self

    def close(self) -> None:
        """End it."""
        self.page.collection.comparisons.stop()
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(_SECONDS)
        self._socket.close()

    def __enter__(self) -> Serving:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _repr_html_(self) -> str:
        """In a notebook on this machine: the page itself."""
        return f'<iframe src="{self.url}" width="100%" height="800" style="border:0" title="captum-ext view"></iframe>'

    def __repr__(self) -> str:
        return f"Serving({self.url!r})"


def _listening(port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((_HOST, port))
        made.listen(128)
    except (OSError, OverflowError) as error:
        made.close()
        if getattr(error, "errno", None) in (errno.EADDRINUSE, errno.EACCES):
            raise ArgumentError("port", "one that is free, or 0 for any that is", f"{port}, which is in use") from error
        raise
    return made

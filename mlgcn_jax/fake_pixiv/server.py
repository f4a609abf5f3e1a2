"""The fake site itself: an HTTP server on loopback."""

import http.server
import socket
import threading
import time
from typing import Any

from mlgcn_jax.fake_pixiv import handler, state


class FakePixiv(state.SiteState):
    """The site; its port is bound at once, and it answers while inside a `with`."""

    def __post_init__(self) -> None:
        """Binds the port."""
        super().__post_init__()
        of_this_site = type("Handler", (handler.Handler,), {"site": self})
        self._server = _Server(("127.0.0.1", self.port), of_this_site)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), daemon=True
        )
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> "FakePixiv":
        """Begins to answer."""
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Stops."""
        self._server.shutdown()
        self._server.server_close()

    def wait(self) -> None:
        """Returns when the site is stopped; Ctrl-C interrupts it."""
        self._thread.join()

    def wait_until_idle(self) -> None:
        """Returns when nobody is connected, and clients that were killed are done with.

        Nothing is added to `requests` from then on, until somebody connects again.
        """
        address = "127.0.0.1", self._server.server_address[1]
        with socket.create_connection(address) as last_in_line:
            while last_in_line.getsockname() not in self._server.clients:
                time.sleep(0.001)
        while self._server.clients:
            time.sleep(0.001)


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: type):
        self.clients: set[Any] = set()  # their addresses
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Notes who is connected, before the thread for it begins."""
        self.clients.add(client_address)
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answers all requests of a connection."""
        super().process_request_thread(request, client_address)
        self.clients.discard(client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing: clients that are killed are part of the play."""

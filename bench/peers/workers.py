"""``python -m bench.peers.workers PORT COUNT``: the peer, with a socket of its own for each worker on the one port.

Uvicorn's own workers share a socket, and the first one awake takes every connection that waits: the other may idle for
as long as those live, which halves the peer. The kernel spreads connections over sockets with SO_REUSEPORT.
"""

from __future__ import annotations

import multiprocessing
import signal
import socket
import sys
from multiprocessing.connection import wait

import uvicorn


def serve(port: int) -> None:
    """Run one worker."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind(("127.0.0.1", port))
    config = uvicorn.Config(
        "bench.peers.service:app",
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
        backlog=4_096,
    )
    uvicorn.Server(config).run(sockets=[listener])


def main(port: int, count: int) -> None:
    """Run the workers until told to stop, or until one of them ends."""
    context = multiprocessing.get_context("spawn")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # which ends the daemons
    started = [context.Process(target=serve, args=(port,), daemon=True) for _ in range(count)]
    for each in started:
        each.start()
    wait([each.sentinel for each in started])
    sys.exit("A worker ended.")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))

"""The process that workers are forked from: `python -m autosinian.measure.zygote LINK PARENT ...`.

It imports once what would take every worker seconds, has one thread and touches no GPU, so that
what it forks is as fresh as a process of its own. `autosinian.measure.forks` is the other side of
`LINK`, a socket that keeps the bounds of messages: JSON in both directions, with a request's file
descriptors beside it.
"""

import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import Any, NoReturn

from autosinian.engine.registry import engine_names
from autosinian.measure import worker

LARGEST_MESSAGE = 1 << 16
MOST_DESCRIPTORS = 64
# An import that never ends must not hold off measurements for ever.
_READY_S = 120


def main(arguments: list[str]) -> NoReturn:
    """Import the modules, say whether workers can be forked, fork until the link is closed.

    `arguments` are the link's descriptor, the parent's id, comma-separated descriptors that are
    let go of once everything is imported, and the modules.
    """
    link = socket.socket(fileno=int(arguments[0]))
    worker.die_with_parent(int(arguments[1]))
    signal.alarm(_READY_S)
    # What cannot be had is told by the job that needs it.
    for name in ("autosinian.measure.loadgen_run", *arguments[3:]):
        with contextlib.suppress(ImportError, OSError):
            importlib.import_module(name)
    engine_names()  # what is installed is looked up once for all
    # Children then neither copy nor search what lies here.
    gc.collect()
    gc.freeze()
    signal.alarm(0)
    for descriptor in filter(None, arguments[2].split(",")):
        os.close(int(descriptor))
    threads = threads_after_a_fork()
    link.send(json.dumps({"ready": os.getpid(), "threads": threads}).encode())
    _serve(link)


def threads_after_a_fork() -> int:
    """Threads of this process that not even a fork has ended.

    Libraries whose threads a child cannot lose in the midst of work end them before each fork and
    start them again when they need them (OpenBLAS, by `pthread_atfork`); they do not count.
    """
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return sum(1 for _ in Path("/proc/self/task").iterdir())


def _serve(link: socket.socket) -> NoReturn:
    while True:
        data, descriptors, _, _ = socket.recv_fds(link, LARGEST_MESSAGE, MOST_DESCRIPTORS)
        if not data:
            os._exit(0)
        request = json.loads(data)
        if "wait" in request:
            _, status = os.waitpid(int(request["wait"]), 0)
            answer: dict[str, Any] = {"code": os.waitstatus_to_exitcode(status)}
        else:
            answer = _fork(link, request["arguments"], descriptors)
            for descriptor in descriptors:
                os.close(descriptor)
        link.send(json.dumps(answer).encode())


def _fork(link: socket.socket, arguments: list[str], descriptors: list[int]) -> dict[str, Any]:
    """Fork a worker; `descriptors` are its stdin, stdout, stderr, and what it is to hold."""
    parent = os.getpid()
    own, childs = os.pipe()
    try:
        child = os.fork()
    except OSError as error:
        os.close(own)
        os.close(childs)
        return {"failed": str(error)}
    if child == 0:
        _become_worker(link, parent, (own, childs), arguments, descriptors)
    os.close(childs)
    os.read(own, 1)  # it has a session of its own now, which may be killed
    os.close(own)
    return {"pid": child}


def _become_worker(
    link: socket.socket,
    parent: int,
    pipe: tuple[int, int],
    arguments: list[str],
    descriptors: list[int],
) -> NoReturn:
    try:
        link.close()
        os.setsid()
        worker.die_with_parent(parent)
        for source, target in zip(descriptors[:3], range(3), strict=True):
            os.dup2(source, target)
            os.close(source)
        for end in pipe:
            os.close(end)
        held = ",".join(map(str, descriptors[3:]))
        known = {"PARENT": str(parent), "HELD": held}
        worker.main([known.get(argument, argument) for argument in arguments])
    except BaseException:  # noqa: BLE001  (a worker's own end, as that of any other program)
        traceback.print_exc()
    sys.stderr.flush()
    os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])

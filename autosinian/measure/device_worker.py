"""The process of one device: `python -m autosinian.measure.device_worker SOCKET MEMORY PARENT`.

It opens a job's engine file on the one GPU that it sees and its own samples, and runs the batches
that `autosinian.measure.device_feed` sends, until its parent is gone.
"""

import json
import mmap
import os
import socket
import sys
import traceback
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from autosinian.engine.protocol import OnDone
from autosinian.engine.registry import get_engine
from autosinian.errors import InputError, TrialFailure
from autosinian.measure import device_link as link_
from autosinian.measure.feed import Feed, open_feed, takes_int8
from autosinian.measure.measurement import Job
from autosinian.measure.samples import Samples
from autosinian.measure.worker import die_with_parent, engine_config


def main(arguments: list[str]) -> NoReturn:
    """Serve until the socket is closed; what ends it otherwise is sent as its last message."""
    link = socket.socket(fileno=int(arguments[0]))
    die_with_parent(int(arguments[2]))
    try:
        _serve(link, int(arguments[1]))
    except BaseException as error:  # noqa: BLE001  (told to the parent)
        _tell(link, error)
    os._exit(0)


def _serve(link: socket.socket, memory_file: int) -> None:
    asked = link_.receive(link)
    if asked is None:
        return
    job = Job.from_dict(json.loads(Path(asked.body.decode()).read_text())["job"])
    engine = get_engine(job.engine["engine"])
    session = engine.open(Path(job.engine_file), engine_config(job.engine))
    hello = {
        "batch_size": session.batch_size,
        "streams": session.streams,
        "depth": session.depth,
        "classes": session.classes,
        "input_shape": session.input_shape,
        "device": engine.device(),
        "versions": dict(engine.versions()),
    }
    link_.send(link, link_.HELLO, body=json.dumps(hello).encode())
    samples = Samples(Path(job.inputs), None, session.input_shape, int8=takes_int8(session))
    shared = link_.receive(link)
    if shared is None:
        return
    memory = mmap.mmap(memory_file, 0)
    slots = link_.Slots(memory, shared.size, session.batch_size, session.classes)
    _Device(link, open_feed(session, samples), samples, slots).serve()
    session.close()


class _Device:
    """Does what the messages say, one after another; batches complete on the engine's threads.

    Two may complete at once: a message is sent whole, and a slot is one batch's alone.
    """

    def __init__(
        self, link: socket.socket, feed: Feed, samples: Samples, slots: link_.Slots
    ) -> None:
        self._link, self._feed, self._samples, self._slots = link, feed, samples, slots
        self._to_load: list[int] = []

    def serve(self) -> None:
        """Until the other side is gone."""
        while (message := link_.receive(self._link)) is not None:
            if message.kind == link_.SUBMIT:
                # Copied: the parent may fill the slot again once the batch is done.
                rows = self._slots.rows[message.slot, : message.size].copy()
                self._feed.submit(rows, self._on_done(message.slot, message.size))
            elif message.kind == link_.INFER:
                rows = self._slots.rows[message.slot, : message.size].copy()
                done = self._on_done(message.slot, message.size)
                done(self._feed.infer(rows), None)
            else:
                self._to_load += np.frombuffer(message.body, np.int64).tolist()
                if message.kind == link_.LOADED:
                    self._samples.release()  # those loaded before
                    self._feed.load(self._to_load)
                    self._to_load = []
                    link_.send(self._link, link_.READY)

    def _on_done(self, slot: int, count: int) -> OnDone:
        def on_done(logits: NDArray[np.float32] | None, error: BaseException | None) -> None:
            try:
                if logits is None:
                    text = _words(error or RuntimeError("the engine gave neither logits nor error"))
                    link_.send(self._link, link_.ERROR, slot, count, text.encode())
                    return
                self._slots.logits[slot, :count] = logits
                link_.send(self._link, link_.DONE, slot, count)
            except OSError:
                pass  # the parent is gone; this process ends at its next message

        return on_done


def _tell(link: socket.socket, error: BaseException) -> None:
    failure: dict[str, Any] = {"kind": "trial", "reason": _words(error), "transient": False}
    if isinstance(error, InputError):
        failure |= {"kind": "input", "reason": str(error)}
    elif isinstance(error, TrialFailure):
        failure |= {"reason": error.reason, "transient": error.transient, "stage": error.stage}
    else:
        traceback.print_exception(error)
    try:
        link_.send(link, link_.FAILED, body=json.dumps(failure).encode())
    except OSError:
        sys.stderr.flush()


def _words(error: BaseException) -> str:
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return text.replace("\n", " ")


if __name__ == "__main__":
    main(sys.argv[1:])

"""Several GPUs serve one LoadGen run: a process for each, fed by the least busy first.

Each process sees its own GPU alone (`autosinian.measure.device_worker`), so that no engine needs to
know of the others. A batch costs two messages of some bytes and no copy but that of its logits.
"""

import json
import mmap
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autosinian.content import write_json
from autosinian.engine.gpu import cuda_environment
from autosinian.engine.protocol import OnDone
from autosinian.errors import AutosinianError, InputError, TrialFailure
from autosinian.measure import device_link as link_
from autosinian.measure.measurement import Job
from autosinian.measure.samples import Samples

# Ends within this or is killed; it frees what it has on its GPU.
_CLOSE_S = 5.0


class DevicesFeed:
    """The `Feed` over all of a job's devices; `infer` runs on every one of them.

    Opens everything: raises `InputError` and `TrialFailure` as opening on one device does. Where a
    device's process fails later, every batch in flight gets that failure, and `submit` raises it.
    """

    def __init__(self, job: Job) -> None:
        self._changed = threading.Condition()
        self._failure: AutosinianError | None = None
        folder = Path(job.output_folder)
        folder.mkdir(parents=True, exist_ok=True)
        job_file = folder / "device_job.json"
        write_json(job_file, {"job": job.to_dict()})
        self._devices = [_Device(index, job.stage, job_file) for index in job.devices]
        for device in self._devices:
            device.open()
        first = self._devices[0]
        self.batch_size, self.input_shape = first.batch_size, first.input_shape
        self.streams = sum(device.streams for device in self._devices)
        self.depth = sum(device.slot_count for device in self._devices)
        self.versions = first.versions
        self.device = f"{len(self._devices)} x {first.device}"  # as `Workers.title`
        labels = None if job.labels is None or job.task else Path(job.labels)
        # Whether int8 is taken, each device's own process tells.
        self.samples = Samples(Path(job.inputs), labels, self.input_shape, int8=True)
        for device in self._devices:
            threading.Thread(
                target=self._listen, args=(device,), name=f"device-{device.index}", daemon=True
            ).start()

    def load(self, indices: list[int]) -> None:
        """Have every device load the samples."""
        wanted = np.array(indices, np.int64)
        self.samples.check(wanted)
        numbers = wanted.tobytes()
        step = 8 * (link_.LARGEST_MESSAGE // 16)
        parts = [numbers[start : start + step] for start in range(0, len(numbers), step)] or [b""]
        for device in self._devices:
            for part in parts[:-1]:
                self._send(device, link_.LOAD, body=part)
            self._send(device, link_.LOADED, body=parts[-1])
        for device in self._devices:
            device.ready.get()
            self._raise_failure()

    def check(self, indices: NDArray[np.int64]) -> None:
        """Raise `IndexError` for an index that is no sample's."""
        self.samples.check(indices)

    def infer(self, indices: NDArray[np.int64]) -> NDArray[np.float32]:
        """Logits of `indices`, `n x classes`, of the first device; the others run it too."""
        found: queue.SimpleQueue[tuple[_Device, NDArray[np.float32] | BaseException]]
        found = queue.SimpleQueue()

        def to(device: _Device) -> OnDone:
            def on_done(logits: NDArray[np.float32] | None, error: BaseException | None) -> None:
                value = error or RuntimeError("no logits") if logits is None else logits.copy()
                found.put((device, value))

            return on_done

        for device in self._devices:
            self._start(link_.INFER, indices, to(device), device)
        results = dict(found.get() for _ in self._devices)
        for value in results.values():
            if isinstance(value, BaseException):
                raise value
        first = results[self._devices[0]]
        assert isinstance(first, np.ndarray)
        return first

    def submit(self, indices: NDArray[np.int64], on_done: OnDone) -> None:
        """Start a batch on the device with the fewest in flight."""
        self._start(link_.SUBMIT, indices, on_done, None)

    def wait(self) -> None:
        """Return when every submitted batch has completed, its callback included."""
        with self._changed:
            while any(device.in_flight for device in self._devices):
                self._changed.wait()
            self._raise_failure()

    def close(self) -> None:
        """End every device's process."""
        self._failure = self._failure or TrialFailure("performance", "the devices are closed")
        for device in self._devices:
            device.close()

    def _start(
        self, kind: bytes, indices: NDArray[np.int64], on_done: OnDone, only: "_Device | None"
    ) -> None:
        devices = self._devices if only is None else [only]
        with self._changed:
            while True:
                self._raise_failure()
                free = [device for device in devices if device.free]
                if free:
                    break
                self._changed.wait()
            device = min(free, key=lambda device: len(device.in_flight))
            slot = device.free.pop()
            device.in_flight[slot] = on_done
        count = len(indices)
        device.slots.rows[slot, :count] = indices
        self._send(device, kind, slot, count)

    def _send(
        self, device: "_Device", kind: bytes, slot: int = 0, count: int = 0, body: bytes = b""
    ) -> None:
        try:
            link_.send(device.link, kind, slot, count, body)
        except OSError:
            # Its end is told, with the reason, by the thread that listens to it.
            with self._changed:
                while self._failure is None:
                    self._changed.wait()
            self._raise_failure()

    def _listen(self, device: "_Device") -> None:
        while (message := link_.receive(device.link)) is not None:
            if message.kind == link_.READY:
                device.ready.put(None)
                continue
            if message.kind == link_.FAILED:
                self._fail(device.failure(message))
                return
            on_done = device.in_flight.get(message.slot)
            if on_done is None:
                return  # another device failed, and everything with it
            if message.kind == link_.DONE:
                on_done(device.slots.logits[message.slot, : message.size], None)
            else:
                on_done(None, RuntimeError(message.body.decode(errors="replace")))
            with self._changed:
                device.in_flight.pop(message.slot, None)
                device.free.append(message.slot)
                self._changed.notify_all()
        if not device.closing:
            self._fail(device.end_failure())

    def _fail(self, failure: AutosinianError) -> None:
        with self._changed:
            if self._failure is not None:
                return
            self._failure = failure
            given = [on_done for d in self._devices for on_done in d.in_flight.values()]
            for device in self._devices:
                device.in_flight.clear()
                device.ready.put(None)
            self._changed.notify_all()
        for on_done in given:
            on_done(None, failure)

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure


class _Device:
    """One device's process, seen from the worker; `in_flight` is what its slots wait for."""

    def __init__(self, index: int, stage: str, job_file: Path) -> None:
        self.index, self._stage = index, stage
        self.link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._memory_file = os.memfd_create(f"device-{index}")
        handles = (theirs.fileno(), self._memory_file)
        # In the worker's process group: whoever ends the group ends this process too.
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "autosinian.measure.device_worker"),
                *(str(handles[0]), str(handles[1]), str(os.getpid())),
            ],
            env={**os.environ, **cuda_environment([index])},
            stdin=subprocess.DEVNULL,
            pass_fds=handles,
        )
        theirs.close()
        link_.send(self.link, link_.OPEN, body=str(job_file).encode())
        self.ready: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.in_flight: dict[int, OnDone] = {}
        self.closing = False

    def open(self) -> None:
        """Wait until the engine file is open there; share memory for its batches."""
        message = link_.receive(self.link)
        if message is None:
            raise self.end_failure()
        if message.kind == link_.FAILED:
            raise self.failure(message)
        hello: dict[str, Any] = json.loads(message.body)
        self.batch_size, self.streams = int(hello["batch_size"]), int(hello["streams"])
        channels, height, width = hello["input_shape"]
        self.input_shape = (int(channels), int(height), int(width))
        self.device, self.versions = str(hello["device"]), dict(hello["versions"])
        # One more than run there: the next lies ready when one completes.
        self.slot_count = int(hello["depth"]) + 1
        self.free = list(range(self.slot_count))
        sizes = (self.slot_count, self.batch_size, int(hello["classes"]))
        os.ftruncate(self._memory_file, link_.slots_bytes(*sizes))
        self.slots = link_.Slots(mmap.mmap(self._memory_file, 0), *sizes)
        os.close(self._memory_file)
        link_.send(self.link, link_.SHARE, 0, self.slot_count)

    def failure(self, message: link_.Message) -> AutosinianError:
        """What its last message says."""
        told: dict[str, Any] = json.loads(message.body)
        if told["kind"] == "input":
            return InputError(f"GPU {self.index}: {told['reason']}")
        return TrialFailure(
            told.get("stage", self._stage),
            f"GPU {self.index}: {told['reason']}",
            transient=bool(told["transient"]),
        )

    def end_failure(self) -> TrialFailure:
        """How it ended without a word."""
        code = self._process.wait()
        if code >= 0:
            return TrialFailure(
                self._stage, f"the process of GPU {self.index} ended with exit code {code}"
            )
        outside = code in (-signal.SIGKILL, -signal.SIGTERM)
        how = "was killed by" if outside else "crashed with"
        name = signal.Signals(-code).name
        reason = f"the process of GPU {self.index} {how} {name}{' from outside' * outside}"
        return TrialFailure(self._stage, reason, transient=outside)

    def close(self) -> None:
        """Have it end."""
        self.closing = True
        self.link.shutdown(socket.SHUT_RDWR)
        try:
            self._process.wait(_CLOSE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

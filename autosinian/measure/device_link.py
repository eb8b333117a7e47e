"""How a worker and the processes of its devices talk: small messages, and slots in shared memory.

Messages go over a Unix socket that keeps their bounds (`SOCK_SEQPACKET`): one byte that says what,
the slot and a size as little-endian int64, then text or numbers where there are any.
"""

import mmap
import socket
import struct
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

HEADER = struct.Struct("<cqq")
LARGEST_MESSAGE = 1 << 16

# To a device.
OPEN, SHARE, LOAD, LOADED, SUBMIT, INFER = b"O", b"M", b"l", b"L", b"s", b"i"
# From a device.
HELLO, READY, DONE, ERROR, FAILED = b"H", b"R", b"D", b"E", b"F"


class Message(NamedTuple):
    """One message; `body` is text in UTF-8 or int64 numbers."""

    kind: bytes
    slot: int
    size: int
    body: bytes


def send(link: socket.socket, kind: bytes, slot: int = 0, size: int = 0, body: bytes = b"") -> None:
    """Send one message whole; a body that is too long is cut short."""
    link.send(HEADER.pack(kind, slot, size) + body[: LARGEST_MESSAGE - HEADER.size])


def receive(link: socket.socket) -> Message | None:
    """The next message, or None where the other side is gone."""
    try:
        data = link.recv(LARGEST_MESSAGE)
    except ConnectionResetError:
        # Told once where the other side ended with messages unread; what it sent still lies here.
        return receive(link)
    except ConnectionError:
        return None
    if not data:
        return None
    kind, slot, size = HEADER.unpack_from(data)
    return Message(kind, slot, size, data[HEADER.size :])


class Slots:
    """Shared memory for `count` batches: `rows[s]` is int64 `batch_size`, `logits[s]` float32
    `batch_size x classes`."""

    def __init__(self, memory: mmap.mmap, count: int, batch_size: int, classes: int) -> None:
        self.rows: NDArray[np.int64] = np.frombuffer(memory, np.int64, count * batch_size).reshape(
            count, batch_size
        )
        self.logits: NDArray[np.float32] = np.frombuffer(
            memory, np.float32, count * batch_size * classes, offset=self.rows.nbytes
        ).reshape(count, batch_size, classes)


def slots_bytes(count: int, batch_size: int, classes: int) -> int:
    """Length in bytes of the memory of `Slots`."""
    return count * batch_size * (8 + 4 * classes)

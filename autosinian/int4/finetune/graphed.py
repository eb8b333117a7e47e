"""A training step that a GPU repeats as one CUDA graph, so that the host need not issue it."""

from collections.abc import Callable

import torch


class GraphedStep:
    """Calls `work`, which reads and writes the same tensors every time; returns before it is done.

    On a GPU the first `EAGER` calls run as they are (libraries choose their algorithms, optimizers
    make their state), then `work` is captured and replayed. Where the capture fails, `say` is told
    so in one line and every call runs as the first ones. On a processor nothing is captured.
    """

    EAGER = 3

    def __init__(
        self,
        work: Callable[[], None],
        device: torch.device,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._work, self._say = work, say
        self._captures = device.type == "cuda"
        self._graph: torch.cuda.CUDAGraph | None = None
        self._stream: torch.cuda.Stream | None = None
        self._calls = 0

    def __call__(self) -> None:
        """Do the work once more."""
        self._calls += 1
        if not self._captures:
            self._work()
        elif self._calls <= self.EAGER:
            self._beside()
        elif self._graph is not None or self._captured():
            assert self._graph is not None
            self._graph.replay()
        else:
            self._work()

    @property
    def captured(self) -> bool:
        """Whether calls replay a graph."""
        return self._graph is not None

    def _beside(self) -> None:
        # Gradients must not be tied to the stream that is never captured.
        if self._stream is None:
            self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        current = torch.cuda.current_stream()
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            self._work()
        current.wait_stream(self._stream)

    def _captured(self) -> bool:
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                self._work()
        except RuntimeError as error:
            torch.cuda.synchronize()
            self._captures = False
            self._say(f"steps run without a CUDA graph: {str(error).splitlines()[0]}")
            return False
        self._graph = graph
        return True

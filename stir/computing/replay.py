"""Steps recorded and replayed on a GPU, where launching many small kernels takes longer than running them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from threading import get_ident
from typing import Any

import torch
from torch import Tensor

WARM_UP = 3  # calls before a step is recorded, in which libraries choose their algorithms and take their memory


class Replayed:
    """A step that is repeated. A GPU records one call as a CUDA graph and repeats that; elsewhere all are plain calls.

    The results are the same, to the last bit. But Python code runs no more once the step is recorded, and all tensors
    must stay where they are in memory: what a step changes, it changes in place. Its arguments are copied to where the
    recorded ones were, and its result is a copy.

    A step that cannot be recorded, as one that waits for the GPU, is called plainly, and so are arguments of other
    shapes than those of the first call.

    Args:
        step: takes tensors on the device and returns one.
        device: where it computes.
        warm_up: calls after which all further ones do the same.
        expected: takes the same tensors, and returns what the step would, computed without changing anything. Where the
            recorded step returns something else, as of a network that draws numbers in Python, it is not used again.
    """

    def __init__(
        self,
        step: Callable[..., Tensor],
        device: torch.device,
        warm_up: int = WARM_UP,
        expected: Callable[..., Tensor] | None = None,
    ) -> None:
        self.step, self.expected = step, expected
        self._device, self._wait = device, max(WARM_UP, warm_up)
        self._stream = _stream(device, get_ident()) if device.type == "cuda" else None
        self._shapes: list[torch.Size] | None = None
        self._graph: Any = None
        self._inputs: Sequence[Tensor] = ()
        self._output: Tensor | None = None
        self.refused = ""  # why the step could not be recorded

    def __call__(self, *inputs: Tensor) -> Tensor:
        shapes = [tensor.shape for tensor in inputs]
        if self._stream is None or shapes != (self._shapes or shapes):
            return self.step(*inputs)
        if self._wait:
            result = self._aside(inputs)
            self._wait, self._shapes = self._wait - 1, shapes
            return result
        if self._graph is not None:
            return self._replay(inputs)
        expected = self.expected and self.expected(*inputs)
        if not self._record(inputs):
            return self.step(*inputs)
        result = self._replay(inputs)
        if expected is None or _same(result, expected):
            return result
        self._stream = self._graph = None
        return expected

    def _aside(self, inputs: Sequence[Tensor]) -> Tensor:
        """Call the step on the stream that records it, as CUDA graphs ask of the calls before."""
        assert self._stream is not None
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            result = self.step(*inputs)
        current.wait_stream(self._stream)
        return result

    def _record(self, inputs: Sequence[Tensor]) -> bool:
        """Record the step, which computes nothing yet; return whether that was possible."""
        self._inputs = [tensor.clone() for tensor in inputs]
        index = self._device.index if self._device.index is not None else torch.cuda.current_device()
        generator = torch.cuda.default_generators[index]
        before = generator.clone_state()
        graph, current = torch.cuda.CUDAGraph(), torch.cuda.current_stream(self._device)
        try:
            # Other threads may go on meanwhile, such as one that draws for the next steps.
            with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
                self._output = self.step(*self._inputs)
        except Exception as error:  # an operation that waits, or that no graph can hold; no memory for a second copy
            self.refused, self._stream, self._inputs = str(error) or type(error).__name__, None, ()
            # Both are left as they were while it recorded, if the recording broke off.
            torch.cuda.set_stream(current)
            generator.graphsafe_set_state(before)
            return False
        self._graph = graph
        return True

    def _replay(self, inputs: Sequence[Tensor]) -> Tensor:
        for place, tensor in zip(self._inputs, inputs, strict=True):
            place.copy_(tensor)
        self._graph.replay()
        assert self._output is not None
        return self._output.clone()


@cache
def _stream(device: torch.device, thread: int) -> torch.cuda.Stream:
    """The stream on which a thread records; one for all its steps, as libraries keep memory for each stream."""
    return torch.cuda.Stream(device)


def _same(result: Tensor, expected: Tensor) -> bool:
    """True if two results are equal; floating-point ones may differ by 1% of their length."""
    if not result.is_floating_point():
        return torch.equal(result, expected)
    return bool((result - expected).norm() <= 1e-2 * expected.norm())

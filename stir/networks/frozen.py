"""A network as a function of its images alone: in eval mode, its weights fixed, its batch norms folded away."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import torch
from torch import Tensor, nn
from torch.func import functional_call

from stir.networks.folding import Pairs, disturbed_tensors, folded_tensors, passing_through, watch_pairs


class Frozen:
    """Passes of a network whose gradients reach the images and nothing else.

    A context manager, which may be entered again: it takes the weights as they then are. The passes run on copies of the
    parameters and buffers. The network gets back its train/eval flags, and loses the shortcuts past its batch norms, on
    leaving, also after an error or an interrupt.

        with Frozen(model, device) as frozen:
            frozen.fold(lambda: frozen(images[:1]))
            logits = frozen(images)

    Args:
        model: any network that takes images [N, C, H, W].
        device: where to compute.
    """

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        self.model, self.device = model, device
        self._pairs: Pairs = {}
        self._running = False

    def __enter__(self) -> Frozen:
        tensors = [*self.model.named_parameters(), *self.model.named_buffers()]
        self._plain = {name: _copied(tensor, self.device) for name, tensor in tensors}
        self.dtype = next((t.dtype for t in self._plain.values() if t.is_floating_point()), torch.float32)
        self._training = {module: module.training for module in self.model.modules()}
        self._shortcuts = ExitStack()
        try:
            self.model.eval()
            self._use(self._pairs, self._plain)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._shortcuts.close()
        for module, training in self._training.items():
            module.training = training
        self._plain = self._tensors = {}

    def __call__(self, images: Tensor, half: bool = False) -> object:
        """The network's output on the device, in its own precision; if `half`, by bfloat16 where PyTorch finds that safe."""
        self._running = True
        try:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
                # Channels last is what convolutions compute in on CPUs and GPUs alike; other layouts they reorder at each layer.
                # A copy in any case, as a network may write into its input.
                images = images.to(self.device, self.dtype, copy=True, memory_format=torch.channels_last)
                return functional_call(self.model, self._tensors, (images,))
        finally:
            self._running = False

    def fold(self, outcome: Callable[[], Tensor], but: nn.Module | None = None) -> None:
        """Fold every batch norm that can be, as long as `outcome()`, which runs a pass, returns what it did; this time and from now on.

        Args:
            but: a convolution to leave alone, whose own output is wanted.
        """
        self._use({}, self._plain)
        with watch_pairs(self.model) as pairs, torch.no_grad():
            plain = outcome()
        pairs.pop(but, None)
        if not pairs or plain.dtype != torch.float32:
            return
        with torch.no_grad():
            # Norms as they are made change next to nothing, wherever they are folded into; these do.
            disturbed = disturbed_tensors(self.model, self._plain, pairs)
            self._use({}, disturbed)
            wanted = outcome()
            self._use(pairs, disturbed)
            # A convolution's output that is used elsewhere too would be scaled there as well; then nothing is folded. That shows
            # far above this bound, and the rounding of a GPU's short floats far below.
            same = close(outcome(), wanted, 1e-2)
        self._use(pairs if same else {}, self._plain)

    def _use(self, pairs: Pairs, tensors: dict[str, Tensor]) -> None:
        self._shortcuts.close()
        self._pairs = pairs
        self._tensors = folded_tensors(self.model, tensors, pairs)
        # Only in passes of this one's own: another may be under way that knows nothing of folding.
        self._shortcuts.enter_context(passing_through(list(pairs.values()), lambda: self._running))


def close(x: Tensor, y: Tensor, tolerance: float) -> bool:
    """Whether x is y up to an error of `tolerance` times the length of y."""
    return bool((x - y).norm() <= tolerance * y.norm())


def _copied(tensor: Tensor, device: torch.device) -> Tensor:
    layout = torch.channels_last if tensor.ndim == 4 else torch.preserve_format
    return tensor.detach().to(device, copy=True, memory_format=layout)

"""Devices that are fast at bfloat16."""

from pathlib import Path

import pytest
import torch

from stir.computing.precision import fast_bf16


def test_fast_bf16_is_what_the_processor_offers():
    flags = Path("/proc/cpuinfo")
    if not flags.exists():
        pytest.skip("needs Linux, which says what the processor offers")
    text = flags.read_text(encoding="utf-8")
    assert fast_bf16(torch.device("cpu")) == ("avx512_bf16" in text or "amx_tile" in text)
    assert not fast_bf16(torch.device("mps"))

"""The optimiser of small networks, with torch's own as the oracle."""

from __future__ import annotations

import subprocess
import sys

import torch

from workers.engine.learners.adamw import AdamW


def test_steps_equal_those_of_torch() -> None:
    start = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    target = torch.arange(15.0).reshape(5, 3)
    ours, theirs = start.clone().requires_grad_(), start.clone().requires_grad_()
    unused = torch.ones(2, requires_grad=True)
    optimisers = AdamW([ours, unused], 0.05, 0.1), torch.optim.AdamW([theirs, unused], lr=0.05, weight_decay=0.1)
    for _ in range(20):
        for weights, optimiser in zip((ours, theirs), optimisers, strict=True):
            optimiser.zero_grad()
            ((weights - target) ** 2).mean().backward()
            optimiser.step()
    assert torch.allclose(ours, theirs, atol=1e-6)
    assert torch.equal(unused, torch.ones(2))


def test_a_step_does_not_import_the_compiler() -> None:
    code = """
import sys, torch
from workers.engine.learners.adamw import AdamW
weights = torch.ones(3, requires_grad=True)
optimiser = AdamW([weights], 0.1, 0.0)
weights.sum().backward()
torch.nn.utils.clip_grad_norm_([weights], 1.0)
optimiser.step()
assert "torch._dynamo" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)

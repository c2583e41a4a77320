"""A memory-augmented learner (Santoro et al., "Meta-learning with memory-augmented neural networks", 2016).

An LSTM reads the labelled rows with their labels and writes each into an external memory, where it was last used least
or beside what it has just read (least recently used access). Other rows find there, by content, what is like them.

Unlike theirs, a slot has an address, which a row alone decides, and a content, which its label decides too: labels come
with their rows, not a step later.

B targets, N rows of which the first S are labelled, D width, M slots.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...bundle.runtime.recurrent import FADE
from .encoder import RowEncoder
from .network import ReadingNetwork


class MannNetwork(ReadingNetwork):
    """Practises on whole episodes, backpropagation through all reads and writes.

    Args:
        width: D.
        slots: M.
    """

    def __init__(self, width: int, slots: int) -> None:
        super().__init__(2 * width)
        self.slots = slots
        self.encoder = RowEncoder(width)
        self.controller = nn.LSTMCell(2 * width + 1, width)
        self.address, self.content = nn.Linear(width, width), nn.Linear(width, width)
        self.gate, self.sharp = nn.Linear(width, 1), nn.Parameter(torch.tensor(1.6))
        self.mean = nn.Linear(2 * width, 1)

    def forward(
        self, cells: Tensor, rows: Tensor, labelled: int, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Of a row, what the controller makes of it and what it finds; and the mean that both say."""
        embedded = self.encoder(cells, rows)
        addresses, contents, hidden, cell = self._write(embedded[:, :labelled], rows[:, :labelled, :1])
        asked = embedded[:, labelled:]
        batch, count, width = asked.shape
        found = self._weights(self.address(asked), addresses) @ contents  # (B, N - S, D)
        inputs = torch.cat([asked, found, torch.zeros(batch, count, 1)], dim=-1).flatten(0, 1)
        state = tuple(part.repeat_interleave(count, dim=0) for part in (hidden, cell))
        out, _ = self.controller(inputs, state)
        read = torch.cat([out.view(batch, count, width), found], dim=-1)
        return read, self.mean(read)[..., 0]

    def about(self) -> dict[str, int]:
        """Slots."""
        return {"slots": self.slots}

    def _write(self, embedded: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Memory after all labelled rows, addresses and contents (B, M, D), and the controller's state, each (B, D)."""
        batch, count, width = embedded.shape
        addresses, contents = torch.zeros(batch, self.slots, width), torch.zeros(batch, self.slots, width)
        hidden, cell = torch.zeros(batch, width), torch.zeros(batch, width)
        used = torch.zeros(batch, self.slots) - 1e-3 * torch.arange(self.slots)  # empty slots come in an order
        keys = self.address(embedded)
        for place in range(count):
            key = keys[:, place]
            reads = self._weights(key[:, None], addresses)[:, 0]  # (B, M)
            found = (reads[:, None] @ contents)[:, 0]
            inputs = torch.cat([embedded[:, place], found, labels[:, place]], dim=-1)
            hidden, cell = self.controller(inputs, (hidden, cell))
            least = functional.one_hot(used.argmin(dim=1), self.slots).float()
            gate = torch.sigmoid(self.gate(hidden))
            writes = gate * reads + (1 - gate) * least
            kept = (1 - least)[:, :, None]
            addresses = addresses * kept + writes[:, :, None] * key[:, None]
            contents = contents * kept + writes[:, :, None] * self.content(hidden)[:, None]
            used = FADE * used + (reads + writes).detach()
        return addresses, contents, hidden, cell

    def _weights(self, keys: Tensor, addresses: Tensor) -> Tensor:
        """(B, N, M), by cosine."""
        cosine = functional.normalize(keys, dim=-1) @ functional.normalize(addresses, dim=-1).transpose(1, 2)
        return torch.softmax(self.sharp.exp() * cosine, dim=-1)

"""Many heads as one: their weights stacked, one batched product for all of them, each optimised as if alone.

The tensors of ordinary heads and of their ordinary torch optimisers become views of the stack, so that whatever reads
or saves a head needs to know nothing of it. The formulas of the optimisers are torch's own, with a rate and a step
count for each head.
"""

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer

from hpc_astrossl.nets.vgg import Head

_STATES = {Adam: ("exp_avg", "exp_avg_sq"), SGD: ("momentum_buffer",)}


class Stack:
    """K heads of the same shape with their optimisers, all Adam or all SGD with Nesterov momentum."""

    def __init__(self, heads: list[Head], optimizers: list[Optimizer]):
        self.heads, self.optimizers = heads, optimizers
        self.first, self.kind = heads[0], type(optimizers[0])
        names = [name for name, _ in self.first.named_parameters()]
        self.weights = {name: self._stacked([head.get_parameter(name) for head in heads]) for name in names}
        self.states = {name: self._stacked_states(name) for name in names}
        for weight in self.weights.values():
            weight.requires_grad_()

    def __call__(self, features: Tensor, keep: Tensor | None = None) -> Tensor:
        """Raw outputs (K, B, outputs) of features (K, B, inputs); ``keep`` (K, B, hidden) says what dropout leaves."""
        weights = self.weights
        hidden = torch.relu(_linear(features, weights["hidden.weight"], weights["hidden.bias"]))
        if keep is not None:
            hidden = hidden * keep / (1 - self.first.dropout)
        return _linear(hidden, weights["output.weight"], weights["output.bias"])

    @torch.no_grad()
    def step(self) -> None:
        """One step of every head's optimiser from the gradients of the stacked weights; then max-norm."""
        for name, weight in self.weights.items():
            update = self._adam if self.kind is Adam else self._sgd
            update(weight, weight.grad, self.states[name], self._steps(name))
            weight.grad = None
        if self.first.max_norm is not None:
            hidden = self.weights["hidden.weight"]
            flat = hidden.view(-1, hidden.shape[2])
            flat.copy_(flat.renorm(p=2, dim=0, maxnorm=self.first.max_norm))

    @torch.no_grad()
    def evaluate(self, features: Tensor, which: list[int], together: int = 1024) -> Tensor:
        """Raw outputs (len(which), N, outputs), on the CPU, of features (N, inputs) by the heads of those numbers."""
        chosen = torch.tensor(which, device=features.device)
        part = {name: weight.index_select(0, chosen) for name, weight in self.weights.items()}
        found = []
        for some in features.split(together):
            hidden = torch.relu(_linear(some.expand(len(which), -1, -1), part["hidden.weight"], part["hidden.bias"]))
            found.append(_linear(hidden, part["output.weight"], part["output.bias"]).cpu())
        return torch.cat(found, dim=1)

    def _stacked(self, tensors: list[nn.Parameter]) -> Tensor:
        whole = torch.stack([tensor.detach() for tensor in tensors])
        for tensor, view in zip(tensors, whole, strict=True):
            tensor.data = view
        return whole

    def _stacked_states(self, name: str) -> dict[str, Tensor]:
        states = [one.state[head.get_parameter(name)] for head, one in zip(self.heads, self.optimizers, strict=True)]
        weight, found = self.weights[name], {}
        for state in states:
            state.setdefault("step", torch.tensor(0.0))
        for key in _STATES[self.kind]:
            found[key] = torch.stack(
                [s[key] if s.get(key) is not None else torch.zeros_like(weight[0]) for s in states]
            )
            for state, view in zip(states, found[key], strict=True):
                state[key] = view
        return found

    def _steps(self, name: str) -> list[float]:
        """Count a step in for each head; the counts."""
        counts = []
        for head, optimizer in zip(self.heads, self.optimizers, strict=True):
            count = optimizer.state[head.get_parameter(name)]["step"]
            count += 1
            counts.append(count.item())
        return counts

    def _per_head(self, values: list[float], like: Tensor) -> Tensor:
        return torch.tensor(values, dtype=like.dtype, device=like.device).view(-1, *[1] * (like.dim() - 1))

    def _adam(self, weight: Tensor, gradient: Tensor, state: dict[str, Tensor], steps: list[float]) -> None:
        group = self.optimizers[0].param_groups[0]
        (beta1, beta2), rates = group["betas"], [one.param_groups[0]["lr"] for one in self.optimizers]
        state["exp_avg"].lerp_(gradient, 1 - beta1)
        state["exp_avg_sq"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        sizes = self._per_head([-rate / (1 - beta1**n) for rate, n in zip(rates, steps, strict=True)], weight)
        roots = self._per_head([(1 - beta2**n) ** 0.5 for n in steps], weight)
        weight.add_((sizes * state["exp_avg"]) / (state["exp_avg_sq"].sqrt() / roots).add_(group["eps"]))

    def _sgd(self, weight: Tensor, gradient: Tensor, state: dict[str, Tensor], _: list[float]) -> None:
        group = self.optimizers[0].param_groups[0]
        rates = self._per_head([-one.param_groups[0]["lr"] for one in self.optimizers], weight)
        if group["momentum"]:
            buffer = state["momentum_buffer"].mul_(group["momentum"]).add_(gradient)
            gradient = gradient.add(buffer, alpha=group["momentum"])
        weight.add_(rates * gradient)


def _linear(features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """(K, B, inputs) × (K, outputs, inputs) + (K, outputs) → (K, B, outputs)."""
    return torch.baddbmm(bias.unsqueeze(1), features, weight.transpose(1, 2))

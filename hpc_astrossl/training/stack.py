"""Many heads as one: their weights stacked, one batched product for all of them, each optimised as if alone.

The tensors of ordinary heads and of their ordinary torch optimisers become views of the stack, so that whatever reads
or saves a head needs to know nothing of it. The optimisers' steps are torch's own fused kernels.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer

from hpc_astrossl.nets.vgg import Head, constrain

_STATES = {Adam: ("exp_avg", "exp_avg_sq"), SGD: ("momentum_buffer",)}


class Stack:
    """K heads of the same shape with their optimisers, all Adam or all SGD with Nesterov momentum."""

    def __init__(self, heads: list[Head], optimizers: list[Optimizer]):
        self.heads, self.optimizers = heads, optimizers
        self.first, self.kind = heads[0], Adam if isinstance(optimizers[0], Adam) else SGD
        names = [name for name, _ in self.first.named_parameters()]
        self.weights = {name: self._stacked([head.get_parameter(name) for head in heads]) for name in names}
        self.states = {name: self._stacked_states(name) for name in names}
        self.gradients = {name: torch.empty_like(weight) for name, weight in self.weights.items()}

    @torch.no_grad()
    def step(self, features: Tensor, keep: Tensor | None, losses: Callable[[Tensor], Tensor]) -> None:
        """One step of every head: forwards, backwards, its optimiser, max-norm.

        ``features`` (K, B, inputs); ``keep`` (K, B, hidden) is what dropout leaves; ``losses`` makes of raw outputs
        (K, B, outputs) the number whose gradient is wanted. Gradients go into buffers that stay: memory that is asked
        for anew in every step costs more than the products.
        """
        weights, gradients = self.weights, self.gradients
        hidden = torch.relu_(_linear(features, weights["hidden.weight"], weights["hidden.bias"]))
        if keep is not None:
            hidden.mul_(keep).div_(1 - self.first.dropout)
        raw = _linear(hidden, weights["output.weight"], weights["output.bias"]).requires_grad_()
        with torch.enable_grad():
            (slope,) = torch.autograd.grad(losses(raw), raw)
        torch.bmm(slope.transpose(1, 2), hidden, out=gradients["output.weight"])
        torch.sum(slope, dim=1, out=gradients["output.bias"])
        back = torch.bmm(slope, weights["output.weight"]).mul_(hidden > 0)  # what dropout took is 0 there, too
        if keep is not None:
            back.div_(1 - self.first.dropout)
        torch.bmm(back.transpose(1, 2), features, out=gradients["hidden.weight"])
        torch.sum(back, dim=1, out=gradients["hidden.bias"])
        self.optimize()

    @torch.no_grad()
    def optimize(self) -> None:
        """Every head's optimiser on ``gradients``, torch's fused kernels on heads of one rate at a time; max-norm."""
        by_rate: dict[float, list[int]] = {}
        for number, one in enumerate(self.optimizers):
            by_rate.setdefault(one.param_groups[0]["lr"], []).append(number)
        for rate, numbers in by_rate.items():
            (self._adam if self.kind is Adam else self._sgd)(rate, numbers)
        if self.first.max_norm is not None:
            constrain(self.weights["hidden.weight"], self.first.max_norm)

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
            state.setdefault("step", torch.zeros((), device=weight.device))
        for key in _STATES[self.kind]:
            found[key] = torch.stack(
                [s[key] if s.get(key) is not None else torch.zeros_like(weight[0]) for s in states]
            )
            for state, view in zip(states, found[key], strict=True):
                state[key] = view
        return found

    def _lists(self, numbers: list[int], key: str) -> list[Tensor]:
        """Tensors of the heads of those numbers, one a head and parameter: weights, gradients, or a state."""
        whole = {"weights": self.weights, "gradients": self.gradients}.get(key) or {
            name: self.states[name][key] for name in self.weights
        }
        return [whole[name][number] for number in numbers for name in self.weights]

    def _adam(self, rate: float, numbers: list[int]) -> None:
        group = self.optimizers[numbers[0]].param_groups[0]
        counts = [
            self.optimizers[number].state[self.heads[number].get_parameter(name)]["step"]
            for number in numbers
            for name in self.weights
        ]
        torch._foreach_add_(counts, 1)
        torch._fused_adam_(
            *(self._lists(numbers, key) for key in ("weights", "gradients", "exp_avg", "exp_avg_sq")), [], counts,
            lr=rate, beta1=group["betas"][0], beta2=group["betas"][1], weight_decay=0.0, eps=group["eps"],
            amsgrad=False, maximize=False,
        )  # fmt: skip

    def _sgd(self, rate: float, numbers: list[int]) -> None:
        group = self.optimizers[numbers[0]].param_groups[0]
        buffers = self._lists(numbers, "momentum_buffer") if group["momentum"] else []
        torch._fused_sgd_(
            *(self._lists(numbers, key) for key in ("weights", "gradients")), buffers, lr=rate,
            weight_decay=0.0, momentum=group["momentum"], dampening=0.0, nesterov=group["nesterov"], maximize=False,
            is_first_step=False,
        )  # fmt: skip


def _linear(features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """(K, B, inputs) × (K, outputs, inputs) + (K, outputs) → (K, B, outputs)."""
    return torch.baddbmm(bias.unsqueeze(1), features, weight.transpose(1, 2))

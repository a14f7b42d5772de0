"""Rows of the table: weights that are damaged, of another network, no numbers, or would run code."""

import json
import pickle
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import save, save_file

from faults import stock
from faults.cases import REFUSED, cut, flip, nothing, spoiling
from hpc_astrossl.nets.vgg import build
from hpc_astrossl.specs.run import ModelSpec


class Code:
    """Leaves the file ``was-here`` in the current folder when it is unpickled."""

    def __reduce__(self):
        return open, ("was-here", "w")


@cache
def tensors() -> dict[str, torch.Tensor]:
    """A whole network's parameters."""
    return build(ModelSpec(hidden=8), shape=(32, 32, 3), outputs=2, seed=0).state_dict()


def added(folder: Path) -> list[str]:
    save_file(tensors(), folder / "mine.safetensors")
    return ["weights", "add", str(folder / "mine.safetensors")]


def pickled(folder: Path) -> list[str]:
    torch.save(tensors(), folder / "mine.pth")
    return ["weights", "add", str(folder / "mine.pth")]


def asked(folder: Path) -> list[str]:
    """The finished run, whose weights a row spoils, is asked."""
    return ["predict", str(stock.copy(folder)), str(folder / "toy"), "--out", str(folder / "answers.csv")]


def with_tensor(name: str, value: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Path], object]:
    """A row's spoiling: one tensor changed."""
    return lambda folder: save_file(tensors() | {name: value(tensors()[name])}, folder / "mine.safetensors")


def without(name: str) -> Callable[[Path], object]:
    kept = {key: value for key, value in tensors().items() if key != name}
    return lambda folder: save_file(kept, folder / "mine.safetensors")


def run_weights(change: Callable[[dict], dict]) -> Callable[[Path], object]:
    """A row's spoiling: the finished run's weights changed."""
    from safetensors.torch import load_file

    def spoil(folder: Path) -> None:
        of_run(folder).write_bytes(save(change(load_file(of_run(folder)))))
        result = of_run(folder).with_name("result.json")
        result.write_text(json.dumps(json.loads(result.read_text()) | {"files": {}}))  # as earlier programs left it

    return spoil


def mine(folder: Path) -> Path:
    return next(folder.glob("mine.*"))


def of_run(folder: Path) -> Path:
    return folder / stock.run().relative_to(stock.workdir()) / "weights.safetensors"


DAMAGED = "not a file of plain weights, or damaged; nothing in it was run"
add, torch_add, predict = (
    spoiling("weights", added),
    spoiling("pickled weights", pickled),
    spoiling("run's weights", asked),
)
CASES = [
    add("truncated", lambda f: cut(mine(f)), REFUSED, DAMAGED),
    add("of zero bytes", lambda f: cut(mine(f), 0), REFUSED, DAMAGED),
    add("a header that claims the whole memory", lambda f: mine(f).write_bytes(b"\xff" * 8 + b"{}"), REFUSED, DAMAGED),
    add("wrong shape", with_tensor("features.2.weight", lambda t: t[:, :, :2].clone()), REFUSED,
        r"features\.2\.weight has shape \(64, 64, 2, 3\), VGG16's is \(64, 64, 3, 3\)"),
    add("a tensor missing", without("features.28.bias"), REFUSED, r"1 of 26 tensors are missing, first feature"),
    add("NaN", with_tensor("features.5.bias", lambda t: t * torch.nan), REFUSED, r"features\.5\.bias holds numbers"),
    add("inf", with_tensor("features.5.bias", lambda t: t + torch.inf), REFUSED, r"features\.5\.bias holds numbers"),
    add("another suffix", lambda f: mine(f).rename(f / "mine.h5"), REFUSED, "no such file"),
    add("a name that leads out of the cache", nothing, REFUSED, r"weights '\.\./\.\./mine'", "--name", "../../mine"),
    torch_add("truncated", lambda f: cut(mine(f)), REFUSED, DAMAGED),
    torch_add("code in a pickle", lambda f: mine(f).write_bytes(pickle.dumps(Code())), REFUSED, DAMAGED),
    torch_add("code among tensors", lambda f: torch.save(tensors() | {"features.0.bias": Code()}, mine(f)), REFUSED,
              DAMAGED),
    torch_add("a list", lambda f: torch.save([1, 2], mine(f)), REFUSED, "expected tensors by name"),
    torch_add("numbers for tensors", lambda f: torch.save(dict.fromkeys(tensors(), 1), mine(f)), REFUSED,
              r"features\.0\.\w+ is int, expected a tensor"),
    torch_add("a flipped bit", lambda f: flip(mine(f), 0.7), REFUSED, DAMAGED),
    predict("truncated", lambda f: cut(of_run(f)), REFUSED, r"weights\.safetensors: damaged"),
    predict("flipped bit", lambda f: flip(of_run(f)), REFUSED, r"weights\.safetensors: damaged: it is not the file"),
    predict("missing", lambda f: of_run(f).unlink(), REFUSED, r"weights\.safetensors: no such file"),
    predict("wrong shape", run_weights(lambda t: t | {"head.hidden.weight": torch.zeros(3, 3)}), REFUSED,
            r"weights\.safetensors: .*head\.hidden\.weight"),
    predict("NaN", run_weights(lambda t: t | {"head.output.bias": t["head.output.bias"] * torch.nan}), REFUSED,
            r"weights\.safetensors: head\.output\.bias holds numbers that are not finite"),
    predict("another network's", run_weights(lambda t: {"weight": torch.zeros(3)}), REFUSED, r"weights\.safetensors: "),
]  # fmt: skip

"""The door to DALI: mirror, scale and put channels first, on the GPU or, by the same pipeline, on the CPU.

Turns and upside-down flips permute pixels and are done where a batch is gathered; the mirror is a per-object argument
of DALI's normalisation and costs nothing there (docs/decisions/flips-and-turns.md).
"""

from collections.abc import Generator, Iterator

import numpy as np
import torch

from hpc_astrossl.errors import InputError
from hpc_astrossl.loading.loader import CAFFE_MEANS, Batch, Loader, Task
from hpc_astrossl.loading.order import Augmentation, Part
from hpc_astrossl.loading.prefetch import ahead

try:
    from nvidia.dali import fn, pipeline_def, types
except ImportError as error:
    raise InputError(
        f"the loader dali needs NVIDIA DALI, which cannot be imported here ({error}); "
        "install hpc_astrossl[train], or use the loader reference"
    ) from None

AHEAD = 3  # finished batches that may wait for the training step


class DaliLoader(Loader):
    """A thread reads, gathers and runs the pipeline ahead of the training step."""

    name = "dali"

    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        largest = -(-self.spec.batch_size // self.size)
        shape = (largest, *self.store.image_shape)
        on_gpu = self.device.type == "cuda"
        self._gathered = torch.from_numpy(np.empty(shape, dtype=self.store.dtype))
        if on_gpu:
            self._gathered = self._gathered.pin_memory()
        self._pipeline = _pipeline(
            dtype=types.UINT8 if self.store.dtype == np.uint8 else types.FLOAT,
            scaling=self.spec.scaling,
            gpu=on_gpu,
            batch_size=largest,
            num_threads=1,  # ranks share the cores with the training itself
            device_id=(self.device.index or 0) if on_gpu else None,
            prefetch_queue_depth=1,  # the thread is the prefetch; a run's inputs are free when it returns
        )
        self._pipeline.build()

    def close(self) -> None:
        super().close()
        self._pipeline = None

    def _batches(self, tasks: Iterator[Task]) -> Iterator[Batch]:
        if self._pipeline is None:
            raise ValueError("the loader is closed")
        made = ahead(self._made(tasks), AHEAD)
        try:
            for part, images in made:
                if images.is_cuda:
                    images.record_stream(torch.cuda.current_stream(images.device))
                yield self._batch(part, images)
        finally:
            made.close()

    def _made(self, tasks: Iterator[Task]) -> Generator[tuple[Part, torch.Tensor], None, None]:
        """Runs in the thread."""
        for task in tasks:
            part, count = task.part, len(task.part.rows)
            if count == 0:  # DALI has no empty batch
                height, width, channels = self.store.image_shape
                yield part, torch.empty((0, channels, height, width), device=self.device)
                continue
            images = self._gathered[:count].numpy()
            self.pixels.take(part.rows, images)
            mirror = np.zeros(count, dtype=np.int32)
            if task.augmentation is not None:
                mirror[:] = permute(images, task.augmentation)
            yield part, self._run_pipeline(images, mirror)

    def _run_pipeline(self, images: np.ndarray, mirror: np.ndarray) -> torch.Tensor:
        if self.device.type != "cuda":
            (out,) = self._pipeline.run(images=images, mirror=mirror)
            return torch.from_dlpack(out.as_tensor())  # no copy: the memory goes back to DALI with the tensor
        # The copy on the device makes the tensor torch's own: DALI would otherwise reuse its memory as soon as Python
        # lets go of it, while kernels queued by the training step may still read it.
        with torch.cuda.device(self.device), torch.cuda.stream(torch.cuda.Stream()):
            (out,) = self._pipeline.run(images=images, mirror=mirror)
            copied = torch.from_dlpack(out.as_tensor()).clone()
            torch.cuda.current_stream().synchronize()
        return copied


def permute(images: np.ndarray, drawn: Augmentation) -> np.ndarray:
    """Turn ``images`` (B, height, width, channels) in place, all but the mirror that remains; return who needs it.

    Every flip-and-turn is a transposition or none, then rows upside down or not, then a mirror or none. A quarter
    turn (``numpy.rot90``) is a transposition, then upside down; a transposition swaps the two kinds of flip.
    """
    odd, half = (drawn.turns & 1).astype(bool), (drawn.turns & 2).astype(bool)
    vertical = np.where(odd, ~drawn.horizontal, drawn.vertical) ^ half
    mirror = np.where(odd, drawn.vertical, drawn.horizontal) ^ half
    if odd.any():
        images[odd] = images[odd].transpose(0, 2, 1, 3)
    if vertical.any():
        images[vertical] = images[vertical, ::-1]
    return mirror


@pipeline_def
def _pipeline(dtype, scaling: str, gpu: bool):
    images = fn.external_source(name="images", dtype=dtype, ndim=3, layout="HWC", no_copy=True)
    mirror = fn.external_source(name="mirror", dtype=types.INT32, ndim=0, no_copy=True)
    means, divisor = {"unit": ([0.0], 255.0), "caffe": (list(CAFFE_MEANS), 1.0), "none": ([0.0], 1.0)}[scaling]
    return fn.crop_mirror_normalize(
        images.gpu() if gpu else images,
        dtype=types.FLOAT,
        output_layout="CHW",
        mean=means,
        std=[divisor],
        mirror=mirror,
    )

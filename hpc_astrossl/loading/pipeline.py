"""The door to DALI: one pipeline, on the GPU or, with ``device_id=None``, on the CPU (written against DALI 2.4).

Decode (encoded images), soften (asinh), flip, turn and warp (one affine matrix an object), scale, channels first.
"""

from dataclasses import dataclass

import numpy as np
import torch

from hpc_astrossl.errors import InputError
from hpc_astrossl.loading.scaling import Scaling

try:
    from nvidia.dali import fn, math, pipeline_def, types
except ImportError as error:
    raise InputError(
        f"the loader dali needs NVIDIA DALI, which cannot be imported here ({error}); "
        "install hpc_astrossl[train], or use the loader vectorised"
    ) from None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a pipeline is built for. ``augmented``: "no", "nearest" (flips and turns) or "linear" (warps too)."""

    device: torch.device
    dtype: np.dtype
    encoded: bool = False
    on_device: bool = False  # the images it is fed with are on the GPU already
    planes_first: bool = False  # and are (channels, height, width)
    augmented: str = "no"
    scaling: Scaling | None = None  # None: decode only, uint8 (B, height, width, 3)


def build(plan: Plan, batch_size: int):
    """The pipeline, built, for up to ``batch_size`` objects."""
    on_gpu = plan.device.type == "cuda"
    pipeline = _pipeline(
        plan,
        batch_size=batch_size,
        num_threads=1,  # ranks share the cores with the training itself
        device_id=(plan.device.index or 0) if on_gpu else None,
        prefetch_queue_depth=1,  # a thread of the loader is the prefetch; inputs are free when a run returns
    )
    pipeline.build()
    return pipeline


def run(pipeline, device: torch.device, **inputs) -> torch.Tensor:
    """The output of one run, the caller's to keep."""
    if device.type != "cuda":
        (out,) = pipeline.run(**inputs)
        return torch.from_dlpack(out.as_tensor())  # no copy: the memory goes back to DALI with the tensor
    # The copy on the device makes the tensor torch's own: DALI would otherwise reuse its memory as soon as Python
    # lets go of it, while kernels queued by the training step may still read it.
    with torch.cuda.device(device), torch.cuda.stream(torch.cuda.Stream()):
        (out,) = pipeline.run(**inputs)
        copied = torch.from_dlpack(out.as_tensor()).clone()
        torch.cuda.current_stream().synchronize()
    return copied


@pipeline_def
def _pipeline(plan: Plan):
    gpu, dtype = plan.device.type == "cuda", types.UINT8 if plan.dtype == np.uint8 else types.FLOAT
    if plan.encoded:
        files = fn.external_source(name="images", dtype=types.UINT8, ndim=1)
        images = fn.decoders.image(files, device="mixed" if gpu else "cpu", output_type=types.RGB)
    else:
        side = "gpu" if plan.on_device else "cpu"
        layout = "CHW" if plan.planes_first else "HWC"
        images = fn.external_source(name="images", device=side, dtype=dtype, ndim=3, layout=layout, no_copy=True)
        images = images.gpu() if gpu and not plan.on_device else images
        images = fn.transpose(images, perm=[1, 2, 0]) if plan.planes_first else images
    if plan.scaling is None:
        return images
    if plan.scaling.soften is not None:
        soft = types.Constant(plan.scaling.soften[None, None], device="gpu" if gpu else "cpu")
        images = fn.reshape(math.asinh(fn.cast(images, dtype=types.FLOAT) * soft), layout="HWC")
        dtype = types.FLOAT
    if plan.augmented != "no":
        linear = plan.augmented == "linear"
        images = fn.warp_affine(
            images,
            matrix=fn.external_source(name="matrix", dtype=types.FLOAT, ndim=2),
            interp_type=types.INTERP_LINEAR if linear else types.INTERP_NN,
            dtype=types.FLOAT if linear else dtype,
        )
    return fn.crop_mirror_normalize(
        images,
        dtype=types.FLOAT,
        output_layout="CHW",
        mean=plan.scaling.subtract.tolist(),
        std=(1 / plan.scaling.multiply.astype(np.float64)).tolist(),
    )

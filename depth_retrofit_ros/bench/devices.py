"""What a GPU can do at most, by its vendor: the inputs of the roofline.

Dense figures: those of advertisements are of sparse matrices, and twice as high. Half precision has its sums in float32.

- GeForce RTX 4090: NVIDIA's white paper on the Ada GPU architecture, appendix A: 165.2 TFLOPS of FP16 with FP32 sums, 82.6 of FP32,
  1,008 GB/s, 72 MiB of L2.
- H100 (SXM5): data sheet, 1,979 TFLOPS of FP16 with sparsity, 67 of FP32, 3.35 TB/s; white paper on Hopper, 50 MiB of L2.
- Jetson Orin: data sheets of the modules, and the technical brief of the Jetson AGX Orin series. AGX Orin 64 GB has 64 tensor cores
  at 1.3 GHz, 170 TOPS of sparse INT8, hence 85 of dense INT8 and half as many of FP16, which is 512 multiplications and additions a
  core and cycle; 5.3 TFLOPS of FP32, 204.8 GB/s. Orin NX 16 GB has 32 of these at 918 MHz, 1.88 TFLOPS of FP32, 102.4 GB/s. That
  is the largest mode of their data sheets; the "super" mode of JetPack 6.2 clocks Orin NX at 1,173 MHz beside the same memory.
- Jetson Thor (T5000): data sheet, 2,070 TFLOPS of sparse FP4, 1,035 of dense FP4, 517 of dense FP8, hence 258.5 of dense FP16;
  2,560 CUDA cores at 1.575 GHz, 273 GB/s. Its 32 MiB of L2 are what the driver tells.

What a launch costs the host is no vendor's figure but an assumption: 5 us on a desktop's processor, twice that and more on
ARM cores.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Device:
    """bandwidth_gbps: of its memory; half_tflops: of tensor cores, dense, sums in float32; float_tflops: float32 without them;
    l2_mb: of its cache; launch_us: what one launch takes the host (assumed)."""

    name: str
    bandwidth_gbps: float
    half_tflops: float
    float_tflops: float
    l2_mb: float
    launch_us: float


def _tensor_tflops(cores: int, per_cycle: int, mhz: float) -> float:
    """per_cycle: multiplications and additions of one core."""
    return cores * per_cycle * mhz / 1e6


ORIN_PER_CYCLE = 512
DEVICES = (
    Device("RTX 4090", 1008.0, 165.2, 82.6, 75.5, 5.0),
    Device("H100 SXM", 3350.0, 989.5, 67.0, 52.4, 5.0),
    Device("Orin NX 16 GB", 102.4, _tensor_tflops(32, ORIN_PER_CYCLE, 918), 1.88, 4.2, 12.0),
    Device("AGX Orin 64 GB", 204.8, _tensor_tflops(64, ORIN_PER_CYCLE, 1300), 5.3, 4.2, 12.0),
    Device("Jetson Thor", 273.0, 258.5, 8.06, 33.6, 10.0),
)

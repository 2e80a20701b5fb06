"""NCSN and NCSNv2 of score_sde_pytorch and of the original code, whose tensors have the same names."""

from collections.abc import Iterator
from typing import Any

from scorejax.models import NCSN, NCSNv2
from scorejax.models.pretrained.layout import Entry
from scorejax.models.pretrained.reference_config import NONLINEARITIES, choice, noise_levels, setting
from scorejax.models.refinenet import RefineNet

# The numbers that the reference gave to its stages down, and to its RefineNet blocks up, in the order of the flow.
_DOWN = {4: ("1", "2", "3", "4"), 5: ("1", "2", "3", "4", "5"), 6: ("1", "2", "3", "31", "4", "5")}
_UP = {4: ("1", "2", "3", "4"), 5: ("1", "2", "3", "4", "5"), 6: ("1", "2", "31", "3", "4", "5")}


def ncsn(config: object) -> NCSN:
    """The network of a configuration with `model.name` "ncsn".

    Raises:
        ConfigError: if a setting is missing or has a value that no network of ours computes.
    """
    return NCSN(**_fields(config), num_levels=int(setting(config, "model.num_scales")))


def ncsnv2(config: object, stages: int) -> NCSNv2:
    """The network of a configuration with `model.name` "ncsnv2_64", "ncsnv2_128" or "ncsnv2_256".

    Args:
        config: the configuration.
        stages: depth of the network: 4, 5 or 6.

    Raises:
        ConfigError: if a setting is missing or has a value that no network of ours computes.
    """
    return NCSNv2(**_fields(config), stages=stages, noise_levels=noise_levels(config))


def _fields(config: object) -> dict[str, Any]:
    choice(config, "model.normalization", {"InstanceNorm++": None})
    return {
        "features": setting(config, "model.nf"),
        "nonlinearity": choice(config, "model.nonlinearity", NONLINEARITIES),
        "centered_input": setting(config, "data.centered"),
        # In PyTorch both are fixed; the configuration cannot change them.
        "interpolation": "bilinear_align_corners",
        "channel_ddof": 1,
    }


def refinenet_entries(module: RefineNet, image_size: int) -> Iterator[Entry]:
    """The layers of the reference network that `module` is; they are the same for every image size."""
    yield from (Entry("begin_conv", "conv_in", "conv"), Entry("normalizer", "norm_out", "instance_norm"))
    yield Entry("end_conv", "conv_out", "conv")
    top = module.stages - 1
    for i, number in enumerate(_DOWN[module.stages]):
        for j in range(2):
            # A first block that halves the image wraps its convolutions.
            halves = j == 0 and 0 < i < top - 1
            yield from _block(f"res{number}.{j}", f"stage_{i}_block_{j}", ".conv" if halves else "")
    for i, number in enumerate(_UP[module.stages]):
        yield from _refine(f"refine{number}", f"refine_{i}", inputs=2 if i else 1, output_units=3 if i == top else 1)


def _block(there: str, here: str, wrapped: str) -> Iterator[Entry]:
    for j in range(2):
        yield Entry(f"{there}.normalize{j + 1}", f"{here}/norm_{j}", "instance_norm")
    yield Entry(f"{there}.conv1", f"{here}/conv_0", "conv")
    yield Entry(f"{there}.conv2{wrapped}", f"{here}/conv_1", "conv")
    yield Entry(f"{there}.shortcut{wrapped}", f"{here}/shortcut", "conv")


def _refine(there: str, here: str, inputs: int, output_units: int) -> Iterator[Entry]:
    for k in range(inputs):
        yield from _units(f"{there}.adapt_convs.{k}", f"{here}/adapt_{k}", 2)
        yield Entry(f"{there}.msf.norms.{k}", f"{here}/fuse_norm_{k}", "instance_norm")
        yield Entry(f"{there}.msf.convs.{k}", f"{here}/fuse_{k}", "conv")
    for k in range(2):
        yield Entry(f"{there}.crp.norms.{k}", f"{here}/pool_norm_{k}", "instance_norm")
        yield Entry(f"{there}.crp.convs.{k}", f"{here}/pool_{k}", "conv")
    yield from _units(f"{there}.output_convs", f"{here}/output", output_units)


def _units(there: str, here: str, count: int) -> Iterator[Entry]:
    for i in range(count):
        for j in range(2):
            yield Entry(f"{there}.{i + 1}_{j + 1}_norm", f"{here}/norm_{i}_{j}", "instance_norm")
            yield Entry(f"{there}.{i + 1}_{j + 1}_conv", f"{here}/conv_{i}_{j}", "conv")

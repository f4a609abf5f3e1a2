"""Topologies, counted costs, and the roofline."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from mlgcn_jax.planning import (
    chips,
    collectives,
    costs,
    devices,
    roofline,
    steps,
)


@pytest.mark.parametrize(
    ("text", "name", "shape", "num_chips"),
    [
        ("v5e:2x4", "v5e", (2, 4), 8),
        ("v5p:2x2x1", "v5p", (2, 2, 1), 4),
        ("h100:8", "h100", (1, 8), 8),
        ("a100:2x8", "a100", (2, 8), 16),
        ("h100:64", "h100", (8, 8), 64),
        ("v5e:16x16", "v5e", (16, 16), 256),
    ],
)
def test_topology(text, name, shape, num_chips):
    topology = chips.parse_topology(text)
    assert topology == chips.Topology(name, shape)
    assert topology.num_chips == num_chips
    assert chips.parse_topology(str(topology)) == topology


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tpu:8", "no chip 'tpu'; use one of v5e, v5p, v6e, a100, h100, h200"),
        ("v5e", "expected numbers after the chip"),
        ("h100:", "expected numbers after the chip"),
        ("h100:0", "expected numbers after the chip"),
        ("v5e:2xx4", "expected numbers after the chip"),
        ("v5e:8", "a grid of two or three"),
        ("h100:2x2x2", "hosts and GPUs of each"),
        ("h100:12", "hosts have 8 GPUs"),
    ],
)
def test_a_topology_that_is_none_is_an_error(text, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        chips.parse_topology(text)


def compile_product(*, num_devices: int) -> tuple:
    """`a.T @ b` with its 64 rows of float32 split over devices."""
    mesh = Mesh(np.asarray(jax.devices()[:num_devices]), ("rows",))
    split, whole = (NamedSharding(mesh, PartitionSpec(x)) for x in ("rows", None))
    a = jax.ShapeDtypeStruct((64, 8), jnp.float32)
    b = jax.ShapeDtypeStruct((64, 16), jnp.float32)
    lowered = jax.jit(
        lambda a, b: a.T @ b, in_shardings=(split, split), out_shardings=whole
    ).lower(a, b)
    return lowered, lowered.compile()


def test_costs_of_a_matrix_product():
    """64 x (8 + 16) numbers in, 8 x 16 out, two operations for each of 64 x 8 x 16."""
    lowered, compiled = compile_product(num_devices=1)
    counted = costs.of_compiled(compiled)
    np.testing.assert_allclose(costs.count_flops(lowered), 2 * 64 * 8 * 16, rtol=1e-3)
    assert counted.bytes_accessed == 4 * (64 * (8 + 16) + 8 * 16)
    assert counted.peak_bytes >= 4 * (64 * (8 + 16) + 8 * 16)
    assert counted.collectives == ()


def test_costs_of_a_product_over_devices_are_those_of_each():
    lowered, compiled = compile_product(num_devices=8)
    counted = costs.of_compiled(compiled)
    of_all = costs.count_flops(lowered)
    np.testing.assert_allclose(of_all, 2 * 64 * 8 * 16, rtol=1e-3)
    (message,) = counted.collectives
    assert (message.kind, message.num_bytes) == ("all-reduce", 4 * 8 * 16)
    assert message.group_size in (8, None)
    # Its eighth in; the product is written, reduced and perhaps copied.
    least = 4 * (64 // 8 * (8 + 16) + 8 * 16)
    assert least <= counted.bytes_accessed <= least + 4 * 4 * 8 * 16


def test_roofline_by_hand():
    """v5e: 197 TFLOP/s, 819 GB/s, 16 GiB; 8 images on 4 chips."""
    topology = chips.parse_topology("v5e:2x2")
    estimate = roofline.estimate(
        topology,
        costs.Costs(819e6, 3 * 2**30, ()),  # 1 ms
        flops=4 * 197e9 * 0.5,  # 0.5 ms on 4 chips
        memory=steps.Memory(2**29, 2**29, 0, 0),
        batch_size=8,
    )
    np.testing.assert_allclose(estimate["images_per_s_bound"], 8 / 1e-3)
    assert estimate["bound_by"] == "memory traffic"
    assert estimate["bytes_per_image"] == 819e6 / 2
    np.testing.assert_allclose(estimate["flops_per_image"], 197e9 / 4)
    assert estimate["fits"]
    assert estimate["largest_batch_per_chip"] == 15  # 15 GiB are left, an image takes 1
    faster = roofline.estimate(
        topology,
        costs.Costs(819e5, 17 * 2**30, ()),
        flops=4 * 197e9,
        memory=steps.Memory(0, 0, 0, 0),
        batch_size=4,
    )
    np.testing.assert_allclose(faster["images_per_s_bound"], 4 / 1e-3)
    assert faster["bound_by"] == "arithmetic"
    assert not faster["fits"]
    assert faster["largest_batch_per_chip"] == 0


def test_messages_can_be_the_bound():
    """Two all-reduces of 200 MB: each 2 x 3/4 x 200 MB over 200 GB/s, 1.5 ms."""
    topology = chips.parse_topology("v5e:2x2")
    message = collectives.Collective("all-reduce", 200_000_000, None)
    estimate = roofline.estimate(
        topology,
        costs.Costs(819e6, 2**30, (message, message)),  # 1 ms
        flops=1.0,
        memory=steps.Memory(0, 0, 0, 0),
        batch_size=8,
    )
    assert estimate["bound_by"] == "messages"
    np.testing.assert_allclose(estimate["step_s_bound"], 3e-3)
    (found,) = estimate["collectives"].items()
    assert found[0] == "all-reduce"
    assert (found[1]["count"], found[1]["bytes"]) == (2, 400_000_000)


def test_hours_by_hand():
    """1000 images in steps of 300 are 3 1/3 steps; two epochs are done after 7."""
    hours = roofline.hours(36.0, batch_size=300, num_examples=1000, num_epochs=2)
    np.testing.assert_allclose(hours["hours_per_epoch_bound"], 0.1 / 3)
    np.testing.assert_allclose(hours["hours_bound"], 0.07)


@pytest.mark.parametrize(
    ("device_kind", "name"),
    [
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("TPU v5 lite", "v5e"),
        ("TPU v5", "v5p"),
        ("NVIDIA H100 PCIe", None),  # another card, with other figures
        ("cpu", None),
    ],
)
def test_a_device_that_is_a_known_chip(device_kind, name):
    assert chips.of_device(device_kind) == (name and chips.CHIPS[name])


def test_every_gpu_has_what_xla_asks():
    gpus = {name for name, chip in chips.CHIPS.items() if chip.platform == "gpu"}
    assert devices.GPU_PROPERTIES.keys() == gpus

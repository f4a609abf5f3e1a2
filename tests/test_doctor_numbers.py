"""What the doctor says of devices that compute right, wrong, or not at all."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from configurations import tiny

from mlgcn_jax.doctor import edge_speed, examination, findings, quick, step
from mlgcn_jax.doctor.numbers import block, convolutions, draws, edges, maps
from mlgcn_jax.doctor.numbers import check as numbers
from mlgcn_jax.models import graph_convolution
from mlgcn_jax.runs import mesh as meshes
from mlgcn_jax.training import train

AGGREGATE = graph_convolution.aggregate


@pytest.fixture
def patched(monkeypatch):
    """Replaces the sums over edges, in programs that are compiled from now on."""

    def patch(aggregate):
        monkeypatch.setattr(graph_convolution, "aggregate", aggregate)
        quick._compiled.cache_clear()

    yield patch
    quick._compiled.cache_clear()


def wrong(nodes, graph):
    return AGGREGATE(nodes, graph) * jnp.float32(1.001)


def wrong_on_device_3(nodes, graph):
    is_3 = jax.lax.axis_index("data") == 3
    return AGGREGATE(nodes, graph) + jnp.where(is_3, 0.01, 0.0).astype(nodes.dtype)


def dead(nodes, graph):
    raise jax.errors.JaxRuntimeError("INTERNAL: the device is lost\nmore")


def statuses(found) -> dict[str, str]:
    return {finding.name: finding.status for finding in found}


def test_devices_that_compute_right_pass():
    quick.check(meshes.create_mesh())


def test_a_wrong_sum_is_refused_by_train(patched, data_dir, tmp_path):
    patched(wrong)
    config = tiny()
    config.data_dir = str(data_dir)
    with pytest.raises(ValueError, match=r"TFRT_CPU_0|cpu:0") as told:
        train.train_and_evaluate(config, tmp_path / "run")
    assert "sums over edges is 0.001 off" in str(told.value)
    assert "mlgcn doctor" in str(told.value)
    assert not (tmp_path / "run" / "config.json").exists()


def test_the_device_that_is_wrong_is_named(patched):
    patched(wrong_on_device_3)
    with pytest.raises(ValueError) as told:
        quick.check(meshes.create_mesh())
    devices = jax.devices()
    assert f"{devices[3]}: sums over edges" in str(told.value)
    assert f"{devices[2]}: " not in str(told.value)


def test_a_wrong_sum_is_a_fault(patched, monkeypatch):
    patched(wrong)
    monkeypatch.setattr(numbers, "_MODULES", (edges,))
    found = list(numbers.check())
    assert found[0].name == "sums over edges"
    assert found[0].status == "fault"
    assert found[0].value == pytest.approx(1e-3, rel=0.05)
    assert "do not train on it" in found[0].advice


def test_a_device_that_dies_in_the_middle_is_a_fault_and_the_rest_goes_on(
    patched, monkeypatch
):
    patched(dead)
    monkeypatch.setattr(numbers, "_MODULES", (edges, draws))
    found = list(numbers.check())
    assert statuses(found) == {
        "sums over edges": "fault",
        "random bits": "ok",
        "normal draws": "ok",
        "gather of rows, outside of jit": "ok",
        "gather of columns, outside of jit": "ok",
    }
    assert found[0].value == "JaxRuntimeError: INTERNAL: the device is lost"
    with pytest.raises(
        ValueError, match=r"cannot compute .*the device is lost.*doctor"
    ):
        quick.check(meshes.create_mesh())
    exam = examination.Examination(process=2)
    exam.look(step.PART, step.check)
    exam.look("next", lambda: iter([findings.Finding("next", "next")]))
    assert [(f.part, f.status, f.process) for f in exam.found] == [
        ("bits", "fault", 2),
        ("next", "ok", 2),
    ]


def test_what_was_found_before_an_error_stays():
    def check():
        yield findings.Finding("part", "first")
        raise OSError("no more")

    exam = examination.Examination(process=0)
    exam.look("part", check)
    assert [f.value for f in exam.found] == [None, "OSError: no more"]


@pytest.mark.parametrize("found", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_a_fault(found):
    one = maps.statistics(np.float32)
    results = tuple(np.stack([e, e]).astype(np.float32) for e in one.expected)
    assert block.errors(one, results) == pytest.approx([0, 0], abs=1e-6)
    results[1][1, 5] = found
    errors = block.errors(one, results)
    assert errors[0] < 1e-6 and errors[1] == np.inf
    finding = numbers.judge(one, errors, ["a", "b"])
    assert (finding.status, finding.value) == ("fault", "not finite")
    assert "wrong on b:" in finding.advice


def test_rows_of_zeros_are_found():
    one = edges.sums(num_labels=20, num_features=8)
    sums, gradient = (np.stack([e]) for e in one.expected)
    gradient[0, 7] = 0
    assert block.errors(one, (sums, gradient))[0] > 0.05


@pytest.mark.parametrize(
    ("platform", "error", "status"),
    [
        ("cpu", 5e-4, "fault"),
        ("gpu", 5e-4, "ok"),  # the factors of TF32 have 11 bits
        ("gpu", 5e-3, "fault"),
        ("tpu", 5e-3, "ok"),
    ],
)
def test_products_are_rounded_as_the_platform_does(
    platform, error, status, monkeypatch
):
    one = convolutions.convolution(1, 1, np.float32)
    monkeypatch.setattr(jax, "default_backend", lambda: platform)
    assert numbers.judge(one, [error], ["a"]).status == status


def test_bfloat16_sums_are_a_warning():
    one = next(b for b in convolutions.blocks() if b.name.endswith("bfloat16"))
    assert numbers.judge(one, [4e-3], ["a"]).status == "ok"
    assert numbers.judge(one, [3e-2], ["a"]).status == "warning"
    assert numbers.judge(one, [1e-1], ["a"]).status == "fault"


def test_convolutions_by_taps_against_the_definition():
    one = convolutions.convolution(3, 2, np.float32)
    x, kernel, d_y = (a.astype(np.float64) for a in one.arguments)
    y, d_x, d_kernel = one.expected
    window = np.zeros((3, 3, 16))  # of output (0, 0): its first row is padding
    window[1:, 1:] = x[1, :2, :2]
    assert y[1, 0, 0, 5] == pytest.approx((window * kernel[..., 5]).sum())
    # Input (0, 0) is seen by output (0, 0) alone, through the middle of the kernel.
    assert d_x[1, 0, 0, 3] == pytest.approx((d_y[1, 0, 0] * kernel[1, 1, 3]).sum())
    assert d_kernel[1, 1, 3, 5] == pytest.approx(
        (x[:, ::2, ::2, 3] * d_y[..., 5]).sum()
    )


@pytest.mark.parametrize(
    ("key", "counter", "expected"),
    [  # the known answers of Random123, threefry2x32 with 20 rounds
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF,) * 2, (0xFFFFFFFF,) * 2, (0x1CB996FC, 0xBB002BE7)),
        (
            (0x13198A2E, 0x03707344),
            (0x243F6A88, 0x85A308D3),
            (0xC4923A9C, 0x483DF7A0),
        ),
    ],
)
def test_threefry_gives_the_known_answers(key, counter, expected):
    first, second = (np.array([word], np.uint32) for word in counter)
    found = draws.threefry_2x32(key, first, second)
    assert tuple(int(word[0]) for word in found) == expected


def test_results_that_differ_in_a_bit_are_told():
    first = {"a": np.float32([1, -0.0])}
    assert step.same_bits("x", first, {"a": np.float32([1, -0.0])}).status == "ok"
    told = step.same_bits("x", first, {"a": np.float32([1, 0.0])})
    assert told.status == "warning"
    assert "deterministic" in told.advice


def test_a_slow_sum_is_told(monkeypatch):
    seconds = iter([(0, 9.0), *[(0, 2.0)] * 3, (0, 9.0), *[(0, 0.05)] * 3])
    monkeypatch.setattr(edge_speed, "_timed", lambda *_: next(seconds))
    found = {f.name: f for f in edge_speed.check() if f.part == "speed"}
    assert [(f.value, f.status) for f in found.values()] == [
        (2.0, "warning"),
        (0.05, "ok"),
    ]

"""Programs that XLA computes wrong on CPUs by default come out right through `jit`.

The forms are those of upstream reports (jax 39103, 39257, 40412) and of products that
are multiplied and reduced, which YNNPACK's fusions compute as garbage.
"""

import ast
import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlgcn_jax.devices import compiler, target_platform, xla_flags

ROOT = pathlib.Path(__file__).parent.parent
RNG = np.random.default_rng(0)
ROOTS = RNG.standard_normal((5, 60, 60)).astype(np.float32)
E = ROOTS @ ROOTS.transpose(0, 2, 1)  # positive definite: sums do not cancel
V = np.arange(1, 6).astype(np.float32)


def times_scalar(e):
    return jnp.sum((e @ jnp.full(e.shape, 2.0, e.dtype)) * e, (1, 2))


def times_runtime_scalar(e, c):
    return jnp.sum((e @ jnp.broadcast_to(c, e.shape)) * e, (1, 2))


def bilinear(e, v):
    wide = jnp.broadcast_to(v[:, None, None], e.shape)
    return jnp.einsum("bij,bjk,bik->b", e, wide, e)


def sum_of_product(e):
    return jnp.sum(e @ e)


def mean_of_product(w, x):
    return jnp.mean(x @ w)


def squared_rows(x):
    """Jax 39103: 0.8 % off from some row on."""
    return jax.vmap(lambda row: jnp.sum((jnp.eye(3) @ row) ** 2))(x)


def sum_over_seven(u, v):
    """Jax 39257 and 40412: a crash, or a loop without end."""
    return jnp.sum(u * v, axis=3)


W, X = (RNG.standard_normal(s).astype(np.float32) for s in ((64, 32), (100, 64)))
ROWS = np.stack([np.arange(32769), *np.zeros((2, 32769))], 1).astype(np.float32)
U7, V7 = RNG.standard_normal((2, 3, 1, 2, 2, 8, 8, 8)).astype(np.float32)
E64 = E.astype(np.float64)

# Form -> arguments, and the answer in float64 by NumPy.
FORMS = {
    "times_scalar": (
        times_scalar,
        (E,),
        (E64.sum(2, keepdims=True) * 2 * E64).sum((1, 2)),
    ),
    "times_runtime_scalar": (
        times_runtime_scalar,
        (E, np.float32(2)),
        (E64.sum(2, keepdims=True) * 2 * E64).sum((1, 2)),
    ),
    "bilinear": (bilinear, (E, V), V * (E64.sum(2) ** 2).sum(1)),
    "gradient_of_sum": (
        jax.grad(sum_of_product),
        (E,),
        E64.sum(2)[:, None, :] + E64.sum(1)[:, :, None],
    ),
    "gradient_of_mean": (
        jax.grad(mean_of_product),
        (W, X),
        np.broadcast_to(X.astype(np.float64).sum(0)[:, None] / 3200, W.shape),
    ),
    "squared_rows": (squared_rows, (ROWS,), ROWS[:, 0].astype(np.float64) ** 2),
    "sum_over_seven": (sum_over_seven, (U7, V7), (U7 * V7.astype(np.float64)).sum(3)),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_that_xla_gets_wrong_are_right(form):
    function, arguments, expected = FORMS[form]
    program = compiler.jit(function).lower(*arguments).compile()
    assert relative_error(program(*arguments), expected) < 1e-5
    # YNNPACK may have a product, but none that it reduces at once.
    assert not re.search(r"\breduce\(", ynn_fusions(program.as_text()))


def ynn_fusions(text: str) -> str:
    """The computations of a compiled program that YNNPACK is given."""
    names = re.findall(r"calls=([\w.%-]+).*__ynn_fusion", text)
    bodies = [re.search(re.escape(n) + r" \(.*?\n}", text, re.S) for n in names]
    assert all(bodies)
    return "\n".join(body[0] for body in bodies if body)


def test_options_reach_xla():
    with pytest.raises(jax.errors.JaxRuntimeError, match="xla_cpu_nonsense"):
        compiler.jit(lambda x: x, on_cpu={"xla_cpu_nonsense": True})(1.0)


def test_reductions_are_not_given_to_ynnpack():
    value = compiler.options()[compiler.YNN_FUSIONS]
    assert not xla_flags.asks_for_reductions(value)


def test_other_platforms_are_told_nothing():
    with target_platform.tracing_for("gpu"):
        assert compiler.options() == {}


def test_nothing_else_compiles():
    """Each program passes through `compiler.jit`, or lacks the options."""
    others = [
        f"{path.name}:{node.lineno}"
        for package in ("mlgcn_jax", "tfds_pixiv")
        for path in (ROOT / package).rglob("*.py")
        if path.name != "compiler.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and node.attr in ("jit", "pmap")
        and isinstance(node.value, ast.Name)
        and node.value.id in ("jax", "nnx")
    ]
    assert others == []


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("-reduce", False),
        ("-individual_dot", True),
        ("+reduce", True),
        ("+dot,-reduce", False),
        ("", False),
        ("individual_dot", False),
        ("individual_dot,reduce", True),
        ("LIBRARY_FUSION_TYPE_REDUCE", True),
    ],
)
def test_what_a_list_of_fusions_asks_for(value, expected):
    assert xla_flags.asks_for_reductions(value) == expected


@pytest.fixture
def user_flags(monkeypatch):
    def set_flags(text):
        compiler._is_set_by_user.cache_clear()
        monkeypatch.setenv("XLA_FLAGS", text)

    yield set_flags
    compiler._is_set_by_user.cache_clear()


def test_flags_of_the_user_are_respected_and_said(user_flags, caplog):
    user_flags(f"--xla_foo --{compiler.YNN_FUSIONS}=+reduce")
    with caplog.at_level("WARNING"):
        assert compiler.YNN_FUSIONS not in compiler.options()
        assert "xla_cpu_opt_preset" in compiler.options()
    (record,) = caplog.records
    assert "computes some products wrong" in record.getMessage()


def test_flags_may_lie_in_a_file(user_flags, tmp_path):
    file = tmp_path / "flags"
    file.write_text("--xla_cpu_prefer_vector_width=256\n--xla_foo=1")
    user_flags(str(file))
    assert "xla_cpu_prefer_vector_width" not in compiler.options()
    assert xla_flags.of_user()["xla_foo"] == "1"


@pytest.mark.parametrize("text", ["--xla_cpu_nonsense=1", "no_such_file"])
def test_malformed_flags_are_told_before_xla_aborts(user_flags, text):
    user_flags(text)
    with pytest.raises(ValueError, match=rf"XLA_FLAGS='{text}' are refused: .*{text}"):
        xla_flags.check()


def test_flags_that_xla_knows_pass(user_flags):
    user_flags("--xla_cpu_enable_fast_math=false")
    xla_flags.check()


def relative_error(found, expected) -> float:
    return float(np.max(np.abs(found - expected)) / np.max(np.abs(expected)))

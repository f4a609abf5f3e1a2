"""Programs that XLA computes wrong on CPUs by default come out right through `jit`.

The forms are those that `mlgcn doctor` tries.
"""

import ast
import pathlib
import re

import jax
import pytest

from mlgcn_jax.devices import compiler, xla_flags
from mlgcn_jax.doctor.numbers import block, reduced_products

ROOT = pathlib.Path(__file__).parent.parent
FORMS = {form.name: form for form in reduced_products.blocks()}


@pytest.mark.parametrize("form", FORMS)
def test_forms_that_xla_gets_wrong_are_right(form):
    function, arguments = FORMS[form].function, FORMS[form].arguments
    program = compiler.jit(function).lower(*arguments).compile()
    assert block.relative_error(program(*arguments), FORMS[form].expected) < 1e-5
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
    assert compiler.options(platform="gpu") == {}


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

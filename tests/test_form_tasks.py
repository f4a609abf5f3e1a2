"""What measure F compares computes the same in each form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlgcn_jax.benchmarks import form_tasks, measures, plain_form_tasks, tasks


@pytest.mark.parametrize("form", ["cpu", "gpu"])
@pytest.mark.parametrize("what", sorted(form_tasks.LAYERS))
def test_a_layer_is_the_plain_one(what: str, form):
    case = {"batch_size": 2, "side": 6, "num_features": 192, "dtype": "float32"}
    results = []
    for one in (form, "plain"):
        function, arguments = form_tasks.LAYERS[what](form=one, **case)
        y, pull_back = jax.jit(lambda *a, f=function: jax.vjp(f, *a))(*arguments)
        results.append(jax.device_get((y, pull_back(jnp.ones_like(y)))))

    def assert_near(found, expected):
        atol = 1e-5 * max(np.abs(expected).max(), 1.0)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=atol)

    jax.tree.map(assert_near, *results)


def test_the_plain_contestant_is_plain(monkeypatch):
    """And ours is of the platform; whole models are handed their form too."""
    seen = []

    def make(*, form):
        seen.append(form)
        return jnp.sin, (1.0,)

    def train(*, form):
        seen.append(form)
        return tasks.Task(tasks.nothing)

    monkeypatch.setattr(form_tasks, "LAYERS", {"max pooling": make})
    monkeypatch.setattr(form_tasks.jax_tasks, "train", train)
    for what in ("max pooling", "train"):
        form_tasks.TASKS["F"](what=what)
        plain_form_tasks.TASKS["F"](what=what)
    assert seen == ["cpu", "plain", "cpu", "plain"]


@pytest.mark.parametrize("platform", ["cpu", "gpu", "tpu"])
def test_every_case_of_the_measure_names_something(platform: str):
    cases = measures.for_platform(platform)["F"].cases
    known = {*form_tasks.LAYERS, "train", "infer"}
    assert {case["what"] for case in cases.values()} == known

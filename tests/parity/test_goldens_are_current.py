"""The goldens are what PyTorch computes today."""

import make_goldens
import numpy as np


def test_the_file_is_what_its_generator_writes():
    with np.load(make_goldens.PATH) as archive:
        kept = dict(archive)
    computed = make_goldens.compute()
    assert kept.keys() == computed.keys()
    for name, value in computed.items():
        np.testing.assert_allclose(kept[name], value, rtol=1e-5, atol=1e-6)

"""Messages between chips: read from programs as printed, timed by hand."""

import numpy as np
import pytest

from mlgcn_jax.planning import chips, collectives


def test_collectives_are_counted_by_their_results():
    """As printed for a TPU and a GPU; of a pair start, done the latter counts.

    all-reduce: 4 x 2 x 3 + 2 x 5 = 34, and 4 x 7 = 28 of the asynchronous one.
    """
    hlo = """
  %all-reduce.1 = (f32[2,3]{1,0:T(2,128)}, bf16[5]{0}) all-reduce(%a, %b), channel_id=1
  %all-reduce-start = f32[7]{0} all-reduce-start(%c), replica_groups=[4,2]<=[8]
  %all-reduce-done = f32[7]{0} all-reduce-done(%all-reduce-start)
  %gather.s = (s32[2]{0}, s32[8]{0}) all-gather-start(%d), replica_groups={{0,1,2},{3}}
  %gather.d = s32[8]{0} all-gather-done((s32[2]{0}, s32[8]{0}) %gather.s), metadata={}
  ROOT %fusion = pred[9]{0} fusion(%all-reduce.1), calls=%computation
"""
    assert collectives.in_program(hlo) == (
        collectives.Collective("all-reduce", 34, None),
        collectives.Collective("all-reduce", 28, 2),
        collectives.Collective("all-gather", 32, 3),
    )


@pytest.mark.parametrize(
    ("groups", "size"),
    [
        ("replica_groups={}", None),
        ("replica_groups={{0,2},{1,3}}", 2),
        ("replica_groups=[2,4]<=[8]", 4),
        ("replica_groups=[2,4]<=[4,2]T(1,0)", 4),
        ("replica_groups=mesh['a'=64,'b'=1] {'a'}, use_global_device_ids=true", 64),
        ("replica_groups=mesh['a'=2,'b'=4] {'a','b'}", 8),
        ("replica_groups=mesh['a'=2,'b'=4] {'a','b':(1)2}", 4),
    ],
)
def test_groups(groups, size):
    hlo = f"%x = f32[1]{{0}} all-reduce(%y), channel_id=1, {groups}, to_apply=%add"
    (found,) = collectives.in_program(hlo)
    assert found.group_size == size


@pytest.mark.parametrize(
    ("topology", "kind", "group", "seconds"),
    [
        # 600 MB; v5e sends 200 GB/s: 3 ms for all of it.
        ("v5e:2x2", "all-reduce", None, 2 * 3 / 4 * 3e-3),
        ("v5e:2x2", "all-reduce", 2, 2 * 1 / 2 * 3e-3),
        ("v5e:2x2", "all-reduce", 1, 0.0),
        ("v5e:2x2", "all-gather", None, 3 / 4 * 3e-3),
        ("v5e:2x2", "reduce-scatter", None, 3 * 3e-3),
        ("v5e:2x2", "all-to-all", None, 3 / 4 * 3e-3),
        ("v5e:2x2", "collective-permute", None, 3e-3),
        # h100: 450 GB/s in a host (4/3 ms for all of it), 50 GB/s from it (12 ms).
        ("h100:8", "all-reduce", None, 2 * 7 / 8 * 4 / 3 * 1e-3),
        # An eighth of what is reduced in each host of two goes through each card.
        ("h100:16", "all-reduce", None, 2 * 15 / 16 * 4 / 3 * 1e-3),
        ("h100:64", "all-reduce", None, 2 * 7 / 8 / 8 * 12e-3),
        ("h100:16", "all-reduce", 8, 2 * 7 / 8 * 4 / 3 * 1e-3),
        ("h100:16", "all-gather", None, 15 / 16 * 4 / 3 * 1e-3),
        ("h100:16", "reduce-scatter", None, 15 * 4 / 3 * 1e-3),
        ("h100:16", "all-to-all", None, 1 / 2 * 12e-3),
    ],
)
def test_seconds_by_hand(topology, kind, group, seconds):
    message = collectives.Collective(kind, 600_000_000, group)
    counted = collectives.seconds(message, chips.parse_topology(topology))
    np.testing.assert_allclose(counted, seconds)

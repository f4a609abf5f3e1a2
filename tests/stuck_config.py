"""The tiny config with a step that is slow fourteen times, and then never ends."""

import pathlib
import sys
import time

SLOW_STEPS = 14
SLOW_S = 0.5


def get_config():
    sys.path.insert(0, str(pathlib.Path(__file__).parent))
    import configurations
    import jax

    from mlgcn_jax.learning.losses import cross_entropy

    calls = []
    loss_of = cross_entropy.sigmoid_cross_entropy

    def wait_for_nobody(loss):
        calls.append(loss)
        time.sleep(SLOW_S if len(calls) <= SLOW_STEPS else 1000)
        return loss

    def slow_loss(logits, labels):
        loss = loss_of(logits, labels)
        shape = jax.ShapeDtypeStruct(loss.shape, loss.dtype)
        waited = jax.pure_callback(wait_for_nobody, shape, jax.lax.stop_gradient(loss))
        return loss + 0 * waited

    cross_entropy.sigmoid_cross_entropy = slow_loss
    return configurations.tiny()

"""Memory is used again when nobody holds the batch, and not before."""

import jax
import numpy as np

from mlgcn_jax.data import batch_memory

SHAPE = (4, 16, 16, 3)


def place_of(array):
    return array.__array_interface__["data"][0]


def test_shape_and_type():
    array = batch_memory.BatchMemory(SHAPE).take()
    assert array.shape == SHAPE
    assert array.dtype == np.uint8
    array[...] = 3  # writable


def test_memory_is_used_again():
    memory = batch_memory.BatchMemory(SHAPE)
    first = memory.take()
    place = place_of(first)
    second = memory.take()
    assert place_of(second) != place
    del first
    assert place_of(memory.take()) == place


def test_a_view_keeps_its_memory():
    memory = batch_memory.BatchMemory(SHAPE)
    first = memory.take()
    place = place_of(first)
    views = [first[1:], first.reshape(-1)[3:], np.asarray(first)[0].T]
    del first
    while views:
        assert place_of(memory.take()) != place
        views.pop()
    places = {place_of(taken) for taken in [memory.take(), memory.take()]}
    assert place in places


def test_an_array_of_jax_keeps_its_content():
    # A device may share the memory of an array: without this a step would see the
    # images of a later one.
    memory = batch_memory.BatchMemory(SHAPE)
    kept = []
    for value in range(20):
        batch = memory.take()
        batch[...] = value
        kept.append(jax.device_put(batch, jax.devices()[0]))
        del batch
    for value, array in enumerate(kept):
        assert np.all(np.asarray(array) == value)


def test_it_outlives_its_owner():
    memory = batch_memory.BatchMemory(SHAPE)
    array = memory.take()
    array[...] = 7
    del memory
    assert np.all(array == 7)

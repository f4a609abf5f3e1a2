"""The search for the largest batch, on memories that a function gives."""

import pytest

from mlgcn_jax.planning import largest_batch


def line(images: int) -> int:
    """One for the state, ten an image: 9 fit into 100."""
    return 1 + 10 * images


def stairs(images: int) -> int:
    """Images in fours, as a compiler that pads would: 8 fit into 100."""
    return 1 + 10 * (-(-images // 4) * 4)


def gives_up(images: int) -> int | None:
    """As the TPU's compiler does where it is too much."""
    return line(images) if line(images) <= 100 else None


def search(memory, *, start: int, max_compilations: int = 20) -> tuple:
    asked = []

    def peak_bytes(images: int) -> int | None:
        asked.append(images)
        return memory(images)

    found = largest_batch.search(
        peak_bytes,
        known={0: 1, start: memory(start)},
        memory_bytes=100,
        max_compilations=max_compilations,
    )
    assert len(asked) == len(set(asked)) == found.compilations
    return found


@pytest.mark.parametrize("memory", [line, stairs, gives_up])
@pytest.mark.parametrize("start", [1, 5, 8, 9, 10, 40])
def test_it_is_found(memory, start):
    found = search(memory, start=start)
    assert found.is_exact
    assert found.fits == {line: 9, stairs: 8, gives_up: 9}[memory]
    assert found.compilations <= 6


def test_where_memory_is_a_line_two_compilations_do():
    assert search(line, start=2).compilations == 2


def test_not_even_one_image():
    found = search(lambda images: 1 + 200 * images, start=4)
    assert (found.fits, found.too_many) == (0, 1)


def test_a_budget_that_is_spent():
    found = search(stairs, start=1, max_compilations=1)
    assert not found.is_exact and found.compilations == 1
    found = search(line, start=2, max_compilations=1)
    assert (found.fits, found.too_many) == (9, None)

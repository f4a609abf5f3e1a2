"""Writes what PyTorch computes, for the tests that run without it.

PYTHONPATH=tests:tests/parity:. python tests/parity/make_goldens.py
"""

import pathlib

import golden_case
import numpy as np
import reference
import torch

PATH = pathlib.Path(__file__).parent.parent / "goldens" / "densenet_tiny.npz"


def compute() -> dict[str, np.ndarray]:
    """Activations and logits in evaluation; gradients and updates as digests."""
    batch = golden_case.make_golden_batch()
    case = reference.make_case("densenet_tiny", batch)
    seen = reference.watch(case)
    with torch.no_grad():
        logits = case.model.eval()(case.image).numpy()
    del seen["conv0"]  # large, and pool0 is made of it
    goldens = {f"stage/{name}": value for name, value in seen.items()}
    goldens["logits"] = logits

    case = reference.make_case("densenet_tiny", batch)
    trained = reference.train(
        case,
        num_steps=golden_case.NUM_STEPS,
        learning_rate=golden_case.LEARNING_RATE,
    )
    goldens["losses"] = np.asarray(trained.losses)
    goldens["gradients"] = golden_case.digest(trained.gradients)
    goldens["updates"] = golden_case.digest(
        {name: trained.weights[name] - case.weights[name] for name in case.weights}
    )
    return {name: value.astype(np.float32) for name, value in goldens.items()}


def main() -> None:
    """Writes the file."""
    np.savez_compressed(PATH, **compute())  # pyright: ignore[reportArgumentType]
    print(f"{PATH}: {PATH.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()

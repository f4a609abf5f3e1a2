"""What learning is, without a loop: losses, augmentations, optimisers."""

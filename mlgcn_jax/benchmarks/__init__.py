"""Side by side with PyTorch, which is imported here alone (`pip install .[torch]`)."""

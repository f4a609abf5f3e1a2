"""One run: its devices, state, checkpoints and folder."""

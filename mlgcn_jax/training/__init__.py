"""Losses, optimiser, the train step and the loop."""

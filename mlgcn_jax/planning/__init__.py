"""The train step compiled for accelerators that are not there: what it costs."""

"""Multi-label recognition of anime illustrations with graph convolutional networks."""

__version__ = "0.1.0"

"""The tiny config as a file, for runs in processes of their own."""

import pathlib
import sys


def get_config():
    sys.path.insert(0, str(pathlib.Path(__file__).parent))
    import configurations

    return configurations.tiny()

"""What processes saw that real launchers had started."""

import pathlib

_FOLDER = pathlib.Path(__file__).with_name("environments")


def recorded(name: str) -> dict[str, str]:
    """Returns the environment variables of a file in tests/environments/."""
    lines = (_FOLDER / f"{name}.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)

"""The keys of a config as a page for people.

python -m mlgcn_jax.schema.page > docs/config.md
"""

import math

from mlgcn_jax.data.options import Option
from mlgcn_jax.schema import keys

_HEAD = """\
# Keys of a config

Written by `python -m mlgcn_jax.schema.page`; the rows are in `mlgcn_jax/schema/keys.py`
and beside the code of heads, losses, optimisers and augmentations. A config starts from
`configs/default.py`; `--config.KEY=VALUE` sets one on the command line. A run goes on
with another value of those marked *; of the others it is another run.

| key | default | range | meaning |
|---|---|---|---|
"""


def to_markdown() -> str:
    """Returns the page."""
    rows = []
    for name, key in sorted(keys.KEYS.items(), key=_section):
        star = " *" if key.may_change else ""
        rows.append(
            f"| `{name}`{star} | `{key.option.default!r}` | {_range(key.option)} | "
            f"{key.option.meaning} |"
        )
    return _HEAD + "\n".join(rows) + "\n"


def _section(row: tuple[str, keys.Key]) -> tuple[bool, str]:
    """Keys of no section first, in the order of their rows."""
    *section, _ = row[0].split(".")
    return bool(section), ".".join(section)


def _range(option: Option) -> str:
    if option.choices:
        return ", ".join(option.choices)
    least, most = (
        "" if math.isinf(end) else str(end) for end in (option.least, option.most)
    )
    return f"{least} to {most}" if least or most else ""


if __name__ == "__main__":
    print(to_markdown(), end="")

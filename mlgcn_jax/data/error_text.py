"""What an error of ours says of somebody else's: one line."""


def first_line(error: BaseException) -> str:
    """Returns the first line of its message, "without a word" where it has none."""
    return (str(error).strip().splitlines() or ["without a word"])[0]


def said(error: BaseException) -> str:
    """Returns its kind and the first line of its message."""
    return f"{type(error).__name__}: {first_line(error)}"

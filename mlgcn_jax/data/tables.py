"""CSV tables that people write by hand."""

import csv
import pathlib
from collections.abc import Sequence


def read_rows(path: pathlib.Path, header: Sequence[str]) -> list[list[str]]:
    """Returns the rows under the header, without space around the cells.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no UTF-8 or no CSV, has another header, or a row has another
            number of columns.
    """
    columns = ",".join(header)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist; give a file with the columns {columns}"
        )
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            table = [row for row in csv.reader(file, strict=True) if row]
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text ({error}); save it so") from error
    except csv.Error as error:
        raise ValueError(f"{path} is not a CSV table: {error}") from error
    if not table or [cell.strip() for cell in table[0]] != list(header):
        found = f"starts with {','.join(table[0])[:80]!r}" if table else "is empty"
        raise ValueError(f"{path} {found}; its first line must be {columns}")
    for row in table[1:]:
        if len(row) != len(header):
            raise ValueError(
                f"{path}: {','.join(row)!r} has {len(row)} columns, not the "
                f"{len(header)} {columns}; a cell may be empty, its comma stays"
            )
    return [[cell.strip() for cell in row] for row in table[1:]]

"""The files of a folder, walked once, and which of them no layout has read yet."""

import os
import pathlib
from collections.abc import Callable, Iterable, Iterator
from typing import NoReturn

from mlgcn_jax.data import folder_contents


class Tree:
    """Names of all files in a folder that are not hidden; layouts claim what they read.

    Attributes:
        folder: The folder.
        checker: Checks the files before they are read.
    """

    def __init__(self, folder: pathlib.Path):
        """Walks through the folder; links to folders are not followed.

        Raises:
            OSError: A folder cannot be listed.
        """
        self.folder = folder
        self.checker = folder_contents.FileChecker(folder)
        # Dictionaries, as sets that keep their order.
        self._files: dict[str, None] = {}
        self._links: dict[str, None] = {}
        self._walk()

    def _walk(self) -> None:
        def fail(error: OSError) -> NoReturn:
            raise error

        files: list[str] = []
        prefix_length = len(os.path.join(self.folder, ""))
        for directory, subfolders, names in os.walk(self.folder, onerror=fail):
            relative = directory[prefix_length:].replace(os.sep, "/")
            prefix = f"{relative}/" if relative else ""
            subfolders[:] = sorted(name for name in subfolders if name[0] != ".")
            for name in subfolders:
                if os.path.islink(os.path.join(directory, name)):
                    self._links[prefix + name] = None
            files += [prefix + name for name in names if name[0] != "."]
        self._files = dict.fromkeys(sorted(files))

    @property
    def files(self) -> list[str]:
        """Unclaimed files, as sorted paths relative to the folder."""
        return list(self._files)

    @property
    def links(self) -> list[str]:
        """Unclaimed links to folders, relative to the folder."""
        return list(self._links)

    def claim(self, files: Iterable[str]) -> None:
        """Takes files out of those that other layouts see."""
        for file in files:
            self._files.pop(file, None)

    def claim_indexes(self, is_index: Callable[[str], bool]) -> Iterator[str]:
        """Yields files that describe all of their folder, and claims the folder.

        The shallowest come first; those in a folder that is claimed do not come.
        """
        indexes = filter(is_index, self.files)
        for file in sorted(indexes, key=lambda file: (file.count("/"), file)):
            if file in self._files:
                directory = os.path.dirname(file)
                prefix = f"{directory}/" if directory else ""
                self._files = _without(self._files, prefix)
                self._links = _without(self._links, prefix)
                yield file


def stem(file: str) -> str:
    """Returns the path of a file without its suffix."""
    return os.path.splitext(file)[0]


def suffix(file: str) -> str:
    """Returns the suffix of a file in lower case, with its dot."""
    return os.path.splitext(file)[1].lower()


def _without(files: dict[str, None], prefix: str) -> dict[str, None]:
    return {file: None for file in files if not file.startswith(prefix)}

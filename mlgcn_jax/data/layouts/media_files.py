"""Finds the pictures (and videos) that a JSON file belongs to, by their names."""

import collections
import os
from collections.abc import Sequence

from mlgcn_jax.data import images
from mlgcn_jax.data.layouts import file_names, tree

_NO_MEDIA = frozenset({".json", ".jsonl", ".txt", ".csv", ".part"})
# The second is Danbooru's own JSON, as DanbooruDownloader names it.
_JSON_ENDINGS = (".json", "-danbooru.json")


class MediaFiles:
    """Names of files, by all that one may look for."""

    def __init__(self, files: Sequence[str]):
        """Sorts the files; those that hold metadata are left out."""
        media = [file for file in files if tree.suffix(file) not in _NO_MEDIA]
        self._files = frozenset(media)
        # Where two files differ in the suffix only, the picture comes first.
        media.sort(key=lambda file: (tree.suffix(file) not in images.SUFFIXES, file))
        self._by_stem: dict[str, str] = {}
        self._by_work: dict[tuple[str, str], list[tuple[int, str]]] = (
            collections.defaultdict(list)
        )
        for file in media:
            self._by_stem.setdefault(tree.stem(file), file)
            if name := file_names.parse(file):
                self._by_work[name.site, name.number].append((name.page, file))

    def of_json(self, json_file: str) -> str | None:
        """Returns the file, if any, of `cat.png.json` or `cat.json`: `cat.png`.

        It lies beside the JSON, or one folder up: JSON is often kept in a subfolder.
        """
        for ending in _JSON_ENDINGS:
            if json_file.lower().endswith(ending):
                beside = json_file[: -len(ending)]
                directory, name = os.path.split(beside)
                above = os.path.join(os.path.dirname(directory), name)
                for described in (beside, above):
                    if file := self._named(described):
                        return file
        return None

    def _named(self, described: str) -> str | None:
        """Returns the file of this name, with another suffix or with any."""
        if described in self._files:
            return described
        if described in self._by_stem:
            return self._by_stem[described]
        # gallery-dl changes suffixes to what the server sent: cat.png is cat.jpg then.
        if tree.suffix(described) in images.SUFFIXES:
            return self._by_stem.get(tree.stem(described))
        return None

    def of_work(self, directory: str, site: str, number: str) -> list[tuple[int, str]]:
        """Returns sorted (page, file) of a work, in a directory and below it."""
        prefix = f"{directory}/" if directory else ""
        pages = self._by_work.get((site, number), [])
        return sorted((page, file) for page, file in pages if file.startswith(prefix))

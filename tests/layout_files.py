"""Files of crawl folders in all layouts, for the tests."""

import json

# As gallery-dl stores a work of Pixiv.
WORK = {"category": "pixiv", "id": 12, "num": 0, "tags": ["猫"], "title": "Cat"}


def add_file(folder, name, content=b"picture"):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def add_json(folder, name, entry):
    return add_file(folder, name, json.dumps(entry).encode())


def add_lines(folder, name, *lines):
    """Writes JSON lines: objects as JSON, bytes as they are."""
    encoded = [
        line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines
    ]
    return add_file(folder, name, b"\n".join(encoded) + b"\n")


def tags_of(pictures):
    """(id, page) -> tags."""
    found = {(picture.id, picture.page): picture.tags for picture in pictures}
    assert len(found) == len(pictures)
    return found


def reasons_of(rejects):
    """File -> reason."""
    found = {reject.file: reject.reason for reject in rejects}
    assert len(found) == len(rejects)
    return found

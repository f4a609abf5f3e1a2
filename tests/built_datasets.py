"""What a build has written, for the tests."""

import csv
import hashlib
import json


def file_hashes(directory):
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in directory.iterdir()
    }


def examples(data):
    return [*data.examples("train"), *data.examples("validation")]


def read_csv(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def read_build(data):
    return json.loads((data.directory / "build.json").read_text(encoding="utf-8"))

"""Makes the folders beside this file by running gallery-dl against servers on loopback.

    pip install gallery-dl==1.32.18      # in an environment of its own: GPL-2.0-only
    PYTHONPATH=. python tests/gallery_dl/make_fixtures.py PYTHON_OF_THAT_ENVIRONMENT

gallery-dl is a separate program here; nothing of the project imports it, and the tests
read only what it left behind. Its hosts are hard-coded, so `loopback/sitecustomize.py`
sends its requests to the fake Pixiv and to the few lines of Danbooru below.
"""

import datetime
import hashlib
import http.server
import io
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
from typing import Any

from PIL import Image

from mlgcn_jax.fake_pixiv import server, world

HERE = pathlib.Path(__file__).parent
PORT = 45317  # stands in the metadata, which shall be the same when made anew
MAID, CAT_EARS, ORIGINAL = (
    ("メイド", "maid"),
    ("猫耳", "cat ears"),
    ("オリジナル", "original"),
)
POPULAR = ("猫耳1000users入り", "cat ears 1000+ bookmarks")
UNTRANSLATED = ("Fate/GrandOrder", "")
PIXIV_WORKS = {  # id -> tags, pages
    81000001: ([MAID, CAT_EARS, POPULAR], 1),
    81000002: ([MAID, ORIGINAL], 2),
    81000003: ([CAT_EARS, UNTRANSLATED], 1),
    81000004: ([MAID, ("黒髪", "black hair")], 1),
}
SEARCH = (
    "https://www.pixiv.net/tags/{}/artworks?s_mode=s_tag_full&order=date"
    "&scd=2020-01-01&ecd=2020-12-01"
)
METADATA = {"name": "metadata"}
# Folder -> what gallery-dl is told, and for what.
PIXIV_FOLDERS: dict[str, tuple[dict[str, Any], list[str]]] = {
    # --write-metadata --write-tags --write-info-json, two searches that overlap
    "pixiv_searches": (
        {
            "postprocessors": [
                METADATA,
                {"name": "metadata", "mode": "tags"},
                {"name": "metadata", "event": "init", "filename": "info.json"},
            ]
        },
        [SEARCH.format("メイド"), SEARCH.format("猫耳")],
    ),
    "pixiv_original_tags": (
        {"tags": "original", "postprocessors": [METADATA]},
        [SEARCH.format("メイド")],
    ),
    "pixiv_translated_tags": (
        {
            "tags": "translated",
            "postprocessors": [{"name": "metadata", "extension-format": "json"}],
        },
        [SEARCH.format("メイド")],
    ),
    "pixiv_works": (
        {
            "postprocessors": [
                {"name": "metadata", "event": "post", "filename": "{id}.json"}
            ]
        },
        [SEARCH.format("メイド")],
    ),
    "pixiv_lines": (
        {"postprocessors": [{"name": "metadata", "mode": "jsonl"}]},
        [SEARCH.format("メイド")],
    ),
    "pixiv_tag_files": (
        {"postprocessors": [{"name": "metadata", "mode": "tags"}]},
        [SEARCH.format("メイド")],
    ),
}
DANBOORU_FOLDERS: dict[str, dict[str, Any]] = {
    "danbooru": METADATA,
    "danbooru_lines": {"name": "metadata", "mode": "jsonl"},
}
DANBOORU_TAGS = {  # id -> general tags, character tags, meta tags
    5000001: ("1girl cat_ears maid", "", "highres"),
    5000002: ("1girl black_hair", "hatsune_miku", "absurdres highres"),
    5000003: ("no_humans scenery", "", ""),
}


def picture(seed: int) -> bytes:
    """A tiny PNG, another one for each seed."""
    colour = tuple(hashlib.md5(str(seed).encode()).digest()[:3])
    buffer = io.BytesIO()
    Image.new("RGB", (16, 12), colour).save(buffer, "PNG")
    return buffer.getvalue()


def pixiv_world(scratch: pathlib.Path) -> world.World:
    works = []
    for number, (tags, num_pages) in PIXIV_WORKS.items():
        pages = [scratch / f"{number}_{page}.png" for page in range(num_pages)]
        for page, file in enumerate(pages):
            file.write_bytes(picture(number + page * 100))
        works.append(
            world.FakeWork(
                id=number,
                user_id=1003,
                created=datetime.datetime(2020, 5, number % 10, tzinfo=world.JST),
                tags=tags,
                title=f"work {number}",
                pictures=pages,
                num_pages=num_pages,
            )
        )
    return world.World(works)


class Danbooru(http.server.BaseHTTPRequestHandler):
    """One page of posts and their pictures."""

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""

    def do_GET(self) -> None:
        if self.path.startswith("/posts.json"):
            body = json.dumps([self.post(number) for number in DANBOORU_TAGS]).encode()
        else:
            (body,) = (
                picture(number)
                for number in DANBOORU_TAGS
                if hashlib.md5(picture(number)).hexdigest() in self.path
            )
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def post(self, number: int) -> dict[str, Any]:
        general, character, meta = DANBOORU_TAGS[number]
        md5 = hashlib.md5(picture(number)).hexdigest()
        return {
            "id": number,
            "created_at": "2020-05-01T00:00:00.000-04:00",
            "source": f"https://example.org/{number}",
            "md5": md5,
            "rating": "g",
            "image_width": 16,
            "image_height": 12,
            "file_ext": "png",
            "file_url": f"https://cdn.donmai.us/original/{md5}.png",
            "tag_string": " ".join(filter(None, (general, character, meta))),
            "tag_string_general": general,
            "tag_string_character": character,
            "tag_string_copyright": "",
            "tag_string_artist": "",
            "tag_string_meta": meta,
        }


def run_gallery_dl(
    python: str, folder: pathlib.Path, servers: dict[str, str], config: dict, urls: list
) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    with tempfile.TemporaryDirectory() as scratch:
        settings = pathlib.Path(scratch) / "settings.json"
        settings.write_text(json.dumps(config), encoding="utf-8")
        environment = os.environ | {
            "PYTHONPATH": str(HERE / "loopback"),
            "LOOPBACK": json.dumps(servers),
        }
        command = [python, "-m", "gallery_dl", "--config-ignore", "-c", str(settings)]
        subprocess.run(
            [*command, "-d", str(folder), *urls], env=environment, check=True
        )


def main() -> None:
    (python,) = sys.argv[1:]
    with tempfile.TemporaryDirectory() as scratch:
        with server.FakePixiv(pixiv_world(pathlib.Path(scratch)), port=PORT) as site:
            hosts = ("app-api.pixiv.net", "oauth.secure.pixiv.net", "i.pximg.net")
            servers = dict.fromkeys(hosts, site.url)
            for name, (settings, urls) in PIXIV_FOLDERS.items():
                pixiv = {"refresh-token": server.REFRESH_TOKEN, **settings}
                config = {"extractor": {"pixiv": pixiv}, "cache": {"file": None}}
                run_gallery_dl(python, HERE / name, servers, config, urls)
    danbooru = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Danbooru)
    threading.Thread(target=danbooru.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{danbooru.server_address[1]}"
    servers = {"danbooru.donmai.us": address, "cdn.donmai.us": address}
    for name, postprocessor in DANBOORU_FOLDERS.items():
        config = {"extractor": {"postprocessors": [postprocessor]}}
        urls = ["https://danbooru.donmai.us/posts?tags=maid"]
        run_gallery_dl(python, HERE / name, servers, config, urls)
    danbooru.shutdown()


if __name__ == "__main__":
    main()

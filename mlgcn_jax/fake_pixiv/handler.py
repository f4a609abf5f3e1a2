"""What the fake site answers, and how it breaks off where a fault is due.

Answers have the shapes and limits that are known of the app API of Pixiv: pages of 30,
an offset of at most 5,000, one-sided windows cut to a year, pictures only with a
Referer, access tokens that expire.
"""

import datetime
import email.utils
import http.server
import json
import re
import socket
import struct
import time
import urllib.parse
from typing import Any

from mlgcn_jax.fake_pixiv import faults, state, world

SPAN_LIMIT_S = 365 * 86_400
REFERER = "https://app-api.pixiv.net/"
_NAME = re.compile(r"/(\d+)-([0-9a-f]{32})_p(\d+)(?:_\w+)?\.jpg$")
_DRIP_S = 0.05


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers the requests of one connection.

    Attributes:
        site: Set by a class of each site's own.
    """

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # header and body leave together
    site: state.SiteState

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: there is the log of the site."""

    def do_POST(self) -> None:
        """Gives access tokens."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        form = urllib.parse.parse_qs(body.decode())
        self._begin()
        if urllib.parse.urlsplit(self.path).path != "/auth/token":
            return self._json("token", self.path, 404, _error("no such endpoint"))
        if self._has_fault("token", "", None):
            return None
        given = self.site.give_token(form.get("refresh_token", [""])[0])
        if given is None:
            return self._json("token", "refused", 400, _DEAD_TOKEN)
        return self._json("token", "given", 200, {"response": given, **given})

    def do_GET(self) -> None:
        """Answers everything else."""
        self._begin()
        url = urllib.parse.urlsplit(self.path)
        query = {k: v[0] for k, v in urllib.parse.parse_qs(url.query).items()}
        if url.path == "/v1/search/illust":
            self._search(query)
        elif url.path == "/v1/illust/detail":
            self._detail(query)
        else:
            self._image(url.path)

    def _begin(self) -> None:
        if self.site.latency_s:
            time.sleep(self.site.latency_s)

    def _search(self, query: dict[str, str]) -> None:
        offset = int(query.get("offset", 0))
        start, end = _window(query)
        about = f"{query.get('word')} {start} {end} {offset}"
        if self._has_fault("search", about, None) or not self._is_known(
            "search", about
        ):
            return
        if offset > self.site.offset_cap:
            message = {"offset": [f"Offset must be no more than {state.OFFSET_CAP}"]}
            return self._json("search", about, 400, _error(json.dumps(message)))
        found = self.site.world.search(query.get("word", ""), start, end)
        if query.get("sort", "date_desc") == "date_desc":
            found = found[::-1]
        if query.get("search_ai_type") == "0":
            found = [w for w in found if w.changes.get("illust_ai_type") != 2]
        works = found[offset : offset + self.site.page_size]
        following = offset + self.site.page_size
        next_url = None
        if following < len(found) or self.site.repeats_next_url:
            at = following if following < len(found) else offset
            parameters = urllib.parse.urlencode({**query, "offset": at})
            next_url = f"https://app-api.pixiv.net/v1/search/illust?{parameters}"
        answer = {
            "illusts": [work.to_json(self.site.url) for work in works],
            "next_url": next_url,
            "search_span_limit": SPAN_LIMIT_S,
            "show_ai": query.get("search_ai_type") == "1",
        }
        return self._json("search", about, 200, answer)

    def _detail(self, query: dict[str, str]) -> None:
        id_ = int(query.get("illust_id", 0))
        if self._has_fault("detail", str(id_), id_) or not self._is_known(
            "detail", str(id_)
        ):
            return
        work = self.site.world.works.get(id_)
        if work is None or work.is_deleted:
            return self._json("detail", str(id_), 404, _error("not found"))
        answer = {"illust": work.to_json(self.site.url)}
        return self._json("detail", str(id_), 200, answer)

    def _image(self, path: str) -> None:
        match = _NAME.search(path)
        id_, page = (int(match[1]), int(match[3])) if match else (0, 0)
        about = f"{id_} {page}"
        if self._has_fault("image", about, id_):
            return
        work = self.site.world.works.get(id_)
        if self.headers.get("Referer") != REFERER:
            self._answer("image", about, 403, b"Forbidden", "text/plain")
        elif (
            work is None
            or work.is_deleted
            or page >= work.num_pages
            or work.file_name(page) not in path
        ):
            self._answer("image", about, 404, b"Not Found", "text/plain")
        else:
            self._answer("image", about, 200, work.picture(page), "image/jpeg")

    def _is_known(self, endpoint: str, about: str) -> bool:
        if self.site.takes(self.headers.get("Authorization", "")):
            return True
        self._json(endpoint, about, 400, _EXPIRED)
        return False

    def _json(self, endpoint: str, about: str, status: int, answer: Any) -> None:
        body = json.dumps(answer).encode()
        self._answer(endpoint, about, status, body, "application/json")

    def _answer(
        self,
        endpoint: str,
        about: str,
        status: int,
        body: bytes,
        kind: str,
        **headers: str,
    ) -> None:
        # Before it is sent: whoever has the answer finds it in the log.
        self.site.record(endpoint, about, status)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def _has_fault(
        self, endpoint: faults.Endpoint, about: str, work_id: int | None
    ) -> bool:
        effect = self.site.next_fault(endpoint, work_id)
        if effect is None:
            return False
        if effect == "429 seconds":
            self._answer(endpoint, about, 429, b"", "text/plain", Retry_After="1")
        elif effect == "429 date":
            date = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=2)
            after = email.utils.format_datetime(date, usegmt=True)
            self._answer(endpoint, about, 429, b"", "text/plain", Retry_After=after)
        elif effect == "rate limit":
            self._json(endpoint, about, 403, _error("Rate Limit"))
        elif effect == "server error":
            self._answer(endpoint, about, 500, b"oops", "text/plain")
        elif effect == "html":
            page = b"<html><body>Just a moment...</body></html>"
            self._answer(endpoint, about, 200, page, "text/html")
        elif effect == "garbage":
            self._answer(endpoint, about, 200, bytes(range(256)) * 40, "image/jpeg")
        elif effect == "expired":
            self._json(endpoint, about, 400, _EXPIRED)
        elif effect == "dead token":
            self._json(endpoint, about, 400, _DEAD_TOKEN)
        elif effect == "redirect":
            self._answer(
                *(endpoint, about, 302, b"", "text/plain"),
                Location="http://127.0.0.2:9/elsewhere",
            )
        elif effect == "cut":
            assert work_id is not None
            whole = self.site.world.works[work_id].picture(0)
            self._answer(endpoint, about, 200, whole[: len(whole) // 2], "image/jpeg")
        else:
            self.site.record(endpoint, about, 0)
            self._break_off(effect)
        return True

    def _break_off(self, effect: faults.Effect) -> None:
        """Sends an answer that does not end as it should, and closes."""
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", "image/jpeg")
        if effect != "endless":
            self.send_header("Content-Length", "1000")
        self.send_header("Connection", "close")
        if effect == "drip of headers":
            self.flush_headers()
        else:
            self.end_headers()
            self.wfile.write(b"\xff\xd8\xff")
        self.wfile.flush()
        if effect == "reset":
            linger = struct.pack("ii", 1, 0)  # closing sends RST
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        while effect == "endless":
            self.wfile.write(bytes(65_536))
        while effect in ("drip", "drip of headers"):
            self.wfile.write(b"x")
            self.wfile.flush()
            time.sleep(_DRIP_S)


def _window(query: dict[str, str]) -> tuple[datetime.date, datetime.date]:
    """Returns the days that a search shows, cut to a year as the site does it."""
    year = datetime.timedelta(seconds=SPAN_LIMIT_S)
    today = datetime.datetime.now(world.JST).date()
    end = datetime.date.fromisoformat(query.get("end_date") or today.isoformat())
    if not query.get("start_date"):
        return end - year, end
    start = datetime.date.fromisoformat(query["start_date"])
    return max(start, end - year), end


def _error(message: str) -> dict[str, Any]:
    return {
        "error": {
            "user_message": "",
            "message": message,
            "reason": "",
            "user_message_details": {},
        }
    }


_EXPIRED = _error(
    "Error occurred at the OAuth process. Please check your Access Token to fix this. "
    "Error Message: invalid_grant"
)
_DEAD_TOKEN = {
    "has_error": True,
    "errors": {"system": {"message": "Invalid refresh token", "code": 1508}},
    "error": "invalid_grant",
}

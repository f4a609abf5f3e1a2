"""The works of the fake site: those of a crawl folder, or as many made-up ones."""

import bisect
import dataclasses
import datetime
import functools
import hashlib
import io
import pathlib
import random
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from PIL import Image, ImageDraw

from mlgcn_jax.data import folders

JST = datetime.timezone(datetime.timedelta(hours=9))
_FIRST_ID = 70_000_000
FIRST_DAY = datetime.datetime(2019, 1, 1, tzinfo=JST)
_DAYS = 6 * 365
LAST_DAY = FIRST_DAY + datetime.timedelta(days=_DAYS - 1)
_NUM_USERS = 500
_SIDE_PX = 96


class Missing:
    """In `FakeWork.changes`: the site leaves this field out."""


@dataclasses.dataclass(slots=True)
class FakeWork:
    """A work, with what is wrong with it.

    Attributes:
        id: Number of the work.
        user_id: Of its maker.
        created: When it was posted.
        tags: Name and translation ("" where the site has none) of each.
        title: As written.
        pictures: Files of its pages; empty where they are drawn when asked for.
        num_pages: How many there are.
        revision: Raised when its maker replaces the pictures, whose address it is in.
        is_deleted: Searches may still show it; nothing else does.
        changes: Fields that the site sends otherwise than they should be.
    """

    id: int
    user_id: int
    created: datetime.datetime
    tags: Sequence[tuple[str, str]]
    title: str = ""
    pictures: Sequence[pathlib.Path] = ()
    num_pages: int = 1
    revision: int = 0
    is_deleted: bool = False
    changes: dict[str, Any] = dataclasses.field(default_factory=dict)

    def file_name(self, page: int) -> str:
        """Returns the name of a page's picture, without size and suffix."""
        name = f"{self.id} {page} {self.revision}"
        return f"{self.id}-{hashlib.md5(name.encode()).hexdigest()}_p{page}"

    def picture(self, page: int) -> bytes:
        """Returns the file of a page."""
        if self.pictures:
            return self.pictures[page].read_bytes()
        return _draw(self.id, page, self.revision)

    def to_json(self, site: str) -> dict[str, Any]:
        """Returns the work as the app API sends it, its pictures on `site`."""
        day = self.created.strftime("%Y/%m/%d/%H/%M/%S")

        def urls(page: int) -> dict[str, str]:
            name = self.file_name(page)
            master = f"img-master/img/{day}/{name}"
            return {
                "square_medium": f"{site}/c/540x540_70/{master}_square1200.jpg",
                "medium": f"{site}/c/540x540_70/{master}_master1200.jpg",
                "large": f"{site}/c/600x1200_90/{master}_master1200.jpg",
                "original": f"{site}/img-original/img/{day}/{name}.jpg",
            }

        pages = [urls(page) for page in range(self.num_pages)]
        is_single = self.num_pages == 1
        user = f"user{self.user_id}"
        fields: dict[str, Any] = {
            "id": self.id,
            "title": self.title,
            "type": "illust",
            "image_urls": {k: v for k, v in pages[0].items() if k != "original"},
            "caption": "",
            "restrict": 0,
            "user": {
                "id": self.user_id,
                "name": user,
                "account": user,
                "profile_image_urls": {"medium": f"{site}/user-profile/{user}.jpg"},
                "is_followed": False,
            },
            "tags": [
                {"name": name, "translated_name": translation or None}
                for name, translation in self.tags
            ],
            "tools": [],
            "create_date": self.created.isoformat(),
            "page_count": self.num_pages,
            "width": 600,
            "height": 600,
            "sanity_level": 2,
            "x_restrict": 0,
            "series": None,
            "meta_single_page": (
                {"original_image_url": pages[0]["original"]} if is_single else {}
            ),
            "meta_pages": [] if is_single else [{"image_urls": p} for p in pages],
            "total_view": 100 + self.id % 1000,
            "total_bookmarks": self.id % 1000,
            "is_bookmarked": False,
            "visible": True,
            "is_muted": False,
            "illust_ai_type": 1,
            "illust_book_style": 0,
        }
        fields |= self.changes
        return {key: value for key, value in fields.items() if value is not Missing}


class World:
    """All works, and those of each tag in the order of a search."""

    def __init__(self, works: Iterable[FakeWork]):
        """Indexes them; what is asked of a work may be changed later, but its tags."""
        self.works = {work.id: work for work in works}
        self._of_tag: dict[str, list[FakeWork]] = {}
        for work in sorted(self.works.values(), key=_age):
            for name, _ in work.tags:
                self._of_tag.setdefault(name, []).append(work)

    def search(
        self, tag: str, start: datetime.date, end: datetime.date
    ) -> "Sequence[FakeWork]":
        """Returns the works with exactly this tag of these days, oldest first."""
        found = self._of_tag.get(tag, [])
        first = bisect.bisect_left(found, start, key=_day)
        return found[first : bisect.bisect_right(found, end, key=_day)]

    def tags(self) -> Iterator[str]:
        """Yields every tag, the most frequent first."""
        yield from sorted(self._of_tag, key=lambda tag: -len(self._of_tag[tag]))


def from_folder(folder: pathlib.Path, *, seed: int = 0) -> World:
    """Returns the pictures of a crawl folder as works of the site.

    Ids, users and days are made up, the same for the same seed.
    """
    pictures, _ = folders.read_folder(folder)
    pages: dict[str, list[Any]] = {}
    for picture in pictures:
        pages.setdefault(picture.id, []).append(picture)
    chance = random.Random(seed)
    works = []
    for number, of_work in enumerate(pages.values()):
        of_work.sort(key=lambda picture: picture.page)
        translations = dict(of_work[0].translations)
        works.append(
            FakeWork(
                id=_FIRST_ID + 7 * number,
                user_id=1000 + chance.randrange(_NUM_USERS),
                created=FIRST_DAY + _random_time(chance, _DAYS),
                tags=[(tag, translations.get(tag, "")) for tag in of_work[0].tags],
                title=of_work[0].title,
                pictures=[picture.path for picture in of_work],
                num_pages=len(of_work),
            )
        )
    return World(works)


def made_up(
    num_works: int,
    *,
    tags: Sequence[str] = ("猫耳",),
    first_day: datetime.datetime = FIRST_DAY,
    days: int = _DAYS,
    seed: int = 0,
) -> World:
    """Returns works that carry all the tags, spread evenly over the days by chance."""
    chance = random.Random(seed)
    named = [(tag, "") for tag in tags]
    return World(
        FakeWork(
            id=_FIRST_ID + 7 * number,
            user_id=1000 + chance.randrange(_NUM_USERS),
            created=first_day + _random_time(chance, days),
            tags=named,
        )
        for number in range(num_works)
    )


def _random_time(chance: random.Random, days: int) -> datetime.timedelta:
    return datetime.timedelta(seconds=chance.randrange(days * 86_400))


def _age(work: FakeWork) -> tuple[datetime.datetime, int]:
    return work.created, work.id


def _day(work: FakeWork) -> datetime.date:
    return work.created.astimezone(JST).date()


@functools.lru_cache(maxsize=4096)
def _draw(work_id: int, page: int, revision: int) -> bytes:
    chance = random.Random(f"{work_id} {page} {revision}")
    image = Image.new("RGB", (_SIDE_PX, _SIDE_PX), _color(chance))
    draw = ImageDraw.Draw(image)
    for _ in range(5):
        corner = chance.randrange(_SIDE_PX // 2), chance.randrange(_SIDE_PX // 2)
        size = chance.randrange(10, _SIDE_PX // 2)
        box = (*corner, corner[0] + size, corner[1] + size)
        draw.ellipse(box, fill=_color(chance))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def _color(chance: random.Random) -> tuple[int, int, int]:
    return chance.randrange(256), chance.randrange(256), chance.randrange(256)

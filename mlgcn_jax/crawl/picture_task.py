"""What a thread does for one picture: ask, check, write; where it moved, look it up."""

import dataclasses
import json
import pathlib
from typing import Any, Literal, TypeAlias

from mlgcn_jax.crawl.client import api, clients, picture_download, retries
from mlgcn_jax.crawl.records import filters, picture_records, works
from mlgcn_jax.data import files, images

_FOLDER = "images"
State: TypeAlias = Literal["done", "failed", "gone", "restricted", "unusable"]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a picture.

    Attributes:
        owed: The picture.
        state: Its new state.
        stored: Of one that is done.
        reason: Of one that failed or is unusable.
        revised: The JSON of its work, where the site told it anew.
    """

    owed: picture_records.Owed
    state: State
    stored: picture_records.Stored | None = None
    reason: str | None = None
    revised: dict[str, Any] | None = None


@dataclasses.dataclass(frozen=True)
class PictureTask:
    """The task, for any picture; threads share it.

    Attributes:
        folder: Of the crawl, prepared.
        client: Asks the site.
        wanted: A work that was revised is judged by it.
        size: Of pictures, one of works.SIZES.
    """

    folder: pathlib.Path
    client: clients.Client
    wanted: filters.Filters
    size: str

    def fetch(self, owed: picture_records.Owed) -> Outcome:
        """Returns what became of a picture; its file is whole where it is done.

        Raises:
            OSError: The file cannot be written.
            RefusedError: The site takes the account's token no longer.
            DailyCapError: No more today.
            StoppedError: The crawl ends.
        """
        work = works.parse(json.loads(owed.work_json))
        try:
            try:
                return self._fetch_of(work, owed)
            except picture_download.NotFoundError:
                return self._fetch_revised(work, owed)
        except retries.GaveUpError as error:
            return Outcome(owed, "failed", reason=str(error))
        except images.UnusableSizeError as error:
            return Outcome(owed, "unusable", reason=str(error))

    def _fetch_of(self, work: works.Work, owed: picture_records.Owed) -> Outcome:
        url = work.urls[owed.page].get(self.size, "")
        if works.is_notice(url):
            return Outcome(owed, "restricted")
        if not self.client.site.may_hold_pictures(url):
            reason = "URL leads elsewhere" if url else f"no URL of size {self.size}"
            return Outcome(owed, "failed", reason=reason)
        picture = self.client.picture_retrier.call(
            lambda: picture_download.download(url, self.client.pictures)
        )
        return Outcome(owed, "done", stored=self._write(owed, picture))

    def _fetch_revised(self, work: works.Work, owed: picture_records.Owed) -> Outcome:
        """Tries once more where the work is now: its maker may have replaced it."""
        try:
            content = self.client.api.work(owed.work_id)
            revised = works.parse(content)
        except api.GoneError:
            return Outcome(owed, "gone")
        except works.MalformedError as error:
            return Outcome(owed, "failed", reason=f"revised work: {error}")
        moved = revised.urls[owed.page : owed.page + 1] != work.urls[owed.page :][:1]
        is_wanted = self.wanted.reason_against(revised) is None
        outcome = Outcome(owed, "gone")
        if is_wanted and moved and owed.page < len(revised.urls):
            try:
                outcome = self._fetch_of(revised, owed)
            except picture_download.NotFoundError:
                pass
        return dataclasses.replace(outcome, revised=content)

    def _write(
        self, owed: picture_records.Owed, picture: picture_download.Picture
    ) -> picture_records.Stored:
        name = f"{owed.work_id}_p{owed.page}{picture.suffix}"
        path = f"{_FOLDER}/{_shard(owed.work_id)}/{name}"
        try:
            with files.written_whole(self.folder / path) as temporary:
                temporary.write_bytes(picture.content)
        except OSError as error:
            raise OSError(
                error.errno,
                f"{self.folder / path} cannot be written: {error.strerror}; mend that, "
                "and the same command goes on",
            ) from error
        return picture_records.Stored(
            path=path,
            num_bytes=len(picture.content),
            width=picture.width,
            height=picture.height,
            sha256=picture.sha256,
        )


def prepare_folder(folder: pathlib.Path) -> None:
    """Makes the folders of pictures, and removes what a killed run left half written.

    Raises:
        OSError: The folder cannot be written to.
    """
    for number in range(100):
        shard = folder / _FOLDER / _shard(number)
        shard.mkdir(parents=True, exist_ok=True)
        for temporary in shard.glob("*.tmp"):
            temporary.unlink()


def remove_files(folder: pathlib.Path, work_id: int) -> None:
    """Removes all pictures of a work, recorded or not."""
    for path in (folder / _FOLDER / _shard(work_id)).glob(f"{work_id}_p*"):
        path.unlink()


def _shard(work_id: int) -> str:
    return f"{work_id % 100:02d}"

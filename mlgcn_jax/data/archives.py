"""Unpacks archives of crawl folders, trusting nothing that they say of themselves.

Only plain files and folders are written, with their bytes and nothing else: no links,
owners, modes or times.
"""

import lzma
import os
import pathlib
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO

# Ten times the paper's 200,000 pictures, and 300 kB for each of those; what is larger
# is rather a bomb, or wants to be unpacked by hand.
MAX_FILES = 2_000_000
MAX_BYTES = 64 * 2**30
_CHUNK_BYTES = 2**20

# What the readers raise where an archive is cut short or damaged.
_DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    EOFError,
    NotImplementedError,  # an unknown compression method
    zlib.error,
    lzma.LZMAError,
    OSError,  # gzip and bz2, without an errno
)


def unpack(archive: pathlib.Path, destination: pathlib.Path) -> None:
    """Unpacks a tar (plain or compressed) or zip archive, wholly or not at all.

    Args:
        archive: The file; its contents decide what it is, not its name.
        destination: A folder that does not exist yet, or is empty.

    Raises:
        FileNotFoundError: There is no such archive.
        ValueError: It is no archive, is empty, damaged, encrypted or larger than
            MAX_FILES or MAX_BYTES, holds a name twice, or holds anything but files and
            folders below itself; or `destination` is not empty.
    """
    if not archive.is_file():
        raise FileNotFoundError(f"archive {archive} does not exist")
    if destination.exists() and any(destination.iterdir()):
        raise ValueError(f"{destination} is not empty; unpack into a new folder")
    with tempfile.TemporaryDirectory(
        dir=destination.parent, prefix=f"{destination.name}."
    ) as scratch:
        contents = pathlib.Path(scratch) / "contents"
        contents.mkdir()
        try:
            _write(_members(archive), contents)
        except _DAMAGE as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # the disk is at fault, not the archive
            raise ValueError(
                f"{archive} is cut short or damaged ({error or 'it ends too soon'}); "
                "fetch or pack it anew"
            ) from error
        except _RefusedError as error:
            raise ValueError(f"{archive} is not unpacked: {error}") from error
        os.replace(contents, destination)


class _RefusedError(Exception):
    """Says what in an archive must not be unpacked."""


def _members(archive: pathlib.Path) -> Iterator[tuple[str, IO[bytes] | None]]:
    """Yields the name and content of every member; folders have no content."""
    if zipfile.is_zipfile(archive):
        return _zip_members(archive)
    try:
        is_tar = tarfile.is_tarfile(archive)
    except _DAMAGE:
        is_tar = True  # that it is damaged is found, and told, again
    if not is_tar:
        raise _RefusedError(
            "it is neither a tar nor a zip archive, or is cut short or damaged"
        )
    return _tar_members(archive)


def _tar_members(archive: pathlib.Path) -> Iterator[tuple[str, IO[bytes] | None]]:
    with tarfile.open(archive) as tar:
        for member in tar:
            if not (member.isfile() or member.isdir()):
                raise _RefusedError(f"{member.name!r} is a link or a device")
            yield member.name, tar.extractfile(member)
        # tarfile takes a bad header for the end, where a block of zeros must stand;
        # and a checksum is looked at only when everything has been read.
        assert tar.fileobj is not None
        tar.fileobj.seek(tar.offset)
        if tar.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("no end mark")
        while tar.fileobj.read(_CHUNK_BYTES):
            pass


def _zip_members(archive: pathlib.Path) -> Iterator[tuple[str, IO[bytes] | None]]:
    with zipfile.ZipFile(archive) as archive_file:
        for member in archive_file.infolist():
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _RefusedError(f"{member.filename!r} is a link or a device")
            if member.flag_bits & 0x1:
                raise _RefusedError(f"{member.filename!r} is encrypted")
            if member.is_dir():
                yield member.filename, None
            else:
                with archive_file.open(member) as content:
                    yield member.filename, content


def _write(
    members: Iterator[tuple[str, IO[bytes] | None]], folder: pathlib.Path
) -> None:
    num_members = num_bytes = 0
    for name, content in members:
        num_members += 1
        if num_members > MAX_FILES:
            raise _RefusedError(f"it holds more than {MAX_FILES} files")
        if name.startswith("/") or "\\" in name or ".." in name.split("/"):
            raise _RefusedError(f"{name!r} may lead out of the folder")
        target = folder / name
        try:
            if content is None:
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            file = target.open("xb")
        except (FileExistsError, NotADirectoryError) as error:
            raise _RefusedError(f"{name!r} is there twice") from error
        with file:
            # What is written is counted: headers may say anything.
            while chunk := content.read(_CHUNK_BYTES):
                num_bytes += len(chunk)
                if num_bytes > MAX_BYTES:
                    raise _RefusedError(f"it holds more than {MAX_BYTES} bytes")
                file.write(chunk)
    if not any(folder.iterdir()):
        raise _RefusedError("it is empty")

"""Archives unpack wholly and safely, or not at all."""

import bz2
import gzip
import io
import os
import shutil
import tarfile
import zipfile
from typing import Literal

import pytest

from mlgcn_jax.data import archives

FILES = {"metadata.jsonl": b"{}\n", "images/a.jpg": b"A" * 3000, "images/空.jpg": b""}


@pytest.fixture
def destination(tmp_path):
    return tmp_path / "out" / "unpacked"


@pytest.fixture(autouse=True)
def nothing_is_left_beside(destination):
    destination.parent.mkdir()
    yield
    assert list(destination.parent.iterdir()) in ([], [destination])


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def make_tar(path, members, *, mode: Literal["w", "w:gz", "w:bz2", "w:xz"] = "w"):
    """Writes (name or TarInfo, content) pairs as they are."""
    with tarfile.open(path, mode) as tar:
        for member, content in members:
            if isinstance(member, str):
                member = tarfile.TarInfo(member)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def make_zip(path, members, *, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def tar_member(name, kind, *, target=""):
    member = tarfile.TarInfo(name)
    member.type = kind
    member.linkname = target
    return member


# Good archives


@pytest.mark.parametrize("format", ["tar", "gztar", "bztar", "xztar", "zip"])
def test_every_format_gives_the_files(tmp_path, destination, format):
    for name, content in FILES.items():
        path = tmp_path / "crawl" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    made = shutil.make_archive(str(tmp_path / "crawl"), format, tmp_path, "crawl")
    # What it is, its contents tell.
    archive = (tmp_path / made).rename(tmp_path / "archive.bin")
    archives.unpack(archive, destination)
    assert contents(destination) == {f"crawl/{name}": FILES[name] for name in FILES}


def test_empty_destination_is_filled(tmp_path, destination):
    destination.mkdir()
    archives.unpack(make_tar(tmp_path / "a.tar", FILES.items()), destination)
    assert contents(destination) == FILES


def test_modes_and_owners_are_not_taken(tmp_path, destination):
    member = tarfile.TarInfo("run.sh")
    member.mode, member.uid = 0o4777, 12345
    archives.unpack(make_tar(tmp_path / "a.tar", [(member, b"x")]), destination)
    status = (destination / "run.sh").stat()
    assert status.st_mode & 0o7111 == 0
    assert status.st_uid == os.getuid()


# Refused


def assert_refused(archive, destination, message):
    with pytest.raises(ValueError, match=message) as caught:
        archives.unpack(archive, destination)
    assert archive.name in str(caught.value)
    assert not destination.exists()


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../up.jpg", "a/../../up.jpg", "a\\..\\up.jpg", ".."]
)
@pytest.mark.parametrize("make", [make_tar, make_zip])
def test_names_that_lead_out(tmp_path, destination, make, name):
    archive = make(tmp_path / "bad", [("good.jpg", b"good"), (name, b"evil")])
    assert_refused(archive, destination, "may lead out of the folder")


@pytest.mark.parametrize(
    "member",
    [
        tar_member("link", tarfile.SYMTYPE, target="/etc/passwd"),
        tar_member("link", tarfile.SYMTYPE, target="good.jpg"),
        tar_member("link", tarfile.LNKTYPE, target="good.jpg"),
        tar_member("fifo", tarfile.FIFOTYPE),
        tar_member("disk", tarfile.BLKTYPE),
        tar_member("tty", tarfile.CHRTYPE),
    ],
    ids=lambda member: f"{member.name} {member.linkname}",
)
def test_tar_links_and_devices(tmp_path, destination, member):
    archive = make_tar(tmp_path / "bad.tar", [("good.jpg", b"good"), (member, b"")])
    assert_refused(archive, destination, f"'{member.name}' is a link or a device")


def test_zip_link(tmp_path, destination):
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    archive = make_zip(tmp_path / "bad.zip", [(link, "/etc/passwd")])
    assert_refused(archive, destination, "'link' is a link or a device")


def test_encrypted_zip(tmp_path, destination):
    archive = make_zip(tmp_path / "bad.zip", [("a.jpg", b"secret")])
    content = bytearray(archive.read_bytes())
    # Bit 0 of the flags: offset 6 of the file's header, 8 of the directory's.
    content[content.index(b"PK\x03\x04") + 6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(content)
    assert_refused(archive, destination, r"'a\.jpg' is encrypted")


@pytest.mark.parametrize(
    "names", [("a.jpg", "a.jpg"), ("a.jpg", "./a.jpg"), ("a", "a/b.jpg")]
)
@pytest.mark.filterwarnings("ignore:Duplicate name")  # zipfile, while it is made
@pytest.mark.parametrize("make", [make_tar, make_zip])
def test_names_that_are_there_twice(tmp_path, destination, make, names):
    archive = make(tmp_path / "bad", [(name, b"x") for name in names])
    assert_refused(archive, destination, "is there twice")


@pytest.mark.parametrize("make", [make_tar, make_zip])
def test_too_many_files(tmp_path, destination, make, monkeypatch):
    monkeypatch.setattr(archives, "MAX_FILES", 3)
    members = [(f"{index}.jpg", b"x") for index in range(4)]
    archives.unpack(make(tmp_path / "good", members[:3]), destination)
    shutil.rmtree(destination)
    assert_refused(make(tmp_path / "bad", members), destination, "more than 3 files")


@pytest.mark.parametrize("make", [make_tar, make_zip])
def test_too_many_bytes_in_all(tmp_path, destination, make, monkeypatch):
    monkeypatch.setattr(archives, "MAX_BYTES", 5000)
    members = [("a.jpg", bytes(2500)), ("b.jpg", bytes(2500)), ("c.jpg", b"x")]
    archives.unpack(make(tmp_path / "good", members[:2]), destination)
    shutil.rmtree(destination)
    assert_refused(make(tmp_path / "bad", members), destination, "more than 5000 bytes")


def test_zip_that_lies_about_its_sizes(tmp_path, destination, monkeypatch):
    monkeypatch.setattr(archives, "MAX_BYTES", 5000)
    archive = make_zip(tmp_path / "bomb.zip", [("a.jpg", bytes(1_000_000))])
    claimed = (1_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little")
    archive.write_bytes(archive.read_bytes().replace(*claimed))
    assert_refused(archive, destination, "bomb.zip is (not unpacked|cut short)")


# Damaged


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
@pytest.mark.parametrize("kept", [0.0, 0.01, 0.3, 0.5, 0.8])
def test_truncated_tar(tmp_path, destination, mode, kept):
    # Bytes that do not compress, so that every cut goes through a member.
    members = [(f"{index}.jpg", os.urandom(5000)) for index in range(8)]
    archive = make_tar(tmp_path / "cut.tar", members, mode=mode)
    archive.write_bytes(archive.read_bytes()[: int(kept * archive.stat().st_size)])
    assert_refused(archive, destination, "cut short")


def test_tar_cut_between_two_members(tmp_path, destination):
    archive = make_tar(tmp_path / "cut.tar", [("a.jpg", b"a"), ("b.jpg", b"b")])
    archive.write_bytes(archive.read_bytes()[:1024])  # header and content of the first
    with tarfile.open(archive) as tar:
        assert tar.getnames() == ["a.jpg"]  # tarfile itself sees nothing wrong
    assert_refused(archive, destination, "cut short or damaged")


def test_tar_with_a_damaged_header(tmp_path, destination):
    members = [("a.jpg", b"a"), ("b.jpg", b"b"), ("c.jpg", b"c")]
    archive = make_tar(tmp_path / "bad.tar", members)
    content = bytearray(archive.read_bytes())
    content[1024 + 5] ^= 1  # in the name of the second
    archive.write_bytes(content)
    assert_refused(archive, destination, "cut short or damaged")


@pytest.mark.parametrize(
    "compress",
    # Stored, so that only gzip's checksum, behind the end of the tar, can tell.
    [lambda content: gzip.compress(content, compresslevel=0), bz2.compress],
    ids=["gzip", "bz2"],
)
def test_compressed_tar_with_a_flipped_bit(tmp_path, destination, compress):
    archive = make_tar(tmp_path / "bad.tar", [("a.jpg", os.urandom(20_000))])
    content = bytearray(compress(archive.read_bytes()))
    content[len(content) // 2] ^= 1
    archive.write_bytes(content)
    assert_refused(archive, destination, "cut short or damaged")


def test_truncated_zip(tmp_path, destination):
    archive = make_zip(tmp_path / "cut.zip", [("a.jpg", os.urandom(5000))])
    archive.write_bytes(archive.read_bytes()[:3000])
    assert_refused(archive, destination, "neither a tar nor a zip archive")


def test_zip_with_a_flipped_bit(tmp_path, destination):
    archive = make_zip(
        tmp_path / "bad.zip", [("a.jpg", b"A" * 5000)], compression=zipfile.ZIP_STORED
    )
    content = bytearray(archive.read_bytes())
    content[3000] ^= 1
    archive.write_bytes(content)
    assert_refused(archive, destination, "cut short or damaged")


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG" + bytes(2000)])
def test_no_archive(tmp_path, destination, content):
    archive = tmp_path / "file.tar"
    archive.write_bytes(content)
    assert_refused(archive, destination, "neither a tar nor a zip|cut short")


@pytest.mark.parametrize("make", [make_tar, make_zip])
def test_empty_archive(tmp_path, destination, make):
    assert_refused(make(tmp_path / "empty", []), destination, "empty|cut short")


def test_missing_archive(tmp_path, destination):
    with pytest.raises(FileNotFoundError, match=r"none\.tar does not exist"):
        archives.unpack(tmp_path / "none.tar", destination)


def test_full_destination_is_left_alone(tmp_path, destination):
    destination.mkdir()
    (destination / "mine").write_text("x")
    with pytest.raises(ValueError, match="not empty"):
        archives.unpack(make_tar(tmp_path / "a.tar", FILES.items()), destination)
    assert contents(destination) == {"mine": b"x"}


def test_disk_full_is_no_damage(tmp_path, destination, monkeypatch):
    class FullDisk(io.BytesIO):
        def write(self, _):
            raise OSError(28, "No space left on device")

    archive = make_tar(tmp_path / "a.tar", [("a.jpg", b"a")])
    monkeypatch.setattr(archives.pathlib.Path, "open", lambda *_: FullDisk())
    with pytest.raises(OSError, match="No space left"):
        archives.unpack(archive, destination)
    assert not destination.exists()

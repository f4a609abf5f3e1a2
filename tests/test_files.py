import pytest

from mlgcn_jax.data import files


def test_a_file_appears_whole_under_its_name(tmp_path):
    path = tmp_path / "a.txt"
    with files.written_whole(path) as temporary:
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failed_write_leaves_what_was_there(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(error):
        with files.written_whole(path) as temporary:
            temporary.write_text("half")
            raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]

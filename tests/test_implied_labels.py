"""Labels that imply others."""

import itertools

import crawl_folders
import hypothesis
import pytest
from built_datasets import examples, read_build
from hypothesis import strategies as st

from mlgcn_jax.data import implied_labels, labels

LETTERS = labels.Vocabulary(tuple("abcdef"), ((),) * 6)


def write(path, *pairs):
    lines = [",".join(pair) for pair in (("label", "implies"), *pairs)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def test_closure_by_hand(tmp_path):
    # c -> b -> a, d -> b and e: so d has a as well.
    path = write(tmp_path / "i.csv", "cb", "ba", "db", "de", "db")
    implied = implied_labels.read_implications(path, LETTERS)
    assert implied == {1: {0}, 2: {0, 1}, 3: {0, 1, 4}}
    assert implied_labels.apply([5, 2], implied) == (0, 1, 2, 5)
    assert implied_labels.apply([], implied) == ()
    assert implied_labels.apply([0], implied) == (0,)


@hypothesis.settings(max_examples=100, deadline=None)
@hypothesis.given(
    st.lists(
        st.tuples(st.sampled_from("abcdef"), st.sampled_from("abcdef")), min_size=1
    )
)
def test_closure_is_what_one_reaches(tmp_path_factory, pairs):
    path = write(tmp_path_factory.mktemp("i") / "i.csv", *pairs)
    edges = {(LETTERS.labels.index(a), LETTERS.labels.index(b)) for a, b in pairs}
    reached = set(edges)
    for via in range(6):  # Warshall
        reached |= {
            (a, b)
            for a in range(6)
            for b in range(6)
            if (a, via) in reached and (via, b) in reached
        }
    if any((a, a) in reached for a in range(6)):
        with pytest.raises(ValueError, match="imply each other"):
            implied_labels.read_implications(path, LETTERS)
        return
    implied = implied_labels.read_implications(path, LETTERS)
    assert {(a, b) for a, found in implied.items() for b in found} == reached


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("label,implies\na,b\nb,c\nc,a\n", "imply each other: "),
        ("label,implies\na,a\n", "imply each other: a -> a"),
        ("label,implies\na,z\n", "'z' is no label of the vocabulary"),
        ("label,implies\n", "no pair under its header"),
        ("label,implies\na,b,c\n", "has 3 columns, not the 2 label,implies"),
        ("label,aliases\na,b\n", "its first line must be label,implies"),
    ],
)
def test_bad_files(tmp_path, content, message):
    path = tmp_path / "i.csv"
    path.write_text(content)
    with pytest.raises(ValueError, match=message) as caught:
        implied_labels.read_implications(str(path), LETTERS)
    assert str(path) in str(caught.value)


def test_a_circle_is_told_in_its_direction(tmp_path):
    path = write(tmp_path / "i.csv", "ab", "bc", "ca")
    with pytest.raises(ValueError) as caught:
        implied_labels.read_implications(path, LETTERS)
    circle = str(caught.value).rpartition(": ")[2].split(" -> ")
    assert {*itertools.pairwise(circle)} == {
        ("a", "b"),
        ("b", "c"),
        ("c", "a"),
    }


def test_missing_file():
    with pytest.raises(FileNotFoundError, match=r"none\.csv does not exist"):
        implied_labels.read_implications("none.csv", LETTERS)


def test_shipped_implications():
    vocabulary = labels.named_vocabulary("pixiv40")
    implied = implied_labels.read_implications("pixiv40", vocabulary)
    names = {
        vocabulary.labels[label]: {vocabulary.labels[index] for index in found}
        for label, found in implied.items()
    }
    assert names == {
        **{f"{animal} ears": {"animal ears"} for animal in ("cat", "fox", "rabbit")},
        "sailor uniform": {"uniform"},
        "starry sky": {"sky"},
    }


def test_built_datasets_have_them_and_say_so(tmp_path):
    crawl = crawl_folders.make_crawl_folder(tmp_path / "crawl")
    path = write(tmp_path / "i.csv", ("Circle", "blue"), ("blue", "square"))
    plain = crawl_folders.build_dataset(crawl, tmp_path / "plain")
    closed = crawl_folders.build_dataset(crawl, tmp_path / "closed", implications=path)
    assert read_build(plain)["implied_labels"] == {}
    assert read_build(closed)["implied_labels"] == {
        "circle": ["square", "blue"],
        "blue": ["square"],
    }
    circle, square, blue = (
        crawl_folders.LABELS.index(n) for n in ("circle", "square", "blue")
    )
    before = {(e["id"], e["page"]): {*e["labels"]} for e in examples(plain)}
    after = {(e["id"], e["page"]): {*e["labels"]} for e in examples(closed)}
    assert before.keys() == after.keys()
    for key, given in before.items():
        expected = given | ({blue} if circle in given else set())
        expected |= {square} if blue in expected else set()
        assert after[key] == expected
    assert any(before[key] != after[key] for key in before)
    sha256 = "vocabulary_sha256"
    assert read_build(plain)[sha256] != read_build(closed)[sha256]

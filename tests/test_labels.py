"""Tags to labels: normalisation, vocabularies and their files."""

# ruff: noqa: RUF001, because full-width characters are what is normalised here

import tarfile
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies as st

from mlgcn_jax.data import labels

DATA = Path(labels.__file__).parent


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("Cat_Ears", "cat ears"),
        ("cat-ears", "cat ears"),
        ("  cat　ears ", "cat ears"),  # ideographic space
        ("＃猫耳", "猫耳"),
        ("#cat", "cat"),
        ("c#", "c#"),
        ("ﾈｺﾐﾐ", "ネコミミ"),  # half-width to full-width
        ("ＭＡＩＤ", "maid"),
        ("STRASSE", "strasse"),
        ("Straße", "strasse"),
        ("女の子1000users入り", "女の子"),
        ("女の子 1000 users 入り", "女の子"),
        ("女の子１００００ｕｓｅｒｓ入り", "女の子"),
        ("女の子100users入り1000users入り", "女の子"),
        ("1000users入り", ""),
        ("users入り", ""),
        ("original 10000+ bookmarks", "original"),
        ("girl 500 users", "girl"),
        ("office users", "office users"),  # no count: a tag of its own
        ("100 bookmarks of mine", "100 bookmarks of mine"),
        ("初音ミク生誕祭2023", "初音ミク"),
        ("初音ミク誕生祭", "初音ミク"),
        ("艦これ版深夜の真剣お絵描き60分一本勝負", "艦これ"),
        ("2023", ""),
        ("１０", ""),
        ("2023-05-01", ""),
        ("1girl", "1girl"),
        ("", ""),
        ("###", ""),
        (" _ ", ""),
    ],
)
def test_normalize_tag(tag, expected):
    assert labels.normalize_tag(tag) == expected


@hypothesis.settings(max_examples=200, deadline=None)
@hypothesis.given(
    st.text(max_size=12)
    | st.lists(
        st.sampled_from(
            ["猫", "#", " ", "-", "7", "users入り", "生誕祭", "users", "+"]
        ),
        max_size=8,
    ).map("".join)
)
def test_normalising_twice_changes_nothing(tag):
    once = labels.normalize_tag(tag)
    assert labels.normalize_tag(once) == once
    assert once == once.strip()


# Vocabulary


def vocabulary(**aliases):
    return labels.Vocabulary(
        tuple(aliases), tuple(tuple(names) for names in aliases.values())
    )


def test_label_indices_are_sorted_and_unique():
    cats = vocabulary(girl=["女の子"], cat_ears=["猫耳", "ネコミミ"], maid=[])
    tags = ["MAID", "ネコミミ", "猫耳1000users入り", "Cat Ears", "unknown"]
    assert cats.label_indices(tags) == (1, 2)
    assert cats.label_indices(["女の子100users入り"]) == (0,)
    assert cats.label_indices([]) == ()
    assert cats.label_indices(["", "100users入り", "/"]) == ()
    assert len(cats) == 3


def test_one_tag_may_mean_several_labels():
    hair = vocabulary(black_hair=["黒髪ロング", "黒髪"], long_hair=["黒髪ロング"])
    assert hair.label_indices(["黒髪ロング"]) == (0, 1)
    assert hair.label_indices(["黒髪"]) == (0,)
    # A label's name may be another label's alias, and stays a name.
    nested = vocabulary(uniform=["sailor uniform"], sailor_uniform=[])
    assert nested.label_indices(["sailor uniform"]) == (0, 1)


def test_slash_splits_only_what_is_known_in_all_parts():
    mixed = labels.Vocabulary(("cat", "maid", "cat/maid cafe"), ((), ("メイド",), ()))
    assert mixed.label_indices(["cat/メイド"]) == (0, 1)
    assert mixed.label_indices(["cat、maid"]) == (0, 1)
    assert mixed.label_indices(["cat／maid100users入り"]) == (0, 1)
    assert mixed.label_indices(["Cat/Zero"]) == ()
    assert mixed.label_indices(["cat/"]) == ()
    assert mixed.label_indices(["cat/maid cafe"]) == (2,)  # the whole is known


@pytest.mark.parametrize(
    ("names", "aliases", "message"),
    [
        (("cat", "Cat"), ((), ()), "'cat' and 'Cat' are the same"),
        (("cat ears", "cat_ears"), ((), ()), "'cat ears' and 'cat_ears'"),
        (("cat", ""), ((), ()), "'' .of label ''. is empty"),
        (("2023",), ((),), "'2023'.*no tag could match"),
        (("cat",), (("猫", " "),), "' ' .of label 'cat'. is empty"),
        (("cat",), (), "zip"),
    ],
)
def test_bad_vocabularies(names, aliases, message):
    with pytest.raises(ValueError, match=message):
        labels.Vocabulary(names, aliases)


# labels.csv

_names = st.text("abcd猫,\"'/ é\n", min_size=1, max_size=5)


@hypothesis.settings(max_examples=50, deadline=None)
@hypothesis.given(
    st.lists(
        st.tuples(_names, st.lists(_names, max_size=3)),
        min_size=1,
        max_size=4,
        unique_by=lambda row: labels.normalize_tag(row[0]),
    )
)
def test_written_vocabulary_is_read_back(tmp_path_factory, rows):
    hypothesis.assume(all(name == name.strip() for row in rows for name in row[1]))
    hypothesis.assume(all(row[0] == row[0].strip() for row in rows))
    written = labels.Vocabulary(
        tuple(row[0] for row in rows), tuple(tuple(row[1]) for row in rows)
    )
    path = tmp_path_factory.mktemp("vocabulary") / "labels.csv"
    labels.write_vocabulary(written, path)
    assert labels.read_vocabulary(path) == written
    assert list(path.parent.iterdir()) == [path]


def test_alias_with_the_separator_is_not_written(tmp_path):
    path = tmp_path / "labels.csv"
    with pytest.raises(ValueError, match=r"'a\|b' holds a \|"):
        labels.write_vocabulary(vocabulary(cat=["a|b"]), path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "content",
    [
        "label,aliases\ncat,猫|neko\ndog,\n",
        "\ufefflabel,aliases\r\ncat,猫|neko\r\ndog,\r\n",  # as Excel writes it
        " label , aliases \n\n cat , 猫 | neko \ndog, ",
    ],
)
def test_read_vocabulary(tmp_path, content):
    path = tmp_path / "labels.csv"
    path.write_bytes(content.encode())
    expected = labels.Vocabulary(("cat", "dog"), (("猫", "neko"), ()))
    assert labels.read_vocabulary(path) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty; its first line must be label,aliases"),
        (b"\n\n", "is empty"),
        (b"cat,\ndog,\n", "starts with 'cat,'"),
        (b"label,aliases\n", "no label under its header"),
        (b"label,aliases\ncat\n", "'cat' has 1 columns"),
        (b"label,aliases\ncat,kitty,kitten\n", "has 3 columns"),
        (b"label,aliases\n,kitty\n", "empty once normalised"),
        (b"label,aliases\ncat,kitty|\n", "empty once normalised"),
        (b"label,aliases\ncat,\nCAT,\n", "'cat' and 'CAT' are the same"),
        (b'label,aliases\n"cat,\n', "not a CSV table"),
        ("label,aliases\ncat,猫\n".encode("shift-jis"), "not UTF-8"),
        ("label,aliases\ncat,猫\n".encode("utf-16"), "not UTF-8"),
    ],
)
def test_bad_vocabulary_files(tmp_path, content, message):
    path = tmp_path / "my labels.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        labels.read_vocabulary(path)
    assert str(path) in str(caught.value)


def test_missing_vocabulary_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.csv does not exist"):
        labels.read_vocabulary(tmp_path / "none.csv")


# Choosing

WORKS = [
    ["cat", "Cat", "CAT 100users入り", "オリジナル"],
    ["cat", "dog", "漫画", "R-18", "r_18"],
    ["dog", "#bird", "2023", "オリジナル1000users入り"],
    ["ant", ""],
]


def test_choose_counts_works_and_drops_meta_tags():
    # cat 2 works (5 occurrences), dog 2, ant 1, bird 1; the rest are no content.
    chosen = labels.choose_vocabulary(WORKS, num_labels=10)
    assert chosen.labels == ("cat", "dog", "ant", "bird")
    assert chosen.aliases == ((), (), (), ())
    assert labels.choose_vocabulary(WORKS, num_labels=3).labels == ("cat", "dog", "ant")
    assert labels.choose_vocabulary(WORKS, min_works=2).labels == ("cat", "dog")
    assert labels.choose_vocabulary(WORKS, min_works=1) == chosen


def test_choose_reads_its_works_once():
    chosen = labels.choose_vocabulary((iter(tags) for tags in WORKS), min_works=2)
    assert chosen.labels == ("cat", "dog")


@pytest.mark.parametrize(
    ("works", "limits", "message"),
    [
        (WORKS, {}, "give one of them"),
        (WORKS, {"num_labels": 2, "min_works": 2}, "give one of them"),
        (WORKS, {"num_labels": 0}, "at least 1"),
        (WORKS, {"min_works": -1}, "at least 1"),
        (WORKS, {"min_works": 3}, "most frequent usable tag is 'cat' with 2 works"),
        ([], {"num_labels": 2}, "tag is none"),
        ([["オリジナル", "100users入り"]], {"num_labels": 2}, "tag is none"),
    ],
)
def test_choose_refuses(works, limits, message):
    with pytest.raises(ValueError, match=message):
        labels.choose_vocabulary(works, **limits)


# Shipped vocabularies


def test_shipped_vocabularies():
    assert len(labels.named_vocabulary("openclipart40")) == 40
    pixiv = labels.named_vocabulary("pixiv40")
    assert len(pixiv) == 40
    # The ten labels that the paper names.
    named = "girl|breast|uniform|black stockings|black hair|swimsuit|cat ears|maid"
    assert pixiv.labels[:10] == (*named.split("|"), "student", "landscape")

    def names(*tags):
        return [pixiv.labels[index] for index in pixiv.label_indices(tags)]

    assert names("女の子10000users入り") == ["girl"]
    assert names("黒髪ロング") == ["black hair", "long hair"]
    assert names("ジェイケー", "ＪＫ") == ["student"]
    # Implications stay off: they would make P(parent | child) exactly 1.
    assert names("猫耳") == ["cat ears"]
    assert names("cat_ears/maid") == ["cat ears", "maid"]


def test_unknown_vocabulary():
    with pytest.raises(ValueError, match="shipped vocabularies openclipart40, pixiv40"):
        labels.named_vocabulary("../sample/x")


def test_openclipart40_is_the_vocabulary_of_the_sample():
    with tarfile.open(DATA / "sample" / "openclipart_sample.tar") as sample:
        member = sample.extractfile("labels.csv")
        assert member is not None
        content = member.read()
    assert content == (DATA / "vocabularies" / "openclipart40.csv").read_bytes()

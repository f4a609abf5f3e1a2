"""`mlgcn tags`: counts by work, proposed aliases, and the labels.csv to edit."""

from pathlib import Path

import hypothesis
import pytest
from command_line import mlgcn
from hypothesis import strategies as st
from layout_files import add_file, add_json

from mlgcn_jax.data import alias_proposals, folder_contents, labels, tag_survey


def work(id, *tags, page=0):
    """A picture; a tag may be "name=translation"."""
    pairs = [tuple(tag.split("=")) for tag in tags]
    return folder_contents.Picture(
        str(id),
        page,
        Path("x.png"),
        tuple(pair[0] for pair in pairs),
        translations=tuple(pair for pair in pairs if len(pair) == 2),
    )


def vocabulary(**aliases):
    return labels.Vocabulary(
        tuple(aliases), tuple(tuple(names) for names in aliases.values())
    )


def proposed(survey, given):
    """Tag -> (label, reason), and the tags that are likely."""
    proposals = alias_proposals.propose_aliases(survey, given)
    found = {p.tag: (p.label, p.reason) for p in proposals}
    assert len(found) == len(proposals)
    return found, {p.tag for p in proposals if p.is_likely}


# Counts


def test_works_are_counted_once_for_a_tag_however_written():
    survey = tag_survey.survey(
        [
            work(1, "Cat", "cat100users入り", "#CAT", "R-18"),
            work(1, "cat", "dog", page=1),
            work(2, "猫", "2023", "cat/dog", "Fate/Zero"),
        ]
    )
    assert survey.works_per_tag() == {
        **{"cat": 1, "dog": 1, "r 18": 1},
        **{"猫": 1, "cat/dog": 1, "fate/zero": 1},
    }
    given = vocabulary(cat=["猫"], dog=[], bird=[])
    assert survey.works_per_label(given) == [2, 2, 0]
    assert survey.works_without_label(given) == [("fate/zero", 1), ("r 18", 1)]


# Proposals


@pytest.mark.parametrize(
    ("tag", "label"),
    [
        ("catears", "cat ears"),
        ("cat ear", "cat ears"),
        ("cats ears", "cat ears"),
        ("cat・ears", "cat ears"),
        ("ねこみみ", "ネコミミ"),
        ("ネコ耳", "ねこ耳"),
        ("ロングヘアー", "ロングヘア"),
        ("dresses", "dress"),
        ("cherries", "cherry"),
        ("boxes", "box"),
    ],
)
def test_spelling(tag, label):
    for one, other in ((tag, label), (label, tag)):
        found, likely = proposed(
            tag_survey.survey([work(1, one)]), labels.Vocabulary((other,), ((),))
        )
        assert found == {one: (other, f"spelled like {other!r}")}
        assert likely == {one}


def test_translations():
    survey = tag_survey.survey(
        [
            work(1, "猫耳=cat ears", "風景=scenery", "景色=scenery", "空"),
            work(2, "風景100users入り=scenery 100+ bookmarks", "场景=Sceneries"),
        ]
    )
    # The label has a translation; or is one itself; or one of its aliases does or is.
    expected = {
        "景色": "'scenery' is also what '風景' means",
        "场景": "'sceneries' is also what '風景' means",
    }
    found, likely = proposed(survey, labels.Vocabulary(("風景",), ((),)))
    assert found == {tag: ("風景", reason) for tag, reason in expected.items()}
    assert likely == expected.keys()
    found, _ = proposed(survey, vocabulary(view=["風景"], cat_ears=[]))
    assert {tag: label for tag, (label, _) in found.items()} == {
        **{"猫耳": "cat_ears", "景色": "view", "场景": "view"}
    }
    found, _ = proposed(survey, vocabulary(landscape=["scenery"]))
    assert {*found} == {"風景", "景色", "场景"}


def test_a_letter_away_is_proposed_but_not_likely():
    survey = tag_survey.survey([work(1, *"ponytal ponytial ponytall ponyta".split())])
    found, likely = proposed(survey, vocabulary(ponytail=[]))
    assert {*found} == {"ponytal", "ponytial", "ponytall"}
    assert found["ponytal"] == ("ponytail", "a letter away from 'ponytail'")
    assert likely == set()


@pytest.mark.parametrize(
    ("tag", "label"),
    [
        ("黒髪ロングヘア", "金髪ロングヘア"),  # another colour
        ("10girls", "11girls"),
        ("cat", "bat"),
        ("glass", "grass"),
        ("空", "星空"),
        ("ビール", "ビル"),
    ],
)
def test_what_is_another_word(tag, label):
    survey = tag_survey.survey([work(1, tag)])
    assert proposed(survey, labels.Vocabulary((label,), ((),))) == ({}, set())


def test_labels_and_aliases_are_not_proposed():
    survey = tag_survey.survey([work(1, "cat", "猫=cat", "cat/dog", "dog")])
    given = vocabulary(cat=["猫"], dog=[])
    assert alias_proposals.propose_aliases(survey, given) == []


@hypothesis.settings(max_examples=100, deadline=None)
@hypothesis.given(st.lists(st.text(max_size=10), min_size=1, max_size=6))
def test_any_tags_make_a_draft_or_a_clear_error(names):
    picture = folder_contents.Picture(
        "1",
        0,
        Path("x.png"),
        tuple(names),
        translations=tuple(zip(names, reversed(names), strict=True)),
    )
    survey = tag_survey.survey([picture])
    try:
        drafted, proposals = alias_proposals.draft_vocabulary(survey, num_labels=3)
    except ValueError as error:
        assert "no tag can be a label" in str(error)
        return
    assert 1 <= len(drafted) <= 3
    likely = {p.tag for p in proposals if p.is_likely and "|" not in p.tag}
    assert {alias for aliases in drafted.aliases for alias in aliases} == likely
    assert drafted.label_indices(names)


def test_draft_brings_together_what_means_the_same():
    pictures = [work(i, "猫=cat", "オリジナル=original") for i in range(3)]
    pictures += [work(10 + i, "cats", "空=sky") for i in range(2)]
    pictures += [work(20, "ネコ", "ねこ=cat", "犬=dog")]
    drafted, _ = alias_proposals.draft_vocabulary(
        tag_survey.survey(pictures), num_labels=2
    )
    assert drafted == labels.Vocabulary(("猫", "空"), (("cats", "ねこ"), ()))
    # ネコ is spelled like ねこ, which is an alias only now: another round finds it.
    found, _ = proposed(tag_survey.survey(pictures), drafted)
    assert found == {"ネコ": ("猫", "spelled like 'ねこ'")}


# The command


@pytest.fixture
def crawl(tmp_path):
    folder = tmp_path / "crawl"
    all_tags = [
        ["メイド=maid", "猫耳=cat ears"],
        ["猫耳1000users入り"],
        ["ねこ耳", "漫画"],
    ]
    for number, names in enumerate(all_tags):
        pairs = [(*name.split("="), None)[:2] for name in names]
        add_file(folder, f"{number}_p0.png")
        add_json(
            folder,
            f"{number}_p0.png.json",
            {
                **{"category": "pixiv", "id": number, "num": 0},
                "tags": [{"name": a, "translated_name": b} for a, b in pairs],
            },
        )
    return folder


def test_the_command_shows_and_writes(crawl, tmp_path):
    given = tmp_path / "given.csv"
    given.write_text("label,aliases\ncat ears,ネコ耳\nhat,\n", encoding="utf-8")
    output, _ = mlgcn(
        *("tags", crawl, f"--labels={given}", "--write=labels.csv"), cwd=tmp_path
    )
    assert output.splitlines() == [
        "3 works, 3 pictures, 4 tags; 0 rejected",
        "",
        "labels, with all their aliases: 2",
        "        3  cat ears",
        "        0  hat",
        "",
        "likely aliases: 2",
        "        2  猫耳 -> cat ears: means 'cat ears'",
        "        1  ねこ耳 -> cat ears: spelled like 'ネコ耳'",
        "",
        "perhaps aliases: 0",
        "",
        "tags that are neither label nor alias: 1",
        "        1  メイド (maid)",
        "",
        "written: labels.csv; edit it, then mlgcn build --labels=labels.csv",
    ]
    assert (tmp_path / "labels.csv").read_text(encoding="utf-8") == (
        "label,aliases\ncat ears,ネコ耳|猫耳|ねこ耳\nhat,\n"
    )


def test_the_command_drafts_and_keeps_what_is_there(crawl, tmp_path):
    target = tmp_path / "labels.csv"
    target.write_text("mine")
    _, errors = mlgcn("tags", crawl, f"--write={target}", cwd=tmp_path, status=1)
    assert "labels.csv is there already; --overwrite replaces it" in errors
    assert target.read_text() == "mine"
    output, _ = mlgcn(
        *("tags", crawl, f"--write={target}", "--overwrite", "--top=1"), cwd=tmp_path
    )
    assert labels.read_vocabulary(target).labels == ("猫耳",)
    assert "        2  猫耳 (cat ears)\n" in output
    assert "neither label nor alias: 2\n" in output
    assert "      ...  (--top=2 shows all)\n" in output


def test_wrong_calls(tmp_path):
    _, errors = mlgcn("tags", cwd=tmp_path, status=2)
    assert "expected one folder" in errors
    _, errors = mlgcn("tags", "none", cwd=tmp_path, status=1)
    assert "none is not a folder" in errors

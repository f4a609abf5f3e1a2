"""Folders of timm: what is read, what is refused, and a run that starts from one."""

import json
import pathlib

import bare_models
import configurations
import crawl_folders
import numpy as np
import pytest

from mlgcn_jax.models import label_rows, timm_folder, weight_files
from mlgcn_jax.training import initial_weights

NAMES = ["1girl", "black_hair", "cat"]


def config_json(architecture: str = "test_convnext", **changes):
    content = {
        "architecture": architecture,
        "num_classes": len(NAMES),
        "num_features": 64,
        "global_pool": "avg",
        "model_args": {"act_layer": "gelu", "norm_eps": 1e-6, "drop_path_rate": 0.4},
        "label_names": NAMES,
        "pretrained_cfg": {
            "input_size": [3, 64, 64],
            "interpolation": "bicubic",
            "crop_pct": 1,
            "mean": [0.5, 0.4, 0.3],
            "std": [0.5, 0.25, 0.2],
        },
    }
    pretrained = content["pretrained_cfg"] | changes.pop("pretrained_cfg", {})
    return {**content, "pretrained_cfg": pretrained, **changes}


def write_folder(path: pathlib.Path, content, tensors=None) -> pathlib.Path:
    path.mkdir()
    text = content if isinstance(content, str) else json.dumps(content)
    (path / "config.json").write_text(text)
    tensors = tensors or {"a": np.zeros(1, np.float32)}
    weight_files.write(path / "model.safetensors", tensors)
    return path


def test_everything_in_a_folder_is_read(tmp_path):
    folder = timm_folder.read_folder(write_folder(tmp_path / "x", config_json()))
    assert folder.tensors.keys() == {"a"}
    assert folder._replace(tensors={}) == timm_folder.TimmFolder(
        architecture="test_convnext",
        model_args=config_json()["model_args"],
        mean=(0.5, 0.4, 0.3),
        std=(0.5, 0.25, 0.2),
        image_size=64,
        interpolation="bicubic",
        crop_pct=1.0,
        global_pool="avg",
        label_names=NAMES,
        tensors={},
    )


def test_labels_may_be_in_a_table_of_tags(tmp_path):
    path = write_folder(tmp_path / "x", config_json(label_names=None))
    assert timm_folder.read_folder(path).label_names == []
    rows = "".join(f"{i},{name},0,7\n" for i, name in enumerate(NAMES))
    (path / "selected_tags.csv").write_text(f"tag_id,name,category,count\n{rows}")
    assert timm_folder.read_folder(path).label_names == NAMES
    (path / "selected_tags.csv").write_text("tag_id,tag\n1,cat\n")
    with pytest.raises(ValueError, match=r"no table of tags .* a column name"):
        timm_folder.read_folder(path)


def pretrained(**changes):
    return config_json(pretrained_cfg=changes)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"config\.json is damaged"),
        ("[1]", "holds a list, expected an object"),
        ("{}", "pretrained_cfg is None, expected dict"),
        (config_json(architecture=3), "architecture is 3, expected str"),
        (config_json(num_classes="7"), "num_classes is '7', expected int"),
        (config_json(num_classes=4), "names of 3 labels.* num_classes=4"),
        (pretrained(mean=None), r"pretrained_cfg\.mean is None, expected list"),
        (pretrained(mean=[1, 2]), r"mean is \[1, 2\], expected three numbers"),
        (pretrained(std=[1, 0, 1]), r"std is \[1, 0, 1\], .* std above 0"),
        (pretrained(input_size=[3, 64, 32]), r"input_size is .* a square"),
        (pretrained(input_size=[3, "a", "a"]), r"input_size is .* a side in pixels"),
    ],
)
def test_a_damaged_config_is_told(tmp_path, content, message: str):
    path = write_folder(tmp_path / "x", content)
    with pytest.raises(ValueError, match=message):
        timm_folder.read_folder(path)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_folder_of_something_else_is_told(tmp_path, name: str):
    path = write_folder(tmp_path / "x", config_json())
    (path / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"has no {name}; expected a folder"):
        timm_folder.read_folder(path)


@pytest.mark.parametrize(
    ("backbone", "architecture", "arguments", "message"),
    [
        ("convnext_base", "convnext_base", {}, None),
        ("convnext_base", "convnext_base", {"drop_path_rate": 0.3}, None),
        ("vit_base_patch16", "vit_base_patch16_384", {"img_size": 448}, None),
        ("densenet121", "densenet121", {}, None),
        ("convnext_base", "convnext_tiny", {}, "architecture=convnext_tiny, expected"),
        ("vit_base_patch16", "vit_base_patch16_clip_224", {}, "architecture=vit_base"),
        (
            *("convnext_base", "convnext_base", {"act_layer": "gelu_tanh"}),
            "act_layer='gelu_tanh', expected 'gelu'",
        ),
        (
            *("convnext_base", "convnext_base", {"use_grn": True}),
            "use_grn=True, expected None",
        ),
        ("densenet_tiny", "densenet121", {}, "timm has no densenet_tiny"),
    ],
)
def test_a_folder_of_another_model_is_told_from_ours(
    tmp_path, backbone: str, architecture: str, arguments, message
):
    content = config_json(architecture, model_args=arguments)
    folder = timm_folder.read_folder(write_folder(tmp_path / "x", content))
    differences = "; ".join(timm_folder.differences(backbone, folder))
    assert message in differences if message else not differences


def test_the_backbone_of_a_folder_is_found(tmp_path):
    arguments = {"act_layer": "gelu_tanh", "class_token": False, "img_size": 448}
    content = config_json("vit_base_patch16_224", model_args=arguments)
    folder = timm_folder.read_folder(write_folder(tmp_path / "x", content))
    assert timm_folder.backbone_of(folder) == "vit_base_patch16_wd"
    assert timm_folder.backbone_of(folder._replace(architecture="swin")) is None


def test_rows_of_labels_with_the_same_name_are_taken():
    ours = np.zeros((3, 2), np.float32)
    rows = label_rows.take(
        ours,
        np.zeros(3, np.float32),
        ["Black hair", "sea", "cat"],
        other_weight=np.array([[1, 1], [2, 2], [3, 3], [4, 4]], np.float32),
        other_bias=np.array([1, 2, 3, 4], np.float32),
        other_names=["cat", "black_hair", "2024", "CAT"],
    )
    np.testing.assert_array_equal(rows.weight, [[2, 2], [0, 0], [1, 1]])
    np.testing.assert_array_equal(rows.bias, [2, 0, 1])
    assert rows.names == ["Black hair", "cat"]
    assert not ours.any()


def test_weights_come_back_through_safetensors(tmp_path):
    for name, options in (
        ("convnext_test", {}),
        ("vit_test_patch16", {"image_size": 64}),
        ("vit_test_patch16", {"image_size": 64, "class_token": False}),
    ):
        case = bare_models.make_case(name, **options)
        weight_files.write(tmp_path / "w.safetensors", case.to_torch())
        zeros = bare_models.make_case(name, fill=np.zeros, **options)
        again, report = zeros.from_torch(weight_files.read(tmp_path / "w.safetensors"))
        assert not report.missing and not report.left_out
        for key, x in again.to_torch().items():
            np.testing.assert_array_equal(x, case.to_torch()[key], err_msg=key)


def test_a_missing_tensor_and_one_of_no_square_grid_are_told():
    case = bare_models.make_case("vit_test_patch16", image_size=64)
    tensors = case.to_torch()
    lacking = {k: x for k, x in tensors.items() if k != "blocks.2.attn.qkv.bias"}
    with pytest.raises(ValueError, match=r"blocks\.2\.attn\.qkv\.bias is missing"):
        case.from_torch(lacking)
    tensors["pos_embed"] = tensors["pos_embed"][:, :8]
    with pytest.raises(ValueError, match=r"pos_embed: 8 position .* no|not those of a"):
        case.from_torch(tensors)
    with pytest.raises(ValueError, match=r"most of this backbone's names"):
        case.from_torch(bare_models.make_case("convnext_test").to_torch())


@pytest.fixture
def folder_of_ours(tmp_path) -> pathlib.Path:
    """As timm would write a ResNet-50 that knows two of our labels and another one."""
    case = bare_models.make_case(
        "resnet50", num_labels=3, fill=lambda shape: np.full(shape, 0.01)
    )
    tensors = case.to_torch()
    tensors["fc.bias"] = np.array([1, 2, 3], np.float32)
    ours = list(crawl_folders.LABELS)
    names = [ours[1], "something else", ours[0]]
    content = config_json("resnet50", model_args={}, label_names=names)
    return write_folder(tmp_path / "timm", content, tensors)


def test_a_run_starts_from_a_folder_and_takes_its_labels(
    folder_of_ours,
):
    config = configurations.tiny(
        num_epochs=0,
        initial_weights=str(folder_of_ours),
        model__backbone="resnet50",
        model__head="linear",
        model__pooling="average",
    )
    advice = r"--config\.model\.pixel_mean='\(0\.5,0\.4,0\.3\)'"
    with pytest.raises(ValueError, match=f"trained with pixels of mean .*{advice}"):
        initial_weights.check(folder_of_ours, config)
    config.model.pixel_mean = (0.5, 0.4, 0.3)
    config.model.pixel_std = (0.5, 0.25, 0.2)
    initial_weights.check(folder_of_ours, config)
    read = initial_weights._read(
        folder_of_ours,
        initial_weights._zeros(config, num_labels=3),
        config,
        list(crawl_folders.LABELS)[:3],
    )
    assert read.labels == list(crawl_folders.LABELS)[:2]
    np.testing.assert_array_equal(read.variables.params["head"]["bias"], [3, 1, 0])
    config.model.pooling = "max"  # the rows were learnt for the mean
    config.model.backbone = "resnet101"
    with pytest.raises(
        ValueError, match=r"resnet101: architecture=resnet50.*=resnet50"
    ):
        initial_weights.check(folder_of_ours, config)

"""Folders as timm writes them, for Hugging Face and others, and which of them are ours.

FOLDER/config.json, model.safetensors and perhaps selected_tags.csv, the names of the
labels as wd-tagger and AnimeTIMM give them. No file says whether a model takes its
colours as RGB or as BGR; wd-tagger's take BGR, timm's own RGB.
"""

import csv
import math
import pathlib
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from mlgcn_jax.data import files
from mlgcn_jax.models import weight_files

_CONFIG = "config.json"
_WEIGHTS = "model.safetensors"
_LABELS = "selected_tags.csv"
# Arguments of timm's models that change nothing in what a trained one computes, or that
# its tensors show.
_SEEN_ELSEWHERE = frozenset(
    {
        *("class_token", "fc_norm", "global_pool", "img_size", "ls_init_value"),
        *("attn_drop_rate", "drop_path_rate", "drop_rate", "num_classes"),
        *("pos_drop_rate", "proj_drop_rate"),
    }
)
_DEFAULTS = {"act_layer": "gelu", "norm_eps": 1e-6}


class TimmModel(NamedTuple):
    """A model of timm.

    Attributes:
        architecture: its name in timm, where the size of the images is 224 px.
        model_args: what it is made with, where that is not the default.
    """

    architecture: str
    model_args: Mapping[str, Any] = {}


class TimmFolder(NamedTuple):
    """What a folder says.

    Attributes:
        architecture: name of the model in timm.
        model_args: what it is made with, where that is not the default.
        mean: of each channel, pixels in 0..1, in the model's order of colours.
        std: likewise.
        image_size: side of the squares that the model was last trained on, in pixels.
        interpolation: filter that resizes images: bicubic, bilinear, ...
        crop_pct: share of the shorter side that is seen.
        global_pool: avg, max or token; "" where the folder does not say.
        label_names: of the classifier's rows; empty where the folder has none.
        tensors: by timm's names.
    """

    architecture: str
    model_args: dict[str, Any]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    image_size: int
    interpolation: str
    crop_pct: float
    global_pool: str
    label_names: list[str]
    tensors: weight_files.Tensors


# Name in the registry -> what timm has as the same; `densenet_tiny` is ours alone.
MODELS: dict[str, TimmModel] = {
    **{
        name: TimmModel(name)
        for name in (
            *("densenet121", "densenet169", "densenet201"),
            *("resnet50", "resnet101", "resnet152"),
            *("convnext_tiny", "convnext_small", "convnext_base"),
        )
    },
    "convnext_test": TimmModel(
        "test_convnext", {"act_layer": "gelu", "norm_eps": 1e-6}
    ),
    "convnext_base_wd": TimmModel("convnext_base", {"act_layer": "gelu_tanh"}),
    "vit_test_patch16": TimmModel("test_vit", {"mlp_ratio": 4.0}),
    "vit_tiny_patch16": TimmModel("vit_tiny_patch16_224"),
    "vit_small_patch16": TimmModel("vit_small_patch16_224"),
    "vit_base_patch16": TimmModel("vit_base_patch16_224"),
    "vit_base_patch16_wd": TimmModel(
        "vit_base_patch16_224",
        {
            "act_layer": "gelu_tanh",
            "class_token": False,
            "fc_norm": False,
            "global_pool": "avg",
        },
    ),
}


def weights_file(path: pathlib.Path) -> pathlib.Path:
    """Returns the file with the tensors of a folder."""
    return path / _WEIGHTS


def read_folder(path: pathlib.Path) -> TimmFolder:
    """Returns what a folder says, and its tensors.

    Raises:
        FileNotFoundError: it has no config.json or no model.safetensors.
        ValueError: a file is damaged or lacks something. The message says what.
    """
    for name in (_CONFIG, _WEIGHTS):
        if not (path / name).is_file():
            raise FileNotFoundError(
                f"{path} has no {name}; expected a folder that timm has written, with "
                f"{_CONFIG} and {_WEIGHTS}"
            )
    config = _Config(path / _CONFIG, files.read_json(path / _CONFIG))
    prepared = config.part("pretrained_cfg")
    arguments = config.value("model_args", dict, {})
    num_classes = config.value("num_classes", int)
    return TimmFolder(
        architecture=config.value("architecture", str),
        model_args=arguments,
        mean=prepared.channels("mean"),
        std=prepared.channels("std"),
        image_size=prepared.image_size(),
        interpolation=prepared.value("interpolation", str, "bicubic"),
        crop_pct=prepared.value("crop_pct", float, 1.0),
        global_pool=str(
            arguments.get("global_pool") or config.value("global_pool", str, "")
        ),
        label_names=_label_names(path, config, num_classes),
        tensors=weight_files.read(path / _WEIGHTS),
    )


def backbone_of(folder: TimmFolder) -> str | None:
    """Returns the name in the registry of a folder's backbone, None if it has none."""
    for name, model in MODELS.items():
        if _has_tensors_of(model, folder) and not differences(name, folder):
            return name
    return None


def differences(backbone: str, folder: TimmFolder) -> list[str]:
    """Returns in what a folder's model is another one than a backbone of ours.

    That which its tensors show is not among it.
    """
    model = MODELS.get(backbone)
    if model is None:
        return [f"timm has no {backbone}"]
    found = []
    expected = re.sub("_224$", "", model.architecture)
    # One ViT, several sizes of images: their positions are in the tensors.
    if re.sub(r"(?<=_patch16)_\d+$", "", folder.architecture) != expected:
        found.append(f"architecture={folder.architecture}, expected {expected}")
    theirs, ours = (
        {k: v for k, v in (_DEFAULTS | dict(x)).items() if k not in _SEEN_ELSEWHERE}
        for x in (folder.model_args, model.model_args)
    )
    found += [
        f"{key}={theirs.get(key)!r}, expected {ours.get(key)!r}"
        for key in sorted(theirs.keys() | ours.keys())
        if theirs.get(key) != ours.get(key)
    ]
    return found


def _has_tensors_of(model: TimmModel, folder: TimmFolder) -> bool:
    """Whether a class token is there or not, as in the model."""
    if not model.architecture.startswith("vit_"):
        return True
    return model.model_args.get("class_token", True) == ("cls_token" in folder.tensors)


def _label_names(path: pathlib.Path, config: "_Config", num_classes: int) -> list[str]:
    names = config.value("label_names", list, [])
    source = path / _CONFIG
    if not names and (path / _LABELS).is_file():
        source = path / _LABELS
        names = _names_of_tags(source)
    if names and len(names) != num_classes:
        raise ValueError(
            f"{source} has the names of {len(names)} labels, and {_CONFIG} says "
            f"num_classes={num_classes}; restore them from a copy"
        )
    return [str(name) for name in names]


def _names_of_tags(path: pathlib.Path) -> list[str]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return [row["name"] for row in csv.DictReader(file, strict=True)]
    except (UnicodeDecodeError, csv.Error, KeyError) as error:
        raise ValueError(
            f"{path} is no table of tags ({type(error).__name__}: {error}); expected "
            "UTF-8 text with a column name"
        ) from error


class _Config:
    """A part of config.json: every value is checked when it is asked for."""

    def __init__(self, path: pathlib.Path, content: Mapping[str, Any], name: str = ""):
        self.path = path
        self.content = content
        self.name = name

    def part(self, key: str) -> "_Config":
        return _Config(self.path, self.value(key, dict), f"{self.name}{key}.")

    def value(self, key: str, kind: type, default: Any = None) -> Any:
        value = self.content.get(key)
        if value is None and default is not None:
            return default
        if kind is float and isinstance(value, int):
            value = float(value)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise self.fault(key, f"expected {kind.__name__}")
        return value

    def channels(self, key: str) -> tuple[float, float, float]:
        values = self.value(key, list)
        try:
            first, second, third = (float(value) for value in values)
        except (TypeError, ValueError) as error:
            raise self.fault(key, "expected three numbers") from error
        is_divisor = key == "std"
        if not all(map(math.isfinite, (first, second, third))) or (
            is_divisor and min(first, second, third) <= 0
        ):
            raise self.fault(key, "expected three finite numbers, std above 0")
        return first, second, third

    def image_size(self) -> int:
        key = "input_size"
        size = self.value(key, list)
        if len(size) != 3 or size[0] != 3 or size[1] != size[2]:
            raise self.fault(key, "expected [3, side, side]: three colours, a square")
        if not isinstance(size[1], int) or size[1] < 1:
            raise self.fault(key, "expected a side in pixels")
        return size[1]

    def fault(self, key: str, expected: str) -> ValueError:
        found = repr(self.content.get(key))[:80]
        return ValueError(f"{self.path}: {self.name}{key} is {found}, {expected}")

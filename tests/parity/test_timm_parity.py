"""ConvNeXt and ViT compute what timm's do, with timm's weights."""

import bare_models
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import timm
import torch
from flax import nnx
from timm import layers as timm_layers

from mlgcn_jax.models import registry, timm_folder, torch_weights, vit, weight_files

NUM_LABELS = 10
TIMM = sorted(timm_folder.MODELS)
OF_ANY_SIZE = [name for name in TIMM if not name.startswith("vit")]


def timm_model(backbone: str, **options) -> torch.nn.Module:
    model = timm_folder.MODELS[backbone]
    return timm.create_model(
        model.architecture,
        pretrained=False,
        **{"num_classes": NUM_LABELS, **model.model_args, **options},
    )


def random_model(backbone: str, **options) -> torch.nn.Module:
    """Weights at random such that every layer counts: layer scales not near zero."""
    torch.manual_seed(0)
    model = timm_model(backbone, **options)
    for name, parameter in model.named_parameters():
        if name.endswith("gamma"):
            torch.nn.init.uniform_(parameter, 0.2, 1.0)
        elif "norm" in name and name.endswith("weight"):
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
        elif parameter.ndim == 1:
            torch.nn.init.normal_(parameter, 0.0, 0.2)
    return model.double().eval()  # so that the rounding is ours alone


def tensors_of(model: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: x.detach().numpy() for name, x in model.state_dict().items()}


def make_image(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(2, height, width, 3)).astype("f4")


def to_torch(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image).permute(0, 3, 1, 2).double()  # [b, 3, h, w]


def logits(model: bare_models.BareModel, image, *, train: bool = False) -> jax.Array:
    """As a scorer computes them: pooled by the mean, then the backbone's norm."""
    features = model.backbone(image, train=train)
    if vit.CLASS_TOKEN in features.taps:  # what timm reads, where there is one
        x = features.taps[vit.CLASS_TOKEN].mean((1, 2))
    else:
        x = features.feature_map.astype(jnp.float32).mean((1, 2))
    if model.backbone.norm_after_pooling is not None:
        x = model.backbone.norm_after_pooling(x)
    return x @ model.head.kernel[...].T + model.head.bias[...][None, :]


@pytest.mark.parametrize("backbone", TIMM)
def test_names_and_shapes_are_those_of_timm(backbone: str):
    options = {"img_size": 224} if backbone.startswith("vit") else {}
    with torch.device("meta"):
        model = timm_model(backbone, **options)
    expected = {
        name: tuple(x.shape)
        for name, x in model.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    ours = bare_models.make_case(backbone, fill=np.zeros).to_torch()
    assert {name: x.shape for name, x in ours.items()} == expected


def test_every_backbone_of_timm_is_in_the_registry():
    assert registry.BACKBONES.keys() - timm_folder.MODELS.keys() == {"densenet_tiny"}


@pytest.mark.parametrize(
    ("backbone", "size"),
    [
        *(("convnext_test", 64), ("convnext_test", 96), ("convnext_tiny", 64)),
        *(("convnext_base", 64), ("convnext_base_wd", 64)),
        *(("vit_test_patch16", 64), ("vit_test_patch16", 96)),
        *(("vit_tiny_patch16", 64), ("vit_base_patch16_wd", 64)),
    ],
)
def test_logits_are_those_of_timm(backbone: str, size: int):
    is_vit = backbone.startswith("vit")
    theirs = random_model(backbone, **({"img_size": size} if is_vit else {}))
    image = make_image(size, size)
    with torch.no_grad():
        expected = theirs(to_torch(image)).numpy()
        features = theirs.forward_features(to_torch(image)).numpy()
    case = bare_models.make_case(backbone, image_size=size, fill=np.zeros)
    case, report = case.from_torch(tensors_of(theirs))
    assert not report.missing and not report.left_out

    found, feature_map = jax.jit(
        lambda model, image: (
            logits(model, image),
            model.backbone(image, train=False).feature_map,
        )
    )(case.model, image)
    if is_vit:
        patches = features[:, features.shape[1] - (size // 16) ** 2 :]
        expected_map = patches.reshape(feature_map.shape)
    else:
        expected_map = features.transpose(0, 2, 3, 1)  # [b, h, w, d]
    for ours, expected_one in ((found, expected), (feature_map, expected_map)):
        assert np.abs(ours - expected_one).max() <= 1e-5 * np.abs(expected_one).max()


@pytest.mark.parametrize("backbone", ["convnext_test", "vit_test_patch16"])
def test_gradients_are_those_of_timm(backbone: str):
    is_vit = backbone.startswith("vit")
    theirs = random_model(backbone, **({"img_size": 64} if is_vit else {}))
    image = jnp.asarray(make_image(64, 64))
    torch.sin(theirs(to_torch(make_image(64, 64)))).sum().backward()
    expected = {name: p.grad.numpy() for name, p in theirs.named_parameters()}
    case = bare_models.make_case(backbone, image_size=64, fill=np.zeros)
    case, _ = case.from_torch(tensors_of(theirs))
    graphdef = nnx.graphdef(case.structure)

    @jax.jit
    @jax.grad
    def gradient(params):
        model = nnx.merge(graphdef, params, case.batch_stats)
        return jnp.sum(jnp.sin(logits(model, image, train=True)))

    found = torch_weights.to_torch(gradient(case.params), {}, model=case.structure)
    assert found.keys() == expected.keys()
    largest = max(np.abs(x).max() for x in expected.values())
    for name, theirs_one in expected.items():
        # Of keys' biases the softmax takes no notice: there both have rounding alone.
        bound = 1e-4 * np.abs(theirs_one).max() + 1e-6 * largest
        assert np.abs(found[name] - theirs_one).max() <= bound, name


@pytest.mark.parametrize("class_token", [True, False])
@pytest.mark.parametrize("grid", [(4, 6), (14, 14), (10, 5), (3, 20)])
def test_positions_are_resampled_as_in_timm(grid: tuple[int, int], class_token: bool):
    rng = np.random.default_rng(0)
    positions = rng.normal(size=(1, 49 + class_token, 8)).astype(np.float32)
    expected = timm_layers.resample_abs_pos_embed(
        torch.from_numpy(positions), new_size=grid, num_prefix_tokens=int(class_token)
    )
    found = vit.resample_positions(positions, grid, num_others=int(class_token))
    np.testing.assert_allclose(found, expected.numpy(), atol=3e-6)


@pytest.mark.parametrize("size", [(96, 96), (64, 112)])
def test_weights_for_another_size_are_those_that_timm_makes_of_them(size):
    """From a square grid of 4 x 4 to one of 6 x 6, and to one of 4 x 7."""
    small = random_model("vit_test_patch16", img_size=64)
    other = random_model("vit_test_patch16", img_size=size)
    other.load_state_dict(
        small.state_dict()
        | {
            "pos_embed": timm_layers.resample_abs_pos_embed(
                small.pos_embed, new_size=[side // 16 for side in size]
            )
        }
    )
    image = make_image(*size)
    with torch.no_grad():
        expected = other(to_torch(image)).numpy()
    case = bare_models.make_case("vit_test_patch16", image_size=size, fill=np.zeros)
    case, _ = case.from_torch(tensors_of(small))
    found = jax.jit(logits)(case.model, image)
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("backbone", ["convnext_test", "vit_test_patch16", "resnet50"])
def test_our_weights_go_out_to_timm_and_come_back(tmp_path, backbone: str):
    options = {"image_size": 64} if backbone.startswith("vit") else {}
    case = bare_models.make_case(backbone, **options)
    weight_files.write(tmp_path / "model.safetensors", case.to_torch())
    theirs = timm_model(backbone, **({"img_size": 64} if options else {}))
    state = weight_files.read(tmp_path / "model.safetensors")
    theirs.load_state_dict(
        {name: torch.from_numpy(x) for name, x in state.items()},
        strict=backbone != "resnet50",  # whose counts of batches are not written
    )
    zeros = bare_models.make_case(backbone, fill=np.zeros, **options)
    again, report = zeros.from_torch(tensors_of(theirs))
    assert not report.missing
    jax.tree.map(np.testing.assert_array_equal, again.params, case.params)
    jax.tree.map(np.testing.assert_array_equal, again.batch_stats, case.batch_stats)

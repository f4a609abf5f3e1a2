import jax
import jax.numpy as jnp
import plain_form
import pytest
from flax import nnx

from mlgcn_jax.models import registry, resnet


def plain_resnet(params, x, *, block_sizes):
    """Independent oracle: lax.conv, reduce_window."""
    conv, norm, norm_relu = plain_form.conv, plain_form.norm, plain_form.norm_relu
    x = norm_relu(conv(x, params["conv1"]["kernel"], 2, 3), params["bn1"])
    x = plain_form.max_pool(x)
    for i, num_blocks in enumerate(block_sizes, start=1):
        for j in range(num_blocks):
            block = params[f"layer{i}"][f"{j}"]
            stride = 2 if i > 1 and j == 0 else 1
            new = norm_relu(conv(x, block["conv1"]["kernel"]), block["bn1"])
            new = norm_relu(
                conv(new, block["conv2"]["kernel"], stride, 1), block["bn2"]
            )
            new = norm(conv(new, block["conv3"]["kernel"]), block["bn3"])
            if j == 0:
                downsample = block["downsample"]
                x = norm(conv(x, downsample["0"]["kernel"], stride), downsample["1"])
            x = jax.nn.relu(x + new)
    return x


@pytest.mark.parametrize("form", ["plain", "cpu", "gpu"])
def test_training_forward_and_gradient_agree_with_the_plain_form(form):
    block_sizes = (1, 2)
    model = resnet.ResNet(
        block_sizes=block_sizes,
        num_init_features=4,
        dtype=jnp.float32,
        form=form,
        rngs=nnx.Rngs(0),
    )
    assert model.num_features == 32
    plain_form.assert_trains_like(
        model,
        lambda params, x: plain_resnet(params, x, block_sizes=block_sizes),
        map_shape=(3, 5, 4, 32),
    )


def test_a_shortcut_has_parameters_only_where_shapes_differ():
    rngs = nnx.Rngs(0)
    for in_features, stride, projected in ((16, 1, False), (16, 2, True), (4, 1, True)):
        block = resnet.Bottleneck(
            in_features, 4, stride=stride, dtype=jnp.float32, form="plain", rngs=rngs
        )
        assert (block.downsample is not None) == projected


@pytest.mark.parametrize("size", [(224, 224), (225, 193)])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_feature_map_is_a_32nd_rounded_up(size: tuple[int, int], dtype: str):
    def forward(image):
        backbone = registry.BACKBONES["resnet50"](
            dtype=registry.DTYPES[dtype], rngs=nnx.Rngs(0)
        )
        variables = nnx.to_pure_dict(nnx.state(backbone, (nnx.Param, nnx.BatchStat)))
        assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(variables))
        return backbone(image, train=True).feature_map

    image = jax.ShapeDtypeStruct((2, *size, 3), jnp.float32)
    out = jax.eval_shape(forward, image)
    assert out.shape == (2, -(-size[0] // 32), -(-size[1] // 32), 2048)
    assert out.dtype == registry.DTYPES[dtype]

import math

import configurations
import pytest

from configs import default
from mlgcn_jax.schema import configs


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("num_epochs", -1, "config.num_epochs=-1 must be at least 0"),
        ("batch_size", 0, "config.batch_size=0 must be at least 1"),
        ("accumulation_steps", 0, "accumulation_steps=0 must be at least 1"),
        ("label_shards", 0, "label_shards=0 must be at least 1"),
        ("seed", -1, "config.seed=-1 must be at least 0"),
        ("seed", 2**32, "seed=4294967296 must be at most 4294967295"),
        ("model__hidden_features", 0, "must be at least 1"),
        ("optimizer__clip_norm", -1.0, r"clip_norm=-1\.0 must be at least 0"),
        ("optimizer__weight_decay", math.nan, "weight_decay=nan must be at least 0"),
        ("optimizer__learning_rate", 0.0, r"learning_rate=0\.0 must be at least 1\.17"),
        ("optimizer__learning_rate", math.inf, "must be at most"),
        ("optimizer__ema_decay", 1.0, r"at most 0\.99"),
        ("optimizer__ema_decay", -0.1, "at least 0"),
        ("log_every_steps", 0, "must be at least 1"),
        ("num_threads", 257, "num_threads=257 must be at most 256"),
    ],
)
def test_a_number_out_of_range_is_an_error(key, value, message):
    with pytest.raises(ValueError, match=message):
        configs.check(configurations.tiny("data", **{key: value}))


def test_no_dataset_is_an_error_that_says_what_to_give():
    with pytest.raises(ValueError, match=r"give --config\.data_dir=DIR"):
        configs.check(default.get_config())
    configs.check(configurations.tiny("data"))

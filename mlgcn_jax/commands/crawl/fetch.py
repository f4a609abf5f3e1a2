"""Fetches the pictures of a crawl that are owed; repeated, it goes on.

mlgcn crawl fetch FOLDER [--quota=N] [--size=original]

What failed is tried again by the next run. `mlgcn crawl status FOLDER` shows the crawl
meanwhile.
"""

from absl import flags, logging

from mlgcn_jax.commands import exit_status
from mlgcn_jax.commands.crawl import folder_argument, site_flags
from mlgcn_jax.crawl import fetching
from mlgcn_jax.crawl.client import clients, pace
from mlgcn_jax.crawl.records import manifest as manifests
from mlgcn_jax.crawl.records import works

flags.adopt_module_key_flags(site_flags)

_QUOTA = flags.DEFINE_integer(
    "quota",
    None,
    "At most N pictures a label, a fair sample of all days. How many that is is logged "
    "before the first is fetched.",
    lower_bound=1,
)
_SIZE = flags.DEFINE_enum(
    "size",
    works.SIZES[0],
    works.SIZES,
    "Long side of up to 1200 pixels, enough for training; or as uploaded.",
)
_IMAGE_INTERVAL_S = flags.DEFINE_float(
    "image_interval_s",
    clients.Manners.image_interval_s,
    "Seconds between two pictures.",
    lower_bound=0,
)
_CONNECTIONS = flags.DEFINE_integer(
    "connections",
    clients.Manners.connections,
    "Pictures under way at the same time.",
    lower_bound=1,
    upper_bound=64,
)


def main(argv: list[str]) -> int:
    """Fetches; returns 1 where pictures failed."""
    folder = folder_argument.parse(argv)
    with manifests.opened(folder):
        pass  # a folder that holds no crawl is told before anything is made in it
    with site_flags.open_session(
        folder,
        "fetch",
        image_interval_s=_IMAGE_INTERVAL_S.value,
        connections=_CONNECTIONS.value,
    ) as session:
        try:
            failed = fetching.fetch(session, size=_SIZE.value, per_label=_QUOTA.value)
        except pace.DailyCapError as error:
            logging.warning("%s", error)
            return exit_status.PREEMPTED
    if failed:
        logging.error(
            "%d pictures failed; mlgcn crawl status %s says why, and the same command "
            "tries them again",
            failed,
            folder,
        )
    return exit_status.FAILURE if failed else 0

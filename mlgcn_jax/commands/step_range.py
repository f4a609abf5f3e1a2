"""The flag value `A-B`: steps of a run."""

from absl import flags

from mlgcn_jax.training import profile


class Parser(flags.ArgumentParser):
    """Makes a range of `A-B`; what is none is a wrong call."""

    syntactic_help = "the first and the last step, as in 20-25"

    def parse(self, argument: str | range) -> range:
        """Returns the steps; the default comes as it is."""
        if isinstance(argument, range):
            return argument
        return profile.parse_steps(argument)

    def flag_type(self) -> str:
        """Returns the name of the type."""
        return "range of steps"


PROFILE_STEPS = flags.DEFINE(
    Parser(),
    "profile_steps",
    range(0),
    "Steps A-B to trace into WORKDIR/profile, 1 the first.",
)

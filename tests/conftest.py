"""Before any test: a quiet TensorFlow, Matplotlib without a screen, and property-based tests that repeat."""

import os

os.environ.setdefault("MPLBACKEND", "agg")

from hypothesis import Phase, settings  # noqa: E402

from helpers import runtime  # noqa: E402

runtime.quiet_import()

# derandomize: the same examples on every machine; no deadline: the first call of a TensorFlow operation is slow.
settings.register_profile(
    "repeatable", derandomize=True, deadline=None, phases=(Phase.explicit, Phase.generate, Phase.shrink)
)
settings.load_profile("repeatable")

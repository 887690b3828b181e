"""A process whose mean depends on a category, a static number and a past covariate, all known.

x_t ~ N(m_k + 2 s + 2 c_{t-1}, 1),    s, c_t ~ N(0, 1),    m = (-3, 0, 3),    c_0 = 0
"""

import numpy as np
import pandas as pd

from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.readers import load

MEANS = {"north": -3.0, "south": 0.0, "west": 3.0}
ROLES = {"static": ["region", "size"], "past_covariates": ["visits"]}


def table(num: int, steps: int, seed: int) -> pd.DataFrame:
    """A long table; `truth` is log p(x_t | x_{<t}, k, s, c_{<t}) in nats."""
    rng = np.random.default_rng(seed)
    parts = []
    for i in range(num):
        region, size = str(rng.choice(list(MEANS))), float(rng.normal())
        visits, noise = rng.normal(size=(2, steps))
        y = MEANS[region] + 2 * size + 2 * np.r_[0.0, visits[:-1]] + noise
        truth = -0.5 * np.log(2 * np.pi) - 0.5 * noise**2
        columns = {"y": y, "region": region, "size": size, "visits": visits, "truth": truth}
        parts.append(pd.DataFrame({"unique_id": f"s{i}", "ds": np.arange(steps), **columns}))
    return pd.concat(parts, ignore_index=True)


def dataset(num: int = 6, steps: int = 7, seed: int = 0) -> SequenceDataset:
    """A sample of it, with the roles of its columns."""
    return load(table(num, steps, seed), targets=["y"], **ROLES)

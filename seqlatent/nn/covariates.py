"""What is known of each step besides the values before it, as networks take it.

Numbers are on the scale of the training data's. A category becomes a vector that is learnt; the one
of code 0, "not seen in training", is learnt too, because training leaves out a few categories at
random (`seqlatent.training.augmentation`). A missing past covariate becomes 0, its mean, and a flag
says so.
"""

import torch
from torch import Tensor, nn

from seqlatent.data.description import DataDescription
from seqlatent.nn.layers import soft_clip

MAX_DIM = 16  # of a category's vector


class CovariateScaler(nn.Module):
    """Covariates, static features and past covariates as features of a network.

    Attributes:
        out_dim: the number of features of a step.
        categories: places of the categories among a batch's covariates.
        past: the place of the first past covariate; they are the last ones.
    """

    loc: Tensor
    scale: Tensor

    def __init__(self, description: DataDescription):
        super().__init__()
        d = description
        loc = (*d.covariate_loc, *d.static_loc, *d.past_loc)
        scale = (*d.covariate_scale, *d.static_scale, *d.past_scale)
        self.register_buffer("loc", torch.tensor(loc, dtype=torch.float64))
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float64))
        first = len(d.covariate_names)
        self.past = first + len(d.static_names)
        self.categories = [first + d.static_names.index(name) for name in d.static_labels]
        self.numbers = [i for i in range(len(loc)) if i not in self.categories]
        sizes = [len(labels) for labels in d.static_labels.values()]
        self.embeddings = nn.ModuleList(
            nn.Embedding(size + 1, min(MAX_DIM, (size + 1) // 2)) for size in sizes
        )
        with torch.no_grad():
            for embedding in self.embeddings:
                embedding.weight[0] = 0.0  # pyright: ignore
        dims = sum(min(MAX_DIM, (size + 1) // 2) for size in sizes)
        self.out_dim = len(self.numbers) + len(d.past_names) + dims

    def forward(self, covariates: Tensor) -> Tensor:
        """(B, T, C + S + P) covariates of a batch -> (B, T, out_dim) features: numbers, flags of
        missing past covariates, vectors of categories."""
        dtype = torch.get_default_dtype()
        missing = covariates[..., self.past :].isnan()
        if missing.shape[-1]:
            known = torch.where(missing, self.loc[self.past :], covariates[..., self.past :])
            covariates = torch.cat([covariates[..., : self.past], known], -1)
        scaled = soft_clip(((covariates - self.loc) / self.scale).to(dtype))
        if not self.categories and not missing.shape[-1]:
            return scaled
        codes = [covariates[..., place].long() for place in self.categories]
        vectors = [e(code) for e, code in zip(self.embeddings, codes, strict=True)]
        return torch.cat([scaled[..., self.numbers], missing.to(dtype), *vectors], -1)

"""The guides by their conditioning."""

from seqlatent.models.latent.guide import Guide
from seqlatent.models.latent.network_guide import NetworkGuide
from seqlatent.models.latent.options import LatentOptions
from seqlatent.models.latent.prior_guide import PriorGuide
from seqlatent.models.latent.priors import Prior, SequentialPrior
from seqlatent.nn.build import build_network
from seqlatent.nn.recurrent import Recurrent


def build_guide(options: LatentOptions, prior: Prior, value_dim: int, known_dim: int) -> Guide:
    """The guide that the options ask for.

    Args:
        options: of the model.
        prior: of the model, for a guide that corrects it.
        value_dim: size of the embedding of x_t.
        known_dim: size of what is known before x_t.
    """
    o, hidden = options, options.hidden_dim
    seen_dim = value_dim + known_dim + (hidden if o.smoothing else 0)
    backward = Recurrent(value_dim, hidden) if o.smoothing else None
    if o.conditioning == "prior":
        assert isinstance(prior, SequentialPrior)  # else the options are refused
        return PriorGuide(prior, seen_dim, hidden, backward, o.guide_distribution)
    network = build_network(
        o.guide, seen_dim + o.latent_dim, hidden, num_layers=o.guide_layers, dropout=o.dropout
    )
    return NetworkGuide(network, o.latent_dim, o.conditioning, backward, o.guide_distribution)

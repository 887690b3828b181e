"""How far windows that a model drew are from real ones: arrays in, numbers out.

    measure_drawn(real, drawn, train=train)    # a table, beside half, bootstrap and copula

| file | what it holds |
|---|---|
| `windows` | what may be measured, units, distances between windows |
| `distances` | Wasserstein, sliced, MMD, energy, correlations |
| `neighbours` | the distance to the nearest training window |
| `encoder`, `trained` | a learnt encoder; Context-FID, discriminative, predictive |
| `references` | windows drawn without a model |
| `measuring` | `MEASURES`, and `measure_drawn`, all of them together |
"""

from seqlatent.measures.distances import correlation, energy, mmd, sliced_wasserstein, wasserstein
from seqlatent.measures.measuring import ALL, CHEAP, MEASURES, REFERENCES, Measure, measure_drawn
from seqlatent.measures.neighbours import nearest
from seqlatent.measures.references import bootstrap, copula
from seqlatent.measures.trained import context_fid, discriminative, encoder_of, frechet, predictive

__all__ = [
    "ALL",
    "CHEAP",
    "MEASURES",
    "REFERENCES",
    "Measure",
    "bootstrap",
    "context_fid",
    "copula",
    "correlation",
    "discriminative",
    "encoder_of",
    "energy",
    "frechet",
    "measure_drawn",
    "mmd",
    "nearest",
    "predictive",
    "sliced_wasserstein",
    "wasserstein",
]

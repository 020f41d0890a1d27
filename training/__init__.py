"""From recordings to weights: data sets, fits, evaluation against baselines."""

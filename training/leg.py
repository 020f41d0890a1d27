"""One wearer's clips, and the state CNN fitted to some of them."""

from dataclasses import replace

import numpy as np

from models.state_cnn import ANATOMY, StateCnn
from training.checkpoint import Weights
from training.fit_state import Fitted, fit_state
from training.frames import Clips
from training.leave_out import F64
from training.metrics import doubt
from training.oddness import set_limits
from training.outliers import SHOWN, spoil
from training.predict_state import Estimates, Rows, predict
from training.state_config import StateRun
from training.state_data import MEAN, STD, MapsOf, StateData

NOBODY: Rows = np.empty(0, np.intp)  # no clip stops a fit: with so few, all teach
SPOILT = 4  # seed of the spoilt pictures
FOLDS = 2  # fits whose errors on clips they have not seen set the doubt


class Leg:
    """Clips as the network sees them, and what every fit to some of them begins from.

    A clip takes the place that a person has elsewhere: nobody is in training and in validation.
    """

    def __init__(self, clips: Clips, run: StateRun, see: MapsOf, start: Weights | None = None):
        self.clips, self.run, self.start = clips, run, start
        images = np.round(clips.images[:, 0] * STD + MEAN).clip(0, 255).astype(np.uint8)
        unknown = np.full((len(images), ANATOMY), np.nan, np.float32)
        self.data = StateData(images, see(images), clips.clip, clips.targets, unknown)
        self.spoilt = spoil(self.data, list(SHOWN), run.data.shown, SPOILT, see)

    def rows(self, clips: Clips) -> Rows:
        """Where the frames of some of the clips are."""
        return np.flatnonzero(np.isin(self.data.person, np.unique(clips.clip)))

    def fit(self, train: Clips, start: bool = True, seed: int = 0) -> Fitted:
        """The network fitted to these clips and to spoilt pictures of them.

        Its doubt is that of its training errors: see ``settled``.
        """
        run = self.run
        return fit_state(
            self.data,
            self.rows(train),
            NOBODY,
            self.spoilt,
            run.model,
            replace(run.fit, seed=run.fit.seed + seed),
            start=self.start if start else None,
        )

    def estimate(self, train: Clips, test: Clips, start: bool = True, seed: int = 0) -> F64:
        """What a network fitted to ``train`` says of ``test``: ``(n, outputs)``."""
        net = self.fit(train, start, seed).net
        return predict(net, self.data, self.rows(test)).values.astype(np.float64)

    def settled(self, train: Clips) -> StateCnn:
        """The network fitted to ``train``, its doubt and its gate set by clips left out of fits.

        Left out are clips whose condition has another clip, where there are any: that is what
        the wearer will do next.
        """
        net = self.fit(train).net
        numbers = np.unique(train.clip).tolist()
        known = [train.conditions[k] for k in numbers]
        repeated = [k for k in numbers if known.count(train.conditions[k]) > 1] or numbers
        truth, seen = [], []
        for j in range(min(FOLDS, len(repeated))):
            out = repeated[j::FOLDS]
            rows = np.flatnonzero(np.isin(self.data.person, out))
            truth.append(self.data.targets[rows])
            seen.append(self._unsettled(train.part([k for k in numbers if k not in out]), rows))
        values, sd, odd, far = (
            np.concatenate(part)
            for part in zip(*((s.values, s.sd, s.odd, s.far) for s in seen), strict=True)
        )
        net.reset_doubt()
        net.doubt.copy_(net.doubt.new_tensor(doubt(values, sd, np.concatenate(truth))))
        set_limits(net, odd, far)
        return net

    def _unsettled(self, train: Clips, rows: Rows) -> Estimates:
        net = self.fit(train, seed=1).net
        net.reset_doubt()
        return predict(net, self.data, rows)

"""One wearer's clips, and the state CNN fitted to some of them."""

import copy
from dataclasses import replace

import numpy as np

from models.committee import Committee
from models.state_cnn import ANATOMY
from training.checkpoint import Weights
from training.fit_state import Fitted, fit_state
from training.frames import Clips
from training.kept import keep
from training.leave_out import F64
from training.metrics import doubt
from training.oddness import set_limits
from training.outliers import SHOWN, spoil
from training.predict_state import Estimates, Rows, predict
from training.state_config import StateRun
from training.state_data import MEAN, STD, MapsOf, StateData

NOBODY: Rows = np.empty(0, np.intp)  # no clip stops a fit: with so few, all teach
SPOILT = 4  # seed of the spoilt pictures
MEMBERS = 3  # networks that answer together: one alone, it is luck how it reads what it never saw
UNSETTLED = 100  # seed of networks that no committee has
FOLDS = 2  # fits whose errors on clips they have not seen set the doubt


class Leg:
    """Clips as the network sees them, and what a fit to some of them may begin from.

    A clip takes the place that a person has elsewhere: nobody is in training and in validation.
    """

    def __init__(self, clips: Clips, run: StateRun, see: MapsOf, start: Weights | None = None):
        self.clips, self.run, self.start = clips, run, start
        images = np.round(clips.images[:, 0] * STD + MEAN).clip(0, 255).astype(np.uint8)
        unknown = np.full((len(images), ANATOMY), np.nan, np.float32)
        self.data = StateData(images, see(images), clips.clip, clips.targets, unknown)
        self.spoilt = spoil(self.data, list(SHOWN), run.data.shown, SPOILT, see)
        self._keep()  # once, not once a fit

    def like(self, run: StateRun, start: Weights | None) -> "Leg":
        """The same clips for another network; nothing is looked at again."""
        other = copy.copy(self)
        other.run, other.start = run, start
        other.data = replace(self.data, kept=None)
        other.spoilt = replace(self.spoilt, kept=None)
        other._keep()
        return other

    def _keep(self) -> None:
        how = (self.run.model, self.run.fit.augment, self.run.fit.copies, self.run.fit.seed)
        self.data, self.spoilt = keep(self.data, *how), keep(self.spoilt, *how)

    def rows(self, clips: Clips) -> Rows:
        """Where the frames of some of the clips are."""
        return np.flatnonzero(np.isin(self.data.person, np.unique(clips.clip)))

    def fit(self, train: Clips, seed: int = 0) -> Fitted:
        """One network fitted to these clips and to spoilt pictures of them, from ``start`` if any.

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
            start=self.start,
        )

    def estimate(self, train: Clips, test: Clips) -> F64:
        """What MEMBERS networks fitted to ``train`` say together of ``test``: ``(n, outputs)``."""
        each = [self.alone(train, test, seed=k) for k in range(MEMBERS)]
        return np.asarray(np.mean(each, axis=0))

    def alone(self, train: Clips, test: Clips, seed: int = 0) -> F64:
        """The same of one network."""
        net = self.fit(train, seed).net
        return predict(net, self.data, self.rows(test)).values.astype(np.float64)

    def settled(self, train: Clips, members: int = MEMBERS) -> Committee:
        """Networks fitted to ``train``; doubt and gate as clips that other fits left out say.

        Left out are clips whose condition has another clip, where there are any: that is what
        the wearer will do next.
        """
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
        factor = doubt(values, sd, np.concatenate(truth))
        nets = [self.fit(train, seed=k).net for k in range(members)]
        for net in nets:
            net.reset_doubt()
            net.doubt.copy_(net.doubt.new_tensor(factor))
            set_limits(net, odd, far, members)
        return Committee(nets)

    def _unsettled(self, train: Clips, rows: Rows) -> Estimates:
        net = self.fit(train, seed=UNSETTLED).net
        net.reset_doubt()
        return predict(net, self.data, rows)

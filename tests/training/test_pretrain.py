from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.state_cnn import StateCnnConfig
from training.cohort.dataset import cache_file
from training.cohort.person import SESSION_S, Cohort, Order
from training.pretrain import VALIDATION, fit_people, pretrained
from training.state_config import Pretraining, SimulatedPeople
from training.state_epoch import StateFit

MODEL = StateCnnConfig("pooled", hidden=6, dropout=0.0)
FIT = StateFit(batch=4, exposed=2)
MORE = Pretraining(people=2, first=300, frames=4, epochs=2)


def layers(images):
    """A segmenter that sees the same leg in every picture."""
    maps = np.zeros((len(images), 3, 128, 128), np.uint8)
    maps[:, 0, :, 60:64] = maps[:, 1, :, 20:60] = maps[:, 2, :, 64:110] = 255
    return maps


def nothing(images):
    return np.zeros((len(images), 3, 128, 128), np.uint8)


@pytest.fixture(scope="module")
def people(drawn_legs, tmp_path_factory) -> SimulatedPeople:
    """A cache with drawn legs in place of rendered ones, which take seconds each."""
    made = SimulatedPeople(cache=str(tmp_path_factory.mktemp("cohort")), shown=1)
    legs, n = drawn_legs(2, MORE.frames), MORE.frames
    for k in range(MORE.people):
        order = Order(MORE.first + k, made.seed, n, SESSION_S, routine=False)
        rows = slice(k * n, (k + 1) * n)
        one = Cohort(
            images=legs.images[rows],
            targets=legs.targets[rows][:, [0, 1, 1]],
            anatomy=legs.anatomy[rows],
            emg_uv=np.zeros((n, 2), np.float32),
            person=np.full(n, order.number),
            t_s=np.arange(n, dtype=np.float32),
            phase=np.full(n, -1),
        )
        np.savez(cache_file(order, Path(made.cache)), **vars(one))
    return made


@pytest.fixture(scope="module")
def file(people, tmp_path_factory) -> Path:
    """Weights of two people."""
    path = tmp_path_factory.mktemp("run") / "pretrained.pt"
    pretrained(MODEL, FIT, MORE, people, layers, path)
    return path


def test_nobody_to_pretrain_on_is_no_weights_and_no_file(people, tmp_path):
    none = replace(MORE, people=0)
    assert pretrained(MODEL, FIT, none, people, layers, tmp_path / "pretrained.pt") is None
    assert list(tmp_path.iterdir()) == []


def test_weights_once_fitted_are_kept_and_read_again(file, people):
    heard = []
    again = pretrained(MODEL, FIT, MORE, people, layers, file, heard.append)
    assert heard == []  # not fitted again
    assert again is not None
    assert again["mean"].abs().max() > 0  # in the units of these people's targets
    kept = torch.load(file, weights_only=True)["weights"]
    assert all(torch.equal(again[name], tensor) for name, tensor in kept.items())
    assert not file.with_suffix(".checkpoint").exists()


def test_kept_weights_of_other_settings_are_not_taken_for_these(file, people):
    for model, fit, more, who in (
        (replace(MODEL, hidden=7), FIT, MORE, people),
        (MODEL, replace(FIT, seed=2), MORE, people),
        (MODEL, FIT, replace(MORE, epochs=3), people),
        (MODEL, FIT, MORE, replace(people, seed=1)),
        (MODEL, FIT, MORE, replace(people, shown=2)),
    ):
        with pytest.raises(ValueError, match="other settings"):
            pretrained(model, fit, more, who, layers, file)
    with pytest.raises(ValueError, match="other settings"):  # another segmenter
        pretrained(MODEL, FIT, MORE, people, nothing, file)


def test_a_killed_fit_goes_on_where_it_was(drawn_legs, tmp_path):
    data, model = drawn_legs(3, 8), replace(MODEL, outputs=2)
    heard = []

    def kill(epoch):
        heard.append(epoch.number)
        if epoch.number == 1:
            raise KeyboardInterrupt

    path = tmp_path / "pretrained.checkpoint"
    with pytest.raises(KeyboardInterrupt):
        fit_people(data, model, FIT, MORE, 1, layers, path, kill)
    found = fit_people(data, model, FIT, MORE, 1, layers, path, kill)
    assert heard == [1, 2]
    whole = fit_people(data, model, FIT, MORE, 1, layers, tmp_path / "other.checkpoint")
    assert all(torch.equal(found[name], tensor) for name, tensor in whole.items())


def test_one_in_sixteen_stops_the_fit_and_there_is_always_one(drawn_legs, tmp_path):
    for count in (2, VALIDATION + 1):
        data, epochs = drawn_legs(count, 2), []
        model = replace(MODEL, outputs=2)
        path = tmp_path / f"{count}.checkpoint"
        fit_people(data, model, FIT, MORE, 1, layers, path, epochs.append)
        assert np.isfinite([e.validation for e in epochs]).all()

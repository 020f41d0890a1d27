from dataclasses import replace

import numpy as np
import pytest
import torch

from models.state_cnn import LOST, StateCnn, StateCnnConfig
from training.checkpoint import weights
from training.fit_state import fit_state
from training.outliers import SHOWN, UNSEEN, spoil
from training.predict_state import predict
from training.state_epoch import StateFit

MODEL = StateCnnConfig("pooled", hidden=16, outputs=2, dropout=0.1)
STRIDED = StateCnnConfig(
    "strided", pixels=32, widths=(6, 8), squeeze=2, hidden=8, outputs=2, dropout=0.1
)
FIT = StateFit(epochs=4, patience=4, batch=16, rate=1e-2, exposed=4)


@pytest.fixture(scope="module")
def data(drawn_legs):
    return drawn_legs(5, 24)


@pytest.fixture(scope="module")
def fitted(data):
    train, validate, _ = rows(data)
    spoilt = spoil(data, list(SHOWN), 12, 1, whole_maps(data))
    return fit_state(data, train, validate, spoilt, MODEL, replace(FIT, epochs=16, exposed=8))


def rows(data):
    return (np.flatnonzero(np.isin(data.person, people)) for people in ((0, 1, 2), (3,), (4,)))


def whole_maps(data):
    """A segmenter that always sees the first leg."""
    return lambda images: data.maps[:1].repeat(len(images), axis=0)


def same(a: StateCnn, b: StateCnn) -> bool:
    return all(
        torch.equal(x, y) for x, y in zip(weights(a).values(), weights(b).values(), strict=True)
    )


def test_learns_what_people_it_never_saw_have_in_common(data, fitted):
    *_, test = rows(data)
    seen = predict(fitted.net, data, test)
    error = np.sqrt(np.mean((seen.values - data.targets[test]) ** 2, axis=0))
    assert (error < 0.5 * data.targets.std(0)).all()
    assert fitted.epochs[-1].error < 0.5 * fitted.epochs[0].error
    z = (seen.values - data.targets[test]) / seen.sd
    assert 0.4 < z.std() < 2  # and its doubt is of the size of its errors


def test_the_anatomy_that_is_known_is_learned_the_rest_does_no_harm(data, fitted):
    seen = predict(fitted.net, data)
    thickness_mm = data.anatomy[:, 0]
    assert np.corrcoef(seen.anatomy[:, 0], thickness_mm)[0, 1] > 0.8
    assert np.isfinite(seen.anatomy).all()


def test_keeps_the_epoch_that_was_best_for_the_validation_people(data, fitted):
    _, validate, _ = rows(data)
    best = min(e.validation for e in fitted.epochs)
    assert fitted.epochs[fitted.best - 1].validation == best
    seen = predict(fitted.net, data, validate)
    z = (seen.values - data.targets[validate]) / fitted.net.scale.numpy()
    assert np.mean(z**2) == pytest.approx(best, rel=1e-4)


# A drawn leg has no fascicles, so its mirror image is as good as itself.
@pytest.mark.parametrize("kind", [k for k in (*SHOWN, *UNSEEN) if k != "mirrored"])
def test_a_spoilt_picture_gets_a_useless_sd_not_a_confident_value(kind, data, fitted):
    bad = spoil(data, [kind], 8, 7, whole_maps(data))
    sd = predict(fitted.net, bad).sd / fitted.net.scale.numpy()
    assert np.median(sd.min(1)) > 3
    assert sd.max() < 2 * LOST


def test_a_good_picture_of_another_person_passes(data, fitted):
    *_, test = rows(data)
    assert np.mean(predict(fitted.net, data, test).gate > 0) < 0.1


def test_stops_when_the_validation_people_gain_no_more(data):
    train, validate, _ = rows(data)
    noise = np.random.default_rng(1).standard_normal(data.targets.shape)
    nothing_to_learn = replace(data, targets=noise.astype(np.float32))
    fit = replace(FIT, epochs=8, patience=1)
    done = fit_state(nothing_to_learn, train, validate, None, MODEL, fit)
    assert len(done.epochs) == done.best + 1 < 8


@pytest.mark.parametrize("model", [MODEL, STRIDED])
def test_the_same_seed_gives_the_same_weights(data, model):
    train, validate, _ = rows(data)
    fit = replace(FIT, epochs=1)
    a, b = (fit_state(data, train, validate, None, model, fit).net for _ in range(2))
    assert same(a, b)
    other = fit_state(data, train, validate, None, model, replace(fit, seed=2)).net
    assert not same(a, other)


def test_bfloat16_repeats_and_is_not_float32(data):
    train, validate, _ = rows(data)
    fit = replace(FIT, epochs=1, bf16=True)
    a, b = (fit_state(data, train, validate, None, STRIDED, fit).net for _ in range(2))
    assert same(a, b)
    exact = fit_state(data, train, validate, None, STRIDED, replace(fit, bf16=False)).net
    assert not same(a, exact)


def test_the_last_epoch_stays_where_it_is_asked_to(data):
    train, validate, _ = rows(data)
    fit = replace(FIT, epochs=3, rate=0.1)  # far too fast: the first epoch is as good as any
    seen = {k: fit_state(data, train, validate, None, MODEL, replace(fit, keep=k)) for k in
            ("best", "last")}  # fmt: skip
    assert seen["last"].best == 3
    error = {
        k: np.mean(
            ((predict(f.net, data, validate).values - data.targets[validate]) / f.net.scale.numpy())
            ** 2
        )
        for k, f in seen.items()
    }
    assert error["last"] == pytest.approx(seen["last"].epochs[-1].validation, rel=1e-4)
    assert error["best"] == pytest.approx(min(e.validation for e in seen["best"].epochs), rel=1e-4)


@pytest.mark.parametrize("model", [MODEL, STRIDED])
def test_a_killed_fit_goes_on_to_the_weights_it_would_have_had(data, tmp_path, model):
    train, validate, _ = rows(data)
    spoilt = spoil(data, ["inverted"], 8, 1, whole_maps(data))
    path = tmp_path / "fold.checkpoint"

    def kill(epoch):
        if epoch.number == 2:
            raise KeyboardInterrupt

    whole = fit_state(data, train, validate, spoilt, model, FIT)
    with pytest.raises(KeyboardInterrupt):
        fit_state(data, train, validate, spoilt, model, FIT, checkpoint=path, report=kill)
    torch.rand(7)  # whatever else happened to the generator of dropout meanwhile
    after = fit_state(data, train, validate, spoilt, model, FIT, checkpoint=path)
    assert same(whole.net, after.net)
    assert whole.epochs == after.epochs
    with pytest.raises(ValueError, match="other settings"):
        fit_state(data, train, validate, spoilt, model, replace(FIT, seed=2), checkpoint=path)


def test_goes_on_from_other_weights_with_new_heads_for_other_outputs(data, fitted):
    train, validate, _ = rows(data)
    start = weights(fitted.net)
    still = replace(FIT, epochs=1, rate=1e-12, decay=0.0)
    one = replace(data, targets=data.targets[:, :1])
    net = fit_state(
        one, train, validate, None, replace(MODEL, outputs=1), still, start=start
    ).net  # fmt: skip
    assert net.mean.shape == (1,)
    torch.testing.assert_close(net.rest[1].weight, fitted.net.rest[1].weight)
    physics = replace(MODEL, head="physics")
    net = fit_state(data, train, validate, None, physics, still, start=start).net
    torch.testing.assert_close(net.rest[1].weight, fitted.net.rest[1].weight)
    same_outputs = fit_state(data, train, validate, None, MODEL, still, start=start).net
    torch.testing.assert_close(same_outputs.value.weight, fitted.net.value.weight)
    torch.testing.assert_close(same_outputs.mean, fitted.net.mean)
    with pytest.raises(ValueError, match="other sizes"):
        fit_state(data, train, validate, None, replace(MODEL, hidden=9), still, start=start)
    other = StateCnnConfig("plain", pixels=32, widths=(6, 8), hidden=8, outputs=2)
    with pytest.raises(ValueError, match="another network"):
        fit_state(data, train, validate, None, other, still, start=start)


def test_rows_that_make_no_honest_fit_are_refused(data):
    train, validate, _ = rows(data)
    with pytest.raises(ValueError, match="are in training and in validation"):
        fit_state(data, train, train[:2], None, MODEL, FIT)
    with pytest.raises(ValueError, match="of 3 outputs"):
        fit_state(data, train, validate, None, replace(MODEL, outputs=3), FIT)
    still = replace(data, targets=np.ones_like(data.targets))
    with pytest.raises(ValueError, match="do not move"):
        fit_state(still, train, validate, None, MODEL, FIT)


@pytest.mark.parametrize(
    "wrong", [{"device": "tpu"}, {"epochs": 0}, {"batch": 0}, {"keep": "first"}, {"copies": -1}]
)
def test_settings_that_cannot_be_are_named(wrong):
    with pytest.raises(ValueError, match=f"fit.{next(iter(wrong))}"):
        StateFit(**wrong)

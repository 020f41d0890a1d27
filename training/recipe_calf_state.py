"""Recipe of ``calf-state``: muscle state of anybody's calf, learned on simulated people."""

from pathlib import Path

import numpy as np

from calibration.prior import FILE as PRIOR
from edge.bundle import MODEL, REFERENCE, Bundle, load_bundle
from export.bundle import write_bundle
from export.onnx import export_onnx
from export.reference import torch_reference
from firmware_bridge.types import Output
from models.committee import Committee
from models.segmenter import MAPS
from models.spec import ModelSpec
from models.state_cnn import StateCnn
from models.ultrasound_net import UltrasoundNet
from training.card import Facts, card
from training.cohort.dataset import cohort, routine_cohort
from training.crossval import Material
from training.crossval_results import fold_arrays
from training.evaluate import METRICS, metrics_json
from training.fit_state import fit_state
from training.folds import folds
from training.frames import IMAGE
from training.hand_features import hand_baseline_folds
from training.metrics import scores
from training.personal import held_people, shipped_prior
from training.pretrain import pretrained
from training.recipe_segmenter import segmenter_of
from training.state_config import StateRun, load_run, member_runs
from training.state_data import MEAN, STD, StateData
from training.state_material import maps_of, material
from training.train_state_command import token, train_state

# Who does not know better than 2 SD of everybody knows nothing: the device flags it FAULT.
OUTPUTS = (
    Output("ankle_angle", "deg", -60, 60, max_sd=20),
    Output("emg", "share", -0.5, 2, max_sd=0.7),
    Output("ankle_moment", "N m", -60, 300, max_sd=65),
)
SPEC = ModelSpec(
    "calf-state",
    (IMAGE,),
    OUTPUTS,
    period_ms=1000 / 61,
    sd="sd",
    maps="maps",
    map_names=MAPS,
)


def train_calf_state(folder: Path, quick: bool = False) -> Bundle:
    """Cross-validate on the simulated cohort, fit to all of it, and write the bundle.

    An hour, most of it to render the people; goes on with what ``folder``.work has.  Raises
    BundleError without the segmenter, ValueError where the work is of other settings.
    """
    work = folder.with_name(folder.name + (".quick" if quick else ".work"))
    if train_state("state-cnn", work, resume=True, quick=quick):
        raise ValueError("the cross-validation could not begin, see above")
    run = load_run("state-cnn")
    segmenter = segmenter_of(load_bundle(run.data.segmenter))
    runs = {name: token(one) if quick else one for name, one in member_runs(run).items()}
    run = token(run) if quick else run
    m = material(run.data)
    members = [_fitted(one, m, work / name) for name, one in runs.items()]
    net = UltrasoundNet(segmenter, Committee(members)).eval()
    pictures = m.data.images[:: max(1, len(m.data.images) // 8)]
    examples = [{"image": ((p.astype(np.float32) - MEAN) / STD)[None, None]} for p in pictures]
    export_onnx(net, SPEC, examples, folder / MODEL)
    (folder / REFERENCE).write_bytes(torch_reference(net, SPEC, examples))
    return _sealed(folder, run, work, m.data, _facts(run, runs), prior=not quick)


def _fitted(run: StateRun, m: Material, work: Path) -> StateCnn:
    """A member fitted to everybody but two people, who set its doubt."""
    see = maps_of(run.data)
    start = pretrained(run.model, run.fit, run.pretrain, run.data, see, work / "pretrained.pt")
    held = np.isin(m.data.person, folds(m.data.person.tolist(), run.folds)[0].validate)
    train, rest = np.flatnonzero(~held), np.flatnonzero(held)
    return fit_state(m.data, train, rest, m.shown, run.model, run.fit, start=start).net


def _sealed(
    folder: Path, run: StateRun, work: Path, data: StateData, facts: Facts, prior: bool
) -> Bundle:
    a = fold_arrays(work, range(run.folds.count))
    groups = [f"{len(np.unique(a['person']))} simulated people, held out"] * len(a["rows"])
    names = [o.name for o in OUTPUTS]
    network = scores(names, groups, a["values"], a["truth"])[len(names) :]
    baseline = hand_baseline_folds(data, run.folds)[a["rows"]]
    linear = scores(names, groups, baseline, a["truth"])[len(names) :]
    extra = {METRICS: metrics_json(network, linear)}
    if prior:  # a token cross-validation has too few people to teach one
        d = run.data
        people, cache = range(d.first, d.first + d.people), Path(d.cache)
        session = cohort(people, d.frames, d.seed, cache)
        routine = routine_cohort(people, d.routine, d.seed, cache)
        held = held_people(work, range(run.folds.count), session, routine)
        extra[PRIOR] = shipped_prior(held).to_json()
    return write_bundle(folder, SPEC, card(facts, SPEC, network, linear), extra)


def _facts(run: StateRun, members: dict[str, StateRun]) -> Facts:
    more = next(iter(members.values())).pretrain
    epochs = ", ".join(f"{n} {r.pretrain.epochs} + {r.fit.epochs}" for n, r in members.items())
    return Facts(
        title="calf-state: activity, ankle angle and moment from one B-mode picture of a calf",
        purpose="After Cunningham & Loram 2019 (arXiv 1907.01649): a segmenter finds medial "
        "gastrocnemius and soleus, and two networks, one with fixed filters and one with learned "
        "ones, estimate together angle (negative = dorsiflexed), EMG (share of the 95th percentile "
        "of a session) and moment (positive = plantarflexion) of people they have never seen. "
        "`sonomyo personalise` fits them to a wearer.",
        limits="Learned on SIMULATED people alone: it has never seen a real one, and nothing here "
        "says how it reads one.",
        data=f"{more.people} simulated people, {more.frames} pictures each, then "
        f"{run.data.people} more, {run.data.frames} pictures each (`training/cohort`).",
        split=f"{run.folds.count} folds: every one of the {run.data.people} people is read by a "
        "network of others. The bundle's own network is one more fit, to all but two of them.",
        training=f"AdamW, on the first people and then on the others: {epochs} epochs. The "
        "settings were chosen on the first people. Two people set the standard deviations.",
        baseline="Linear = ridge regression on hand-made features (thickness, mean pennation, "
        "echo intensity), over the same folds.",
        licence="Apache-2.0.",
        command="sonomyo train calf-state",
    )

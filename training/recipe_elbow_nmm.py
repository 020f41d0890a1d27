"""Recipe of ``elbow-nmm``: every elbow muscle and torque from joint angle and load, simulated."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from edge.bundle import Bundle
from training.card import Facts
from training.nmm_bundle import write_elbow
from training.nmm_config import NmmRun
from training.nmm_folds import Outcome, run_folds
from training.virtual_arm import trials_of
from training.virtual_people import TUNED_ON

NAME = "elbow-nmm"


def train_elbow_nmm(
    folder: Path, quick: bool = False, epochs: int | None = None, workers: int = 0
) -> Bundle:
    """Fit on all trials of one simulated person, and as often as it takes to know the doubt."""
    run = NmmRun()
    run = replace(run, epochs=epochs or run.epochs)
    trials = trials_of(TUNED_ON)
    if quick:
        run = replace(run, epochs=1, first_guess=False)
        trials = tuple(t for t in trials if t.load_kg < 4 and t.tempo_s < 2)
    outcomes = run_folds(trials, run, 1 if quick else workers)
    return write_elbow(folder, NAME, outcomes, trials, about(run, outcomes))


def about(run: NmmRun, outcomes: Sequence[Outcome]) -> Facts:
    """What the card says besides numbers."""
    minutes = sum(o.fitted.seconds for o in outcomes) / 60
    return Facts(
        title="elbow-nmm: activation of every elbow muscle, and elbow torque, from angle and load",
        purpose="A network reads the last second of elbow angle and the load in the hand, and a "
        "Hill model of the person turns what it says of the muscles into torque; brachialis "
        "(`BRA`) and triceps medialis (`TRImed`), which no surface electrode reaches, were learned "
        "from the torque and from their neighbours. 100 % is a muscle that can give no more. "
        "Flexion torque is positive: what the muscles give, less the joint's damping.",
        data="Simulated people: OpenSim's arm26 with Millard muscles, perturbed to a person, "
        "holding 0, 2 or 4 kg and following flexions and extensions of 0.7 to 2 s "
        f"(`training/virtual_arm.py`). This is {TUNED_ON}, on whom settings were chosen. "
        "Trained on envelopes of surface EMG over four muscles, encoder angles with "
        "0.1 deg of noise, and inverse dynamics.",
        split="Every trial was held out once while its load and its tempo stayed in training, then "
        "every load; the network that ships was trained on all trials. Truth is the simulation's "
        "activation, and inverse dynamics of the smoothed motion.",
        baseline="Linear = least squares from the newest features (angle, speed, acceleration, "
        "load, inverse dynamics) to torque, and to EMG envelopes 50 ms before; muscles without an "
        "electrode are the mean of their neighbours.",
        training=f"{run.epochs} epochs, {len(outcomes)} trainings, {minutes:.0f} minutes of one "
        "core in all.",
        limits="It is of one simulated person and has never met a real one; nothing in it is "
        "calibrated to a wearer. The upper arm must hang still, the forearm move without contact, "
        "the load be a point in the hand 0.30 m from the elbow: pushing against a device is torque "
        "that it does not know of. Isometric effort and fatigue were not trained. "
        "What it says of muscles is one way to make the motion, learned from one person's "
        "habits; another person shares out differently.",
        licence="Weights: Apache-2.0. Geometry and muscle constants of arm26: Holzbaur, Murray, "
        "Delp 2005 (doi 10.1007/s10439-005-3320-7); arm26 by J. Reinbolt, A. Seth, A. Habib, "
        "S. Hamner, CC BY 3.0. Changes: perturbed to simulated people, Millard muscles, only the "
        "elbow moves.",
        command="sonomyo train elbow-nmm",
    )

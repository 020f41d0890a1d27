"""One simulated person's frames: picture, muscle state, anatomy and EMG at moments of a session.

participant -> drive -> activation -> muscle and tendon -> picture, and drive -> EMG -> envelope.
Simulated: every figure obtained on these arrays is one about the simulation.
"""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from training.cohort.bmode import render
from training.cohort.emg import envelope, raw_emg_uv
from training.cohort.mechanics import activation, solve
from training.cohort.participant import Participant, participant
from training.cohort.protocol import routine, session
from training.cohort.scene import make_scene

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

STATE = ("ankle_angle", "emg", "ankle_moment")  # deg, share, N m
ANATOMY = tuple(
    f"{muscle}_{what}"
    for muscle in ("mg", "sol")
    for what in ("thickness_mm", "pennation_deg", "fascicle_mm")
)
SESSION_S = 160.0
RATE_HZ = 100.0  # of the protocol
EMG_HZ = 1000.0
EMG_FULL = 95.0  # percentile of a person's own envelope that counts as 1


@dataclass(frozen=True)
class Cohort:
    """Frames of simulated people; rows of one person are consecutive and in order of time."""

    images: NDArray[np.uint8]  # (n, lines, samples) brightness
    targets: F32  # (n, 3) in order STATE
    anatomy: F32  # (n, 6) in order ANATOMY
    emg_uv: F32  # (n, 2) envelopes of MG and SOL that nobody scaled
    person: NDArray[np.intp]  # (n,) participant number
    t_s: F32  # (n,) since the start of the session or routine
    phase: NDArray[np.intp]  # (n,) index of protocol.PHASES; -1 in a session

    def take(self, rows: NDArray[np.bool_] | NDArray[np.intp] | slice) -> "Cohort":
        """The frames ``rows``, in that order."""
        return Cohort(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})


@dataclass(frozen=True)
class Order:
    """What decides one person's frames."""

    number: int
    seed: int
    frames: int
    seconds: float  # of the session
    routine: bool  # the calibration routine instead of the session


@dataclass(frozen=True)
class Signals:
    """What happens to one person, at RATE_HZ, before anybody takes a picture."""

    t_s: F64  # (n,)
    angle_deg: F64  # (n,)
    activation: F64  # (n,)
    emg_uv: F64  # (n, 2) envelopes of MG and SOL
    phase: NDArray[np.intp]  # (n,)


def signals(p: Participant, seconds: float = SESSION_S, calibrating: bool = False) -> Signals:
    """Drive, activation and EMG envelopes of a session of ``p``, or of the calibration routine."""
    drive = routine(p, RATE_HZ) if calibrating else session(p, seconds, RATE_HZ)
    emg_t_s = np.arange(0.0, drive.t_s[-1] + 1.5 / EMG_HZ, 1 / EMG_HZ)  # ends behind the drive
    excitation = np.interp(emg_t_s, drive.t_s, drive.excitation)
    raw = raw_emg_uv(p, excitation, EMG_HZ, seed=int(calibrating))
    return Signals(
        t_s=drive.t_s,
        angle_deg=drive.angle_deg,
        activation=activation(drive.excitation, RATE_HZ),
        emg_uv=envelope(raw, EMG_HZ, drive.t_s),
        phase=drive.phase,
    )


def full_emg_uv(of_session: Signals) -> F64:
    """The envelopes ``(2,)`` that count as 1: the 95th percentile of the person's own session."""
    return np.asarray(np.percentile(of_session.emg_uv, EMG_FULL, axis=0))


def generate(order: Order) -> Cohort:
    """One person's frames, from nothing; one at a random moment of each of ``frames`` equal spans.

    The EMG target is the mean of both muscles' shares of ``full_emg_uv``; of the session in the
    routine as well, for the electrodes stay on.  Raises ValueError for fewer than one frame.
    """
    if order.frames < 1:
        raise ValueError(f"{order.frames} frames: ask for one at least")
    p = participant(order.number, order.seed)
    of_session = signals(p, order.seconds)
    s = signals(p, calibrating=True) if order.routine else of_session
    rng = np.random.default_rng((order.seed, order.number, 40, order.routine))
    edges = np.linspace(s.t_s[0], s.t_s[-1], order.frames + 1)
    t_s = rng.uniform(edges[:-1], edges[1:])

    def at(values: F64) -> F64:
        return np.interp(t_s, s.t_s, values)

    state = solve(p, at(s.angle_deg), at(s.activation))
    emg_uv = np.stack([at(channel) for channel in s.emg_uv.T], axis=1)
    emg = np.mean(emg_uv / full_emg_uv(of_session), axis=1)
    scene = make_scene(p)
    first = 1_000_000 * order.routine  # the noise of a session does not come back in the routine
    images = [
        render(
            scene,
            state.fascicle_mm[k],
            state.pennation_deg[k],
            state.thickness_mm[k],
            float(state.activation[k]),
            first + k,
        )
        for k in range(order.frames)
    ]
    shape = (state.thickness_mm, state.pennation_deg, state.fascicle_mm)
    return Cohort(
        images=np.stack(images),
        targets=np.stack([state.angle_deg, emg, state.moment_nm], axis=1).astype(np.float32),
        anatomy=np.stack([v[:, m] for m in (0, 1) for v in shape], axis=1).astype(np.float32),
        emg_uv=emg_uv.astype(np.float32),
        person=np.full(order.frames, order.number),
        t_s=t_s.astype(np.float32),
        phase=s.phase[np.searchsorted(s.t_s, t_s, side="right") - 1].astype(np.intp),
    )

"""One simulated person: muscles, ankle, electrodes and tissue, drawn once from a number.

Spreads are like those of healthy adults in the literature on imaging of the calf (architecture:
Maganaris, Baltzopoulos, Sargeant 1998; moment arm: the same authors 2000), rounded, and DEFAULTs of
this project; force shares, tendon lengths and the optimal lengths around which we draw follow
published OpenSim models (Gait2392; Rajagopal, Lai, Uhlrich 2023).  A person is simulated: no
number belongs to anybody.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

COHORT_SEED = 20190703
COHORT = 32  # numbers 0..31 are the cohort; others train or test something else
MUSCLES = ("mg", "lg", "sol")  # medial and lateral gastrocnemius, soleus

HEIGHT_M = 1.72
F_TOTAL_N = 3900.0  # F_max of the three muscles together, a person of that height
F_SHARE = (0.286, 0.145, 0.569)  # Rajagopal, Lai, Uhlrich 2023
SLACK_MM = (387.0, 374.0, 281.0)  # the same


@dataclass(frozen=True)
class Muscle:
    """Constants of a Hill muscle and its tendon."""

    l_opt_mm: float  # fascicle length of greatest active force
    pennation_opt_deg: float  # at that length
    l_slack_mm: float  # tendon and aponeurosis, unloaded
    f_max_n: float  # isometric, along the fascicles
    tendon_strain: float  # at F_max
    optimum_deg: float  # ankle angle at which the relaxed fascicles are at l_opt

    @property
    def thickness_mm(self) -> float:
        """Distance between the aponeuroses at optimal length."""
        return self.l_opt_mm * math.sin(math.radians(self.pennation_opt_deg))


@dataclass(frozen=True)
class Ankle:
    """Joint geometry and passive moment; the equations are in ``models/calf.py``."""

    arm_mm: float  # Achilles moment arm, foot at right angles to the leg
    arm_peak_deg: float  # angle at which the moment arm is greatest
    passive_df_deg: float  # dorsiflexion at which joint tissue resists with 1 N m
    passive_pf_deg: float  # the same in plantarflexion
    range_deg: tuple[float, float]  # most dorsiflexed, most plantarflexed angle of the session


@dataclass(frozen=True)
class Electrodes:
    """Surface EMG of MG and SOL, in this order."""

    gain_uv: tuple[float, float]  # RMS of the muscle's own signal at full excitation
    crosstalk: tuple[float, float]  # share of the other muscle's signal, by amplitude
    noise_uv: float  # RMS
    hum_uv: float  # amplitude at the mains frequency


@dataclass(frozen=True)
class Tissue:
    """What the probe sees besides the muscles' lengths and angles, and how it is set."""

    skin_mm: float
    fat_mm: float
    layer_tilt_deg: float  # superficial aponeurosis against the skin; > 0: deeper to the right
    middle_tilt_deg: float  # MG/SOL sheet against the superficial one
    deep_tilt_deg: float  # deep sheet of SOL against the MG/SOL sheet
    seam_mm: float  # dark gap between the sheets of MG and SOL
    probe_tilt_deg: float  # turns the whole picture
    offset_mm: float  # where along the leg the probe sits
    curvature_per_mm: float  # of fascicles at full activation
    fat_db: float  # echo levels against relaxed muscle
    aponeurosis_db: float
    fascicle_db: float  # of the bright streaks between fascicles
    soleus_db: float
    darkening_db: float  # of muscle at full activation
    fascicle_mm: float  # between streaks, across them
    visible: float  # share of the muscle in which streaks show, 0..1
    scatterers_mm2: float  # per area; few make non-Rayleigh speckle
    frequency_mhz: float
    pulse_mm: float  # axial -6 dB width of the echo of a point
    beam_mm: float  # lateral -6 dB width in focus
    focus_mm: float
    looks: int  # compounded by the scanner
    gain_db: float
    dynamic_range_db: float
    attenuation_db_mm: float  # both ways, what the scanner's depth gain has left over
    tgc_error_db: float  # peak of a slow error of that depth gain
    noise_db: float  # thermal, at the bottom of the picture, against relaxed muscle
    out_of_plane_deg: float  # ankle rotation after which speckle has half forgotten itself


@dataclass(frozen=True)
class Participant:
    """A simulated person.  ``number`` and ``seed`` alone decide everything."""

    number: int
    seed: int
    height_m: float
    mass_kg: float
    mg: Muscle
    lg: Muscle
    sol: Muscle
    ankle: Ankle
    bulge: tuple[float, float]  # growth of MG, SOL thickness at F_max, as a share of it
    recruitment: tuple[float, float, float]  # exponents of ``recruit``, in order MUSCLES
    electrodes: Electrodes
    tissue: Tissue

    @property
    def muscles(self) -> tuple[Muscle, Muscle, Muscle]:
        """In order MUSCLES."""
        return self.mg, self.lg, self.sol

    def recruit(self, level: F64) -> F64:
        """Drive of the calf ``(n,)``, 0..1, to the drive of each muscle ``(n, 3)``, order MUSCLES.

        A power per muscle: soleus, with more slow fibres, joins earlier.  0 and 1 stay 0 and 1.
        """
        return np.power(np.asarray(level, np.float64)[:, None], self.recruitment)


def participant(number: int, seed: int = COHORT_SEED) -> Participant:
    """The simulated person ``number``, the same on every call and machine.

    0..31 are the cohort; take 100 and up for anything that must not have met them.
    Raises ValueError for a negative number.
    """
    if number < 0:
        raise ValueError(f"participant {number}: numbers start at 0")
    # One stream each: a new line of tissue does not change anybody's muscles.
    body, skin, wires = (np.random.default_rng((seed, number, k)) for k in range(3))
    size = _normal(body, 1.0, 0.05)
    brawn = _normal(body, 0.0, 1.0)  # thick muscles are strong, and the other way round
    muscles = _muscles(body, size, brawn)
    low_deg, high_deg = _normal(body, -24.0, 1.5), _normal(body, 20.0, 1.5)
    ankle = Ankle(
        arm_mm=_normal(body, 50.0, 2.0) * size,
        arm_peak_deg=_normal(body, 20.0, 3.0),
        passive_df_deg=_normal(body, -20.0, 3.0),
        passive_pf_deg=_normal(body, 30.0, 3.0),
        range_deg=(low_deg, high_deg),
    )
    return Participant(
        number=number,
        seed=seed,
        height_m=HEIGHT_M * size,
        mass_kg=22.5 * (HEIGHT_M * size) ** 2 * (1 + 0.08 * brawn) + _normal(body, 4.0, 4.0),
        mg=muscles[0],
        lg=muscles[1],
        sol=muscles[2],
        ankle=ankle,
        bulge=(_normal(body, 0.03, 0.015), _normal(body, 0.06, 0.02)),
        recruitment=(_normal(body, 1.15, 0.07), _normal(body, 1.2, 0.08), _normal(body, 0.9, 0.05)),
        electrodes=_electrodes(wires),
        tissue=_tissue(skin),
    )


def _normal(rng: np.random.Generator, mean: float, sd: float) -> float:
    """Normal, with the tails beyond 2 SD folded onto the limit: nobody is a monster."""
    return float(mean + sd * np.clip(rng.standard_normal(), -2, 2))


def _muscles(rng: np.random.Generator, size: float, brawn: float) -> list[Muscle]:
    """MG, LG, SOL.  Long fascicles are thick muscles' too: pennation spreads less than either."""
    length_mm = [(50.0, 5.4), (58.0, 6.2), (41.0, 2.5)]
    thick_mm = [(17.5, 2.0), (14.5, 1.7), (16.5, 1.8)]
    optimum_deg = (-1.0, -1.0, -2.0)
    f_total_n = F_TOTAL_N * size**1.5 * (1 + 0.10 * (0.7 * brawn + _normal(rng, 0.0, 0.7)))
    strain = _normal(rng, 0.050, 0.005)  # one Achilles tendon
    muscles = []
    for k in range(3):
        l_opt_mm = _normal(rng, *length_mm[k]) * size
        mean, sd = thick_mm[k]
        w_mm = mean * (l_opt_mm / length_mm[k][0]) ** 0.5 + sd * (
            0.4 * brawn + _normal(rng, 0.0, 0.7)
        )
        muscles.append(
            Muscle(
                l_opt_mm=l_opt_mm,
                pennation_opt_deg=math.degrees(math.asin(w_mm / l_opt_mm)),
                l_slack_mm=SLACK_MM[k] * size * _normal(rng, 1.0, 0.02),
                f_max_n=f_total_n * F_SHARE[k] * _normal(rng, 1.0, 0.05),
                tendon_strain=strain,
                optimum_deg=_normal(rng, optimum_deg[k], 3.0),
            )
        )
    return muscles


def _electrodes(rng: np.random.Generator) -> Electrodes:
    """Gains differ between people by more than a factor of two: skin, fat, placement."""
    mg_uv, sol_uv = np.exp(rng.normal(np.log([250.0, 180.0]), 0.35)).tolist()
    return Electrodes(
        gain_uv=(mg_uv, sol_uv),
        crosstalk=(float(rng.uniform(0.03, 0.12)), float(rng.uniform(0.05, 0.2))),
        noise_uv=float(rng.uniform(1.5, 4.0)),
        hum_uv=float(rng.uniform(0.0, 3.0)),
    )


def _tissue(rng: np.random.Generator) -> Tissue:
    """Skin, fat, sheets, echo levels and the scanner's knobs.

    One laboratory with one scanner and one preset, as in the study: the knobs hardly differ.
    The darkening is that of a film of maximal isometric pushes (us_mg_dynamometer): about
    -2 dB in MG; -5 dB and more in SOL, which the screen's black cuts off.  4 dB is our choice.
    """
    return Tissue(
        skin_mm=_normal(rng, 1.5, 0.2),
        fat_mm=float(np.clip(math.exp(rng.normal(math.log(5.0), 0.35)), 3.0, 10.0)),
        layer_tilt_deg=_normal(rng, 1.5, 1.0),
        middle_tilt_deg=_normal(rng, -0.5, 1.0),
        deep_tilt_deg=_normal(rng, 0.0, 1.0),
        seam_mm=_normal(rng, 0.8, 0.2),
        probe_tilt_deg=float(rng.uniform(-4, 4)),
        offset_mm=_normal(rng, 0.0, 4.0),
        curvature_per_mm=_normal(rng, 0.005, 0.0015),
        fat_db=_normal(rng, 14.0, 2.5),
        aponeurosis_db=_normal(rng, 29.0, 2.5),
        fascicle_db=_normal(rng, 12.0, 2.0),
        soleus_db=_normal(rng, -1.0, 1.0),
        darkening_db=_normal(rng, 4.0, 1.0),
        fascicle_mm=_normal(rng, 1.8, 0.3),
        visible=float(rng.uniform(0.4, 0.9)),
        scatterers_mm2=float(rng.uniform(8, 25)),
        frequency_mhz=float(rng.uniform(6.8, 7.2)),
        pulse_mm=_normal(rng, 0.5, 0.02),
        beam_mm=_normal(rng, 1.1, 0.1),
        focus_mm=_normal(rng, 25.0, 1.0),
        looks=int(rng.integers(3, 6)),
        gain_db=_normal(rng, 0.0, 1.0),
        dynamic_range_db=_normal(rng, 57.0, 1.0),
        attenuation_db_mm=_normal(rng, 0.1, 0.03),
        tgc_error_db=_normal(rng, 0.0, 0.5),
        noise_db=_normal(rng, -22.0, 3.0),
        out_of_plane_deg=_normal(rng, 12.0, 3.0),
    )

"""Which recordings a shipped model may never see: splits by whole clip or trial, fixed once.

One person recorded each of the two sets, so a score on the held-out part says how well a model
carries over to another effort of the same wearer, and nothing about other wearers.
"""

# us_mg_dynamometer: the last push of every condition is held out.  No validation part:
# cross-validate over the training clips.
MG_EVAL = (
    "p6_isokinetic030_01_push_03",
    "p6_isokinetic120_01_push_03",
    "p6_isokinetic210_01_push_03",
    "p6_isokinetic500_01_push_03",
    "p6_isometric_max_01_push_04",
    "p6_passive_ROM_01_push_03",
)
MG_TRAIN = (
    "p6_isokinetic030_01_push_01",
    "p6_isokinetic030_01_push_02",
    "p6_isokinetic120_01_push_01",
    "p6_isokinetic210_01_push_01",
    "p6_isokinetic210_01_push_02",
    "p6_isokinetic500_01_push_01",
    "p6_isokinetic500_01_push_02",
    "p6_isometric_max_01_push_01",
    "p6_isometric_max_01_push_03",
    "p6_passive_ROM_01_push_01",
)

# emg_torque_fascicle_ta: one of two trials at half effort, and the only fixed-end contraction.
TA_EVAL = ("PL_50_02", "Ref_Long_01")
TA_TRAIN = (
    "PL_0_01",
    "PL_50_01",
    "PL_100_01",
    "Pas_-10",
    "Pas_-15",
    "Pas_10",
    "Pas_20",
    "Pas_Long2Sho",
    "Pas_Sho2Long",
)

# What the demo plays: held-out recordings only, from slow to forceful.
MG_DEMO = (
    "p6_passive_ROM_01_push_03",
    "p6_isokinetic030_01_push_03",
    "p6_isokinetic120_01_push_03",
    "p6_isometric_max_01_push_04",
)
TA_DEMO = "PL_50_02"

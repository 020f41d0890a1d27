"""The card of the segmenter: a table of overlaps instead of errors in units."""

import math
from collections.abc import Mapping, Sequence

from models.segmenter import MAPS
from models.spec import ModelSpec
from training.datasets import data_set
from training.fit_segmenter import SegmenterFit
from training.overlap import Overlap
from training.segments import EVAL_GROUP, GROUPS, MASKS


def segmenter_card(
    spec: ModelSpec,
    fit: SegmenterFit,
    rows: Mapping[str, Sequence[Overlap]],
    baseline: Mapping[str, Sequence[Overlap]],
    error_mm: Mapping[str, float],
) -> str:
    """The card as Markdown; ``rows`` and ``baseline`` hold what each group of pictures gave.

    ``error_mm`` is the mean absolute error of a muscle's thickness in simulated pictures.
    """
    about = data_set(MASKS)
    inputs = "; ".join(f"`{i.name}` {list(i.shape)} from {i.source}" for i in spec.inputs)
    steps = " > ".join(s.op for i in spec.inputs for s in i.steps)
    names = ", ".join(f"apo_{n:05d}" for n in GROUPS[EVAL_GROUP])
    errors = ", ".join(f"{error_mm[m]:.2f} mm for {m}" for m in MAPS[1:])
    return f"""# {spec.name}: where the sheets and muscles of the calf are in a B-mode picture

A small U-Net looks at one picture along the leg and gives three maps of probabilities:
`aponeurosis` (any sheet), `mg` (medial gastrocnemius) and `sol` (soleus), each muscle between its
sheets. Other networks read muscle state inside them; `sonomyo measure` measures them.

**Not for clinical use.** In hand-drawn masks `mg` is the upper muscle, whichever it was: pictures
of other leg muscles are among them. `sol` was learned almost entirely from simulated pictures, and
its lower end is often out of the picture or too dark to see. The maps say where something is, never
how sure one can be of a measurement made there.

In: {inputs}, prepared by: {steps}.
Out: `{spec.maps}` {list(spec.map_names)}, 0 to 1, on the grid of the image.

## Data
{about.title}: the pictures of aponeuroses. Source: {about.source}.
Bands were drawn by hand; the muscle between two bands is taken from them, and what does not follow
from them was left out of training and of the figures below. Scale, muscle and person of a picture
were not recorded. The rest of the training pictures is simulated: people who are not in the cohort
that the state networks are evaluated on.

Pictures that look alike are in one of {len(GROUPS)} groups. The last group
({names})
trained nobody and chose nothing here; the group before it is from the same machine, and people may
be in both.

## Overlap on pictures kept out of training
Means over pictures of the Dice coefficient and the Jaccard index, and the worst picture's Jaccard
index. Mean map = the average map of the training pictures, whatever the picture shows. Left out in
turn = {len(GROUPS)} networks, each scored on the group it did not see; how pictures are changed was
chosen by looking at two of these groups, not the last.

{_table(rows, baseline)}

Thickness of the muscles in simulated pictures, mean absolute error: {errors}.

## Training
{fit.steps} batches of {fit.batch} pictures, AdamW (rate {fit.rate:g}, weight decay {fit.decay:g}),
Dice plus cross-entropy of what is known. Pictures are changed at random in depth, width, tilt,
shape of the layers, gain, contrast, speckle, sharpness, shadows and contact; some show no calf at
all, in which nothing is to be found. To reproduce: `sonomyo train segmenter`.

## Licence
Weights: Apache-2.0. Trained on pictures under {about.licence}: {about.attribution}
"""


def _table(rows: Mapping[str, Sequence[Overlap]], baseline: Mapping[str, Sequence[Overlap]]) -> str:
    lines = [
        "| pictures | map | n | Dice | Jaccard | worst | Jaccard of the mean map |",
        "|---|---|---|---|---|---|---|",
    ]
    for group, found in rows.items():
        simple = {o.map: o.jaccard for o in baseline.get(group, ())}
        for o in found:
            if o.n:
                mean = simple.get(o.map, math.nan)
                last = "" if math.isnan(mean) else f"{mean:.2f}"
                lines.append(
                    f"| {group} | {o.map} | {o.n} | {o.dice:.3f} | {o.jaccard:.3f} | "
                    f"{o.worst:.2f} | {last} |"
                )
    return "\n".join(lines)

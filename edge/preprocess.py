"""From sensor data to network inputs: one implementation for training and for the device.

``UsPipeline(geometry, input).run(frame)`` for pictures (``edge/preprocess_us.py`` lists its
steps), ``EmgPipeline(fs_hz, channels, input)`` for samples (``edge/emg_ops.py`` lists its).
"""

from edge.preprocess_emg import EmgPipeline as EmgPipeline
from edge.preprocess_us import UsPipeline as UsPipeline

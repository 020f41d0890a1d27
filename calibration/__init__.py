"""Numbers measured from one wearer or one recording.

Empty so far: the first models carry no per-wearer calibration, so their states say UNCALIBRATED.
"""

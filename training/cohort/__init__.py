"""The simulated cohort: people drawn from physics, who push and are imaged without a laboratory.

``participant`` draws a body, ``protocol`` what it is asked to do, ``mechanics`` solves muscle and
tendon, ``scene`` and ``bmode`` make the ultrasound picture, ``emg`` the electrodes' signal,
``dataset`` the whole.  Nothing in here was measured on anybody: every figure obtained on the cohort
is a figure about the simulation.
"""

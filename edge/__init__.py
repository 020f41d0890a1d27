"""The device: clock, preprocessing, runtimes, the tick, recording, replay, daemon.  Never torch."""

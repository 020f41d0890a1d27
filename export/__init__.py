"""From a checkpoint to a bundle the device runs."""

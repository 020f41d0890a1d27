"""``sonomyo demo``: the whole rig on recordings, as separate processes, without hardware."""

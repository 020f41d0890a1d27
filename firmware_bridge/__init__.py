"""Bytes to and from devices: probes, EMG boards, links to rehab devices.  Never imports edge."""

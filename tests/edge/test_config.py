"""Wrong settings are refused at the start, by name and with the remedy."""

import pytest

from edge.config import Config, ConfigError, load_config, parse_config, to_toml


def test_an_empty_file_is_a_rig_without_hardware():
    c = parse_config("")
    assert c == Config()
    assert c.rig.probe.startswith("synthetic:")


def test_every_setting_survives_being_written_and_read_again():
    text = """
    models = ["mg-state", "/a b/c\\\\d"]
    [rig]
    probe = ""
    emg = 'brainflow:cyton?serial_port=/dev/ttyUSB0'
    links = ["serial:/dev/ttyS1"]
    angle = "encoder:serial:/dev/ttyS1"
    load = "2.0 kg"
    [timing]
    period_ms = 20
    release_ms = 0
    [realtime]
    enabled = false
    [record]
    folder = "out"
    [trust]
    keys = ["ed25519:iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w=", "/etc/sonomyo/clinic.pem"]
    """
    c = parse_config(text)
    assert c.timing.period_ms == 20.0
    assert c.models[1] == "/a b/c\\d"
    assert parse_config(to_toml(c)) == c


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[tming]\nperiod_ms = 1", "unknown setting ['tming']; known: ['rig', 'models', 'timing'"),
        ("[timing]\nperiod = 10", "unknown setting ['timing.period']; known: ['period_ms'"),
        ("[timing]\nperiod_ms = '10'", "timing.period_ms must be float, is str '10'"),
        ("[realtime]\nenabled = 1", "realtime.enabled must be bool, is int 1"),
        ("[realtime]\npriority = true", "realtime.priority must be int, is bool True"),
        ("[rig]\nlinks = 'serial:x'", "rig.links is a list"),
        ("[rig]\nlinks = [3]", "rig.links[0] must be str"),
        ("rig = 3", "rig is a table: write [rig]"),
        ("[timing]\nperiod_ms = 0", "timing.period_ms must be 1..1000"),
        ("[timing]\nrelease_ms = 10", "timing.release_ms must be 0"),
        ("[timing]\nmax_us_age_ms = -1", "max_us_age_ms must be positive"),
        ("[timing]\nmax_angle_age_ms = 0", "max_angle_age_ms must be positive"),
        ("[timing]\nmax_load_age_ms = 0", "max_load_age_ms must be positive"),
        ("[realtime]\npriority = 99", "realtime.priority must be 15..90"),
        ("[record]\nfsync_s = 0", "record.fsync_s must be positive"),
        ("[timing]\nmax_us_age_ms = inf", "max_us_age_ms must be a finite number"),
        ("[record]\nfsync_s = nan", "fsync_s must be a finite number"),
        ("[trust]\nkeys = 'a.pem'", "trust.keys is a list"),
        ("[rig", "is not TOML"),
    ],
)
def test_a_wrong_setting_is_named_with_what_is_known(text, says):
    with pytest.raises(ConfigError) as e:
        parse_config(text, "rig.toml")
    assert says in str(e.value)
    assert "rig.toml" in str(e.value)


def test_a_missing_file_is_an_error_with_its_name(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read .*nowhere\.toml"):
        load_config(tmp_path / "nowhere.toml")

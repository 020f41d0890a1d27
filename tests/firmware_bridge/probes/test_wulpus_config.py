import json

import pytest

from firmware_bridge.probes.wulpus_config import (
    RESTART,
    Pair,
    WulpusConfig,
    encode,
    load_config,
)
from firmware_bridge.types import DeviceError

ONE = WulpusConfig(pairs=(Pair((0,), (0,)),))


def test_shipped_settings_give_the_bytes_worked_out_by_hand():
    assert encode(ONE) == (
        bytes.fromhex("fa")
        + bytes.fromhex("0300")  # 100 us x 0.0327675 = 3.27
        + bytes.fromhex("8f02")  # 20 000 us: 655.35
        + bytes.fromhex("10552200") * 2  # 2 250 000 Hz
        + bytes.fromhex("02")  # pulses
        + bytes.fromhex("0000")  # 8 MHz is code 0
        + bytes.fromhex("2003")  # 400 samples are 800 bytes
        + bytes.fromhex("29")  # 13.0 dB is number 24 of the table, from 17 on
        + bytes.fromhex("01")  # pairs
        + bytes.fromhex("0200 0100")  # channel 0: switch 1 sends, switch 0 listens
        + bytes.fromhex("700f")  # 494 us x 8
        + bytes.fromhex("c409")  # 500 us x 5
        + bytes.fromhex("1900 1900")  # 5 us x 5, twice
        + bytes.fromhex("f109")  # 509 us x 5
        + bytes.fromhex("a903")  # 3000 us x 5/16 = 937.5
        + bytes.fromhex("a60e")  # 3000 us x 5/4
        + bytes(68 - 38)
    )


def test_restart_is_one_byte_and_zeros():
    assert bytes([0xFB]) + bytes(67) == RESTART


def test_eight_pairs_leave_two_bytes_over():
    package = encode(WulpusConfig())
    assert len(package) == 68
    assert package[19] == 8
    assert package[20:24] == bytes.fromhex("02000100")
    assert package[48:52] == bytes.fromhex("00800040")  # channel 7: switches 15 and 14
    assert package[52:54] == bytes.fromhex("700f")
    assert package[64:] == bytes.fromhex("a60e 0000")


def test_a_ninth_pair_would_not_fit_and_is_refused():
    with pytest.raises(DeviceError, match=r"pairs: .* 1\.\.8, got 9"):
        WulpusConfig(pairs=(Pair((0,), (0,)),) * 9)


@pytest.mark.parametrize(
    ("pair", "masks"),
    [
        (Pair((0, 7), (3,)), (0x8002, 0x0040)),
        (Pair((), (1, 2)), (0x0000, 0x0014)),
        (Pair((2,), (2,), early_rx=True), (0x0020 | 0x0010, 0x0010)),  # it both sends and listens
        (Pair((2,), (5,), early_rx=True), (0x0020 | 0x0400, 0x0400)),  # it only listens
        (Pair((1, 2), (1, 2, 5), early_rx=True), (0x0008 | 0x0020 | 0x0004 | 0x0010, 0x0414)),
    ],
)
def test_channels_become_switches(pair, masks):
    assert pair.masks() == masks


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"pairs": ()}, "pairs"),
        ({"pairs": (Pair((8,), (0,)),)}, r"a channel: .* 0\.\.7, got 8"),
        ({"period_us": 19_900}, "too short: 20000 at least"),
        ({"period_us": 2_100_000}, r"period_us=2100000 is out of range: 0\.\."),
        ({"pulse_hz": 6_000_000}, "pulse_hz"),
        ({"pulses": 31}, "pulses"),
        ({"pulses": True}, "pulses"),
        ({"samples": 401}, "samples"),
        ({"samples": 0}, "samples"),
        ({"rate_hz": 3_000_000}, "rate_hz=3000000 is not one of"),
        ({"gain_db": 13.5}, "gain_db=13.5 is not one of"),
        ({"pulse_us": 13_200}, "pulse_us=13200 is out of range"),
        ({"adc_on_us": -1}, "adc_on_us=-1 is out of range"),
    ],
)
def test_what_the_probe_cannot_do_is_refused(setting, message):
    with pytest.raises(DeviceError, match=message):
        WulpusConfig(**setting)


def test_sampling_begins_below_the_skin():
    assert WulpusConfig(pulse_us=500, sampling_us=510).depth0_mm == pytest.approx(7.7)
    assert WulpusConfig().mm_per_sample == pytest.approx(0.09625)
    assert WulpusConfig(rate_hz=4_000_000).mm_per_sample == pytest.approx(0.1925)


def write(tmp_path, content):
    path = tmp_path / "wulpus.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_file_of_the_wulpus_tools_is_understood(tmp_path):
    settings = {
        "num_acqs": 400, "dcdc_turnon": 195300, "meas_period": 321965, "trans_freq": 2250000.0,
        "pulse_freq": 2250000.0, "num_pulses": 2, "sampling_freq": 8000000, "num_samples": 400,
        "rx_gain": 22, "num_txrx_configs": 1, "tx_configs": [0], "rx_configs": [0],
        "start_hvmuxrx": 500, "start_ppg": 500, "turnon_adc": 5, "start_pgainbias": 5,
        "start_adcsampl": 503, "restart_capt": 3000, "capt_timeout": 3000,
    }  # fmt: skip
    pairs = [
        {"config_id": 0, "tx_channels": [3], "rx_channels": [4, 5], "optimized_switching": True}
    ]
    config = load_config(write(tmp_path, {"us_config": settings, "tx_rx_config": pairs}))
    assert config == WulpusConfig(
        pairs=(Pair((3,), (4, 5), early_rx=True),),
        period_us=321965,
        dcdc_on_us=195300,
        gain_db=22.0,
        rx_switch_us=500,
        sampling_us=503,
    )


PAIRS = [{"tx_channels": [0], "rx_channels": [0]}]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not a WULPUS configuration"),
        ("[]", "is not a WULPUS configuration"),
        ({"us_config": {}}, "tx_rx_config"),
        ({"us_config": {"gain": 3}, "tx_rx_config": PAIRS}, r"unknown settings \['gain'\]; known"),
        ({"us_config": {}, "tx_rx_config": PAIRS, "more": 1}, r"\['more'\]"),
        ({"us_config": {}, "tx_rx_config": [{"tx_channels": [0]}]}, "rx_channels"),
        ({"us_config": {"num_pulses": "2"}, "tx_rx_config": PAIRS}, "pulses: expected a whole"),
        ({"us_config": {"meas_period": "2"}, "tx_rx_config": PAIRS}, "is not a WULPUS"),
        ({"us_config": {"num_samples": 401}, "tx_rx_config": PAIRS}, "samples"),
    ],
)
def test_a_file_that_is_something_else_says_what_is_wrong(tmp_path, content, message):
    with pytest.raises(DeviceError, match=message):
        load_config(write(tmp_path, content))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DeviceError, match=r"cannot read .*none\.json"):
        load_config(tmp_path / "none.json")

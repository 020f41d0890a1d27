import pytest

from edge.config import ConfigError
from models.state_cnn import StateCnn
from training.cohort.participant import COHORT
from training.state_config import CONFIGS, load_run, parse_run


@pytest.mark.parametrize("name", [p.stem for p in CONFIGS.glob("*.toml")])
def test_every_shipped_configuration_makes_a_network(name):
    run = load_run(name)
    StateCnn(run.model)
    assert run.data.people == 32
    assert run.data.first == 0  # the evaluation's people
    assert (run.folds.count, run.folds.validation) == (16, 2)


def test_the_comparisons_are_there_by_name():
    assert {"state-cnn", "plain", "residual"} <= {p.stem for p in CONFIGS.glob("*.toml")}
    assert load_run("plain").model.trunk == "plain"
    assert load_run("residual").model.trunk == "residual"


def test_what_a_file_does_not_say_is_ours():
    run = parse_run("[fit]\nepochs = 3\n[fit.augment]\nshift = 0.1\n")
    assert run.fit.epochs == 3
    assert run.fit.augment.shift == 0.1
    assert run.fit.augment.gain == parse_run("").fit.augment.gain
    assert run.model == parse_run("").model


def test_nobody_is_pretrained_on_who_is_held_out_later():
    for name in (p.stem for p in CONFIGS.glob("*.toml")):
        run = load_run(name)
        assert run.pretrain.people == 0 or run.pretrain.first >= COHORT
    tuning = "[data]\nfirst = 100\n[pretrain]\npeople = 200\nfirst = {}"
    with pytest.raises(ConfigError, match="people 100 to 131 are in .data.*take 132 or more"):
        parse_run(tuning.format(50))
    with pytest.raises(ConfigError, match="people 131 to 131"):
        parse_run(tuning.format(131))
    assert parse_run(tuning.format(132)).pretrain.people == 200
    assert parse_run("[data]\nfirst = 290").pretrain.people == 0  # none: no matter who is first


def test_a_file_is_read_by_its_path(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("[folds]\nonly = [0, 3]\n")
    assert load_run(str(path)).folds.only == (0, 3)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[fit]\nepoch = 3", r"unknown setting \['fit.epoch'\]; known: .*epochs"),
        ("[training]\n", "unknown setting .*known: .*fit"),
        ("[fit]\nepochs = 'many'", "fit.epochs must be int"),
        ("[fit]\ndevice = 'tpu'", "cpu or cuda"),
        ("[model]\npixels = 100", "divide 128"),
        ("[folds]\nonly = [16]", "no fold"),
        ("[data]\npeople = 0", "data.people must be at least 1"),
        ("[pretrain]\npeople = 8\nfirst = 31", "pretrain.first must be 32 or more"),
        ("[pretrain]\npeople = 1", "pretrain.people must be 0 or at least 2"),
        ("[pretrain]\npeople = -1", "pretrain.people must be 0 or at least 2"),
        ("[pretrain]\nepochs = 0", "pretrain.epochs must be at least 1"),
        ("[model]\nhead = 'neural'", "linear or physics"),
        ("[fit", "not TOML"),
    ],
)
def test_a_mistake_is_named_with_what_is_known(text, says):
    with pytest.raises(ConfigError, match=says):
        parse_run(text)


def test_a_missing_file_names_the_shipped_ones():
    with pytest.raises(ConfigError, match="plain, residual, state-cnn"):
        load_run("nowhere.toml")

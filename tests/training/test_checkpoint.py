from dataclasses import replace

import pytest
import torch
from torch import nn

from models.state_cnn import StateCnn, StateCnnConfig
from training.checkpoint import adopt, digest, load, save, weights
from training.fit_state import HEADS

LINEAR = StateCnnConfig("pooled", hidden=6)


def net(config: StateCnnConfig, seed: int) -> StateCnn:
    torch.manual_seed(seed)
    made = StateCnn(config)
    made.mean.fill_(float(seed))
    return made


@pytest.mark.parametrize("config", [LINEAR, replace(LINEAR, head="physics")])
def test_the_same_network_is_adopted_whole(config):
    own, start = net(config, 1), weights(net(config, 2))
    assert adopt(own, start, HEADS) == []
    for name, tensor in own.state_dict().items():
        assert torch.equal(tensor, start[name])


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (LINEAR, replace(LINEAR, outputs=2)),
        (LINEAR, replace(LINEAR, head="physics")),
        (replace(LINEAR, head="physics"), LINEAR),
        (replace(LINEAR, head="physics"), replace(LINEAR, head="physics", outputs=2)),
    ],
)
def test_heads_of_another_structure_stay_new_as_a_whole(before, now):
    own, start = net(now, 1), weights(net(before, 2))
    untouched = weights(own)
    fresh = adopt(own, start, HEADS)
    assert fresh == [k for k in own.state_dict() if k.startswith(HEADS)]
    for name, tensor in own.state_dict().items():
        assert torch.equal(tensor, (untouched if name in fresh else start)[name])
    assert own.mean.tolist() == [1.0] * now.outputs  # not in the units of the other training


def test_what_differs_beside_the_heads_is_another_network():
    with pytest.raises(ValueError, match="other sizes.*rest"):
        adopt(net(replace(LINEAR, hidden=7), 1), weights(net(LINEAR, 2)), HEADS)
    strided = StateCnnConfig("strided", pixels=32, widths=(4, 6), squeeze=3, hidden=6)
    with pytest.raises(ValueError, match="another network"):
        adopt(net(strided, 1), weights(net(LINEAR, 2)), HEADS)


def test_what_is_kept_is_read_again_with_its_key_only(tmp_path):
    path = tmp_path / "deep" / "kept.pt"
    kept = weights(nn.Linear(3, 2))
    save(path, {"weights": kept}, {"rate": 0.1, "people": [1, 2]})
    found = load(path, {"people": [1, 2], "rate": 0.1})["weights"]
    assert digest(found) == digest(kept)
    with pytest.raises(ValueError, match="other settings.*delete it"):
        load(path, {"people": [1, 3], "rate": 0.1})
    assert [p.name for p in path.parent.iterdir()] == ["kept.pt"]


def test_a_digest_tells_weights_apart():
    a = weights(nn.Linear(3, 2))
    moved = {name: tensor + 1e-6 for name, tensor in a.items()}
    renamed = {"other." + name: tensor for name, tensor in a.items()}
    assert len({digest(a), digest(moved), digest(renamed), digest(None)}) == 4
    assert digest(a) == digest(dict(reversed(a.items())))

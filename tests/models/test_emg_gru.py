import torch

from models.emg_gru import EmgGru, EmgGruConfig


def test_gru_steps_with_carried_state_equal_the_whole_sequence():
    torch.manual_seed(1)
    net = EmgGru(EmgGruConfig(features=3, outputs=2)).eval()
    net.mean.copy_(torch.tensor([5.0, -2.0]))
    net.scale.copy_(torch.tensor([10.0, 3.0]))
    x = torch.randn(1, 40, 3)
    with torch.inference_mode():
        value, log_sd = net.sequence(x)
        h = torch.zeros(1, 32)
        for k in range(40):
            values, sd, h = net(x[:, k], h)
            torch.testing.assert_close(values, net.mean + net.scale * value[:, k])
            torch.testing.assert_close(sd, net.scale * log_sd[:, k].exp())


def test_gru_never_looks_ahead():
    torch.manual_seed(1)
    net = EmgGru(EmgGruConfig(features=1)).eval()
    x = torch.randn(1, 30, 1)
    changed = x.clone()
    changed[:, 20:] += 5
    with torch.inference_mode():
        before, after = net.sequence(x)[0], net.sequence(changed)[0]
    torch.testing.assert_close(before[:, :20], after[:, :20], rtol=0, atol=0)
    assert not torch.equal(before[:, 20:], after[:, 20:])

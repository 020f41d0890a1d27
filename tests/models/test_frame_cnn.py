import torch

from models.frame_cnn import FrameCnn, FrameCnnConfig


def test_cnn_answers_in_the_units_of_its_targets():
    torch.manual_seed(1)
    net = FrameCnn(FrameCnnConfig()).eval()
    net.mean.copy_(torch.tensor([5.0, 60.0]))
    net.scale.copy_(torch.tensor([10.0, 40.0]))
    net.doubt.fill_(2.0)
    with torch.inference_mode():
        image = torch.randn(3, 1, 128, 128)
        value, log_sd = net.standardised(image)
        values, sd = net(image)
    assert values.shape == sd.shape == (3, 2)
    torch.testing.assert_close(values, net.mean + net.scale * value)
    torch.testing.assert_close(sd, 2 * net.scale * log_sd.exp())


def test_cnn_sees_where_a_layer_is_not_only_that_it_is_there():
    torch.manual_seed(1)
    net = FrameCnn(FrameCnnConfig()).eval()
    shallow, deep = torch.zeros(1, 1, 128, 128), torch.zeros(1, 1, 128, 128)
    shallow[..., 32:36] = 3
    deep[..., 80:84] = 3
    # 48 pixels are three whole steps of the last map: read by averages, both would be equal.
    with torch.inference_mode():
        assert (net(shallow)[0] - net(deep)[0]).abs().max() > 1e-5


def test_doubt_does_not_shape_the_features():
    net = FrameCnn(FrameCnnConfig())
    _, log_sd = net.standardised(torch.randn(2, 1, 128, 128))
    log_sd.sum().backward()
    assert all(p.grad is None for p in net.features.parameters())
    assert net.log_sd.weight.grad is not None

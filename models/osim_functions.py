"""Functions of one variable in an OpenSim file."""

from models.osim import Constant, Function, PiecewiseLinear, Polynomial, Scaled, Spline, Unknown
from models.osim_xml import Node

_TAGS = ("Function", "Constant", "Spline", "Sine")  # as the classes end in OpenSim


def read_function(owner: Node) -> Function:
    """The function that an element holds, directly or inside a <function> of its own."""
    inner = owner.find("function")
    holder = owner if inner is None else inner
    found = next((node for node in holder if node.tag.endswith(_TAGS)), None)
    if found is None:
        owner.fail("holds no function", "add one")
    return _function(found)


def _function(node: Node) -> Function:
    if node.tag == "Constant":
        return Constant(node.number("value", 0.0))
    if node.tag in ("LinearFunction", "PolynomialFunction"):
        return Polynomial(node.numbers("coefficients", None, (1.0, 0.0)))
    if node.tag == "MultiplierFunction":
        return Scaled(read_function(node), node.number("scale", 1.0))
    if node.tag in ("SimmSpline", "NaturalCubicSpline", "PiecewiseLinearFunction"):
        x, y = node.numbers("x", None), node.numbers("y", None)
        if len(x) != len(y) or len(x) < 2 or any(b <= a for a, b in zip(x, x[1:], strict=False)):
            node.fail("<x> and <y> are no knots", "give as many y as x, at least 2, x growing")
        return PiecewiseLinear(x, y) if node.tag.startswith("Piecewise") else Spline(x, y)
    return Unknown(node.tag)

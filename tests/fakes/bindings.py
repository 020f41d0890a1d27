"""Modules with exactly the names, arguments and members of one version of TensorRT's bindings.

Made from what was read out of the real ones (``trt_api/``).  What a call does is told apart, by
classes of functions (``tests/fakes/tensorrt.py``); a call that nobody told is an error, as is an
argument that the version does not take.
"""

import gzip
import json
import re
import types
from functools import cache
from pathlib import Path

API = Path(__file__).parent / "trt_api" / "api.json.gz"
PROTOCOLS = ("__del__", "__bytes__", "__len__", "__getitem__")
PLAIN = {"int": int, "str": str, "bool": bool, "float": float}


@cache
def recorded():
    """``{version: {class: facts}}``, oldest first."""
    raw = json.loads(gzip.decompress(API.read_bytes()))
    return {v: raw[v] for v in sorted(raw, key=lambda v: [int(p) for p in v.split(".")])}


class EnumMember:
    """As pybind11's: an object with ``name`` and ``value`` that ``int`` takes."""

    def __init__(self, name, value):
        self.name, self.value = name, value

    def __int__(self):
        return self.value

    def __repr__(self):
        return f"<{type(self).__name__}.{self.name}: {self.value}>"


class _Meta(type):
    """Whoever derives from a class of the bindings must call its ``__init__``."""

    def __call__(cls, *args, **kwargs):
        made = super().__call__(*args, **kwargs)
        if not made.__dict__.get("_made"):
            raise TypeError(f"{cls.__mro__[1].__name__}.__init__() must be called when overriding")
        return made


class Bound(metaclass=_Meta):
    """A class of the bindings; no attributes but those it has."""

    def __setattr__(self, name, value):
        ours = type(self).__dict__.get("_facts") is not None
        if ours and not name.startswith("_") and not hasattr(type(self), name):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        object.__setattr__(self, name, value)


def make_module(version, does, world):
    """The module ``tensorrt`` of a version; ``does``: what its classes do, by name.

    Functions there find ``world`` as ``self._world``, and make objects with ``new``.
    """
    module = types.ModuleType("tensorrt")
    module.__version__ = version
    classes = recorded()[version]
    for name in sorted(classes, key=lambda n: len(classes[n].get("bases", ()))):
        base = next((getattr(module, b) for b in classes[name]["bases"]), Bound)
        made = _class(module, name, classes[name], does.get(name), base)
        if not isinstance(made, type) or issubclass(made, Bound):
            made._world = world
        setattr(module, name, made)
    return module


def new(module, name, **state):
    """An object that only TensorRT itself makes."""
    cls = getattr(module, name)
    made = object.__new__(cls)
    object.__setattr__(made, "_made", True)
    for key, value in state.items():
        object.__setattr__(made, key, value)
    return made


def _class(module, name, facts, does, base):
    if "enum" in facts:
        made = type(name, (EnumMember,), {})
        for member, about in facts["enum"].items():
            setattr(made, member, made(member, about["value"]))
        return made
    space = {"_facts": facts}
    for method, about in facts["methods"].items():
        if method == "__init__" or not method.startswith("__"):
            space[method] = _method(module, name, method, about, does)
    # Python's own, which have no signature to speak of.
    space |= {m: vars(does)[m] for m in PROTOCOLS if does and m in vars(does)}
    for prop, about in facts["properties"].items():
        if not about.get("constant"):
            space[prop] = _property(module, name, prop, about, does)
    for nested, about in facts.get("nested", {}).items():
        space[nested] = _class(module, nested, about, None, None)
        space |= {k: v for k, v in vars(space[nested]).items() if k in facts["properties"]}
    return _Meta(name, (base,), space)


def _method(module, name, method, about, does):
    overloads = [_parameters(s) for s in about["signatures"] if not s.startswith("(*args")]

    def call(self, *args, **kwargs):
        if method == "__init__" and not overloads:
            raise TypeError(f"{name}: No constructor defined!")
        bound = [b for o in overloads if (b := _bind(module, o, args, kwargs)) is not None]
        if not bound:
            raise TypeError(f"{name}.{method}(): incompatible arguments {args} {kwargs}")
        if method == "__init__":
            object.__setattr__(self, "_made", True)
        elif not hasattr(does, method):
            raise AssertionError(f"the fake does not know what {name}.{method} does: tell it")
        act = getattr(does, method, None)
        return act(self, **bound[0]) if act and act is not object.__init__ else None

    call.__name__ = method
    return call


def _property(module, name, prop, about, does):
    def get(self):
        if does is None or not hasattr(does, prop):
            raise AssertionError(f"the fake does not know {name}.{prop}: tell it")
        default = getattr(does, prop)
        if isinstance(default, property):
            return default.fget(self)
        return self.__dict__.get(f"_set_{prop}", default)

    def put(self, value):
        if not _fits(module, about.get("type", ""), value):
            raise TypeError(f"{name}.{prop}: {value!r} is not {about['type']}")
        object.__setattr__(self, f"_set_{prop}", value)

    return property(get, put if about["writable"] else None)


def _parameters(signature):
    """``(self: A, x: int, y: str = None) -> B`` as [(name, type, optional)], without self."""
    inside = signature[1 : re.search(r"\)(?: -> .*)?$", signature).start()]
    found = []
    for part in re.findall(r"(\w+): ([^,\[\]]+(?:\[[^=]*\])?)", inside):
        name, rest = part
        kind, _, default = rest.partition("=")
        found.append((name, kind.strip(), bool(default)))
    return [p for p in found if p[0] != "self"]


def _bind(module, parameters, args, kwargs):
    if len(args) > len(parameters) or set(kwargs) - {p[0] for p in parameters}:
        return None
    given = dict(zip((p[0] for p in parameters), args, strict=False))
    if set(given) & set(kwargs):
        return None
    given |= kwargs
    for name, kind, optional in parameters:
        if name not in given and not optional:
            return None
        if name in given and not _fits(module, kind, given[name]):
            return None
    return given


def _fits(module, kind, value):
    if kind in PLAIN:
        return isinstance(value, PLAIN[kind]) or (kind == "int" and hasattr(value, "__index__"))
    if kind in ("buffer", "typing_extensions.Buffer"):
        return hasattr(value, "__bytes__") or isinstance(value, bytes | bytearray | memoryview)
    wanted = module
    for part in kind.replace("nvinfer1::", "").replace("v_1_0::", "").replace("::", ".").split("."):
        wanted = getattr(wanted, part, None)
    return wanted is None or isinstance(value, wanted)

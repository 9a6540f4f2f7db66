"""Errors are one tree, each of them made to be told apart and to be acted upon."""

import importlib
import pkgutil
import re

from pyro_mcp import errors
from pyro_mcp.errors import PyroError


def _all() -> list[type[PyroError]]:
    for module in pkgutil.iter_modules(errors.__path__, "pyro_mcp.errors."):
        importlib.import_module(module.name)
    found: list[type[PyroError]] = []

    def walk(above: type[PyroError]) -> None:
        for below in above.__subclasses__():
            if below.__module__.startswith("pyro_mcp.errors"):
                found.append(below)
                walk(below)

    walk(PyroError)
    return found


def test_every_error_is_in_the_tree_and_also_what_programs_catch_already() -> None:
    drawn = set(re.findall(r"[├└]── (\w+)", str(errors.__doc__)))

    assert {error.__name__ for error in _all()} == drawn
    for error in _all():
        assert issubclass(error, ValueError | RuntimeError | ImportError), error


def test_every_error_has_a_code_that_outlives_its_wording() -> None:
    for error in _all():
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", error.code), error

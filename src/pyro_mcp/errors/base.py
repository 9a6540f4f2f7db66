"""What all errors have in common."""

from typing import ClassVar


class PyroError(Exception):
    """`problem` names the thing and what is wrong with it, `hint` the next step."""

    code: ClassVar[str]

    def __init__(self, problem: str, *, hint: str) -> None:
        super().__init__(f"{problem} {hint}")
        self.problem = problem
        self.hint = hint


class InvalidInputError(PyroError, ValueError):
    """A parameter outside its range or of the wrong form."""

    code = "invalid_input"

    def __init__(self, parameter: str, wrong: str, *, hint: str) -> None:
        super().__init__(f"{parameter} {wrong}.", hint=hint)
        self.parameter = parameter

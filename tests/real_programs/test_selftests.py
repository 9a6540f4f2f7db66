"""The kernel's own tests: those that pass on the distribution's kernel pass on pyro's own."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from pyro_mcp.config import DEBIAN_KERNEL, OWN_KERNEL
from tests.real_programs import selftests
from tests.real_programs.conftest import Machines

_RESULTS = Path(__file__).with_name("results")


@pytest.fixture(scope="module")
def equipped(machines: Machines, tmp_path_factory: pytest.TempPathFactory) -> Machines:
    """The machines, with the tests built in each, and stopped."""
    packed = selftests.pack(tmp_path_factory.mktemp("source"))
    for machine in machines.values():
        selftests.build(machine, packed)
        machine.stop()
    return machines


@pytest.mark.timeout(6000)
@pytest.mark.parametrize("collection", selftests.COLLECTIONS)
def test_what_passes_on_the_distributions_kernel_passes(
    equipped: Machines, collection: str
) -> None:
    """Twice if need be: some of them measure time, and the host has other work."""
    failing: set[str] | None = None
    for _ in range(2):
        own = selftests.run(equipped[OWN_KERNEL], collection)
        debian = selftests.run(equipped[DEBIAN_KERNEL], collection)
        worse = selftests.worse(own, debian)
        failing = worse if failing is None else failing & worse
        if not failing:
            break
    _keep(collection, {OWN_KERNEL: own, DEBIAN_KERNEL: debian})

    assert not failing, "\n".join(sorted(failing))


def _keep(collection: str, found: dict[str, selftests.Verdicts]) -> None:
    _RESULTS.mkdir(exist_ok=True)
    counts = {kernel: Counter(verdicts.values()) for kernel, verdicts in found.items()}
    record = {"counts": counts, "verdicts": found}
    name = collection.replace("/", "-")
    (_RESULTS / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")

"""`pyro doctor`: what this host can do, and what to do about the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from pyro_mcp import config
from pyro_mcp.cli import options, output

if TYPE_CHECKING:
    from collections.abc import Iterator


@click.command("doctor")
@click.option(
    "--platform", default=config.PLATFORM, show_default=True,
    help="Platform to check for.",
)  # fmt: skip
@click.option(
    "--boot/--no-boot", default=None,
    help="Boot a guest as the last check.  [default: if an environment is installed]",
)  # fmt: skip
@options.as_json
def command(platform: str, boot: bool | None, as_json: bool) -> int:
    """Check what this host can do, and say how to mend the rest.

    Exits with 0 when guests can run here, with 1 when something stands in the way.
    """
    from pyro_mcp.doctor.report import build_report

    report = build_report(platform, boot=boot)
    if as_json:
        output.json_object(report)
    else:
        for text in _for_people(report):
            output.line(text)
    return 0 if report["runtime_ok"] else 1


def _for_people(report: dict[str, Any]) -> Iterator[str]:
    kvm, net, runtime = report["kvm"], report["networking"], report.get("runtime", {})
    yield f"Platform: {report['platform']}"
    yield f"Runtime: {'PASS' if report['runtime_ok'] else 'FAIL'}"
    yield f"Engine: {report['engine'] or 'none'} ({report['engine_reason']})"
    yield "KVM: " + _pairs(kvm, "exists", "readable", "writable")
    yield f"Environment cache: {output.plain(runtime.get('cache_dir'))}"
    capabilities = runtime.get("capabilities") or {}
    yield "Capabilities: " + _pairs(
        capabilities, "supports_vm_boot", "supports_guest_exec", "supports_guest_network"
    )
    yield "Networking: " + _pairs(net, "tun_available", "ip_forward_enabled")
    yield "Checks:"
    for check in report["checks"]:
        mark = "ok" if check["ok"] else "FAIL" if check["required"] else "note"
        yield f"  {mark:<4} {check['name']}: {check['detail']}"
        if not check["ok"] and check["remedy"]:
            yield f"       -> {check['remedy']}"
    if report["issues"]:
        yield "Issues:"
        yield from (f"- {issue}" for issue in report["issues"])
    else:
        yield "Issues: none"


def _pairs(facts: dict[str, Any], *keys: str) -> str:
    return " ".join(f"{key}={output.plain(facts.get(key))}" for key in keys)

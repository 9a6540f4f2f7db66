"""The doctor's report: every check, and the facts that the public contract names."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from pyro_mcp import config
from pyro_mcp.doctor import checks, kernel
from pyro_mcp.doctor.checks import Check
from pyro_mcp.doctor.installation import installation_checks
from pyro_mcp.doctor.network import network_check
from pyro_mcp.errors import InvalidInputError, PyroError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pyro_mcp.config import Settings

    Look = Callable[[], Check | Iterator[Check]]

_NETWORK_VARIABLE = "PYRO_VM_ENABLE_NETWORK"
_BOOT = "guest boot"


def build_report(platform: str = config.PLATFORM, *, boot: bool | None = None) -> dict[str, Any]:
    """Look at this host. Changes nothing, apart from making the guest agent's image anew.

    `boot` says whether a guest is booted as the last check; None boots one if an environment is
    installed and nothing else stands in the way.

    Raises:
        InvalidInputError: There are no guests for `platform`.
    """
    if platform != config.PLATFORM:
        raise InvalidInputError(
            "platform", f"is {platform!r}, for which there are no guests",
            hint=f"Known: {config.PLATFORM}.",
        )  # fmt: skip
    done = [
        *_guarded("platform", checks.platform_check),
        *_guarded("python", checks.python_check),
        *_guarded("installation", installation_checks),
    ]
    settings, environments = _settings(done), None
    if settings is not None:
        environments = _environments(settings, done)
    installed = [one["name"] for one in environments or () if one["installed"]]
    done += [
        *_guarded("tools", lambda: checks.tools_checks(installed=bool(installed))),
        *_guarded(
            "subordinate ids", lambda: checks.subordinate_ids_check(installed=bool(installed))
        ),
        *_guarded("user namespaces", kernel.namespaces_check),
    ]
    network = _guarded("guest network", network_check)
    done += network
    if settings is not None:
        done += [
            *_guarded(
                "cache directory",
                lambda: checks.cache_check(settings, installed=bool(installed)),
            ),
            *_guarded("state directory", lambda: checks.state_check(settings)),
            *_guarded("guest kernel", lambda: checks.guest_kernel_check(settings)),
            *_guarded("images", lambda: checks.installed_checks(settings)),
        ]
    kvm = kernel.kvm_probe()
    done.append(kernel.kvm_check(kvm))
    engine, engine_reason, engines = _engines(done)
    done += _boot(settings, installed, done, wanted=boot)
    issues = [_issue(check) for check in done if check.required and not check.ok]
    report: dict[str, Any] = {
        "platform": platform,
        "runtime_ok": not issues,
        "issues": issues,
        "kvm": kvm._asdict(),
        "networking": _networking(),
        "engine": engine,
        "engine_reason": engine_reason,
        "engines": engines,
        "checks": [check._asdict() for check in done],
    }
    if settings is not None and environments is not None:
        booted = next((check.ok for check in done if check.name == _BOOT and check.required), None)
        works = not issues if booted is None else booted
        report["runtime"] = _runtime(settings, environments) | {
            "capabilities": {
                "supports_vm_boot": works,
                "supports_guest_exec": works,
                "supports_guest_network": works and all(check.ok for check in network),
                "reason": issues[0] if issues else None,
            }
        }
    return report


def _guarded(name: str, look: Look) -> list[Check]:
    """The outcome of a check; one that itself fails is a finding like any other."""
    found: list[Check] = []
    try:
        seen = look()
        if isinstance(seen, Check):
            return [seen]
        found += seen
    except PyroError as error:
        found.append(Check(name, False, _one_line(error.problem), error.hint))
    except ImportError as error:
        found.append(Check(name, False, f"cannot be checked: {error}", checks.REINSTALL))
    except OSError as error:
        remedy = "Make it accessible for this user." if error.filename else ""
        found.append(Check(name, False, f"cannot be checked: {error}", remedy))
    except Exception as error:  # noqa: BLE001 - whatever is broken, the other checks matter
        said = f"cannot be checked: {type(error).__name__}: {error}"
        found.append(Check(name, False, said, checks.REINSTALL))
    return found


def _settings(done: list[Check]) -> Settings | None:
    found: list[Settings] = []

    def look() -> Iterator[Check]:
        found.append(config.Settings.from_environment())
        return iter(())

    done += _guarded("directories", look)
    return found[0] if found else None


def _environments(settings: Settings, done: list[Check]) -> list[dict[str, Any]] | None:
    found: list[list[dict[str, Any]]] = []

    def look() -> Iterator[Check]:
        from pyro_mcp.environments import cache

        found.append(cache.list_environments(settings))
        return iter(())

    done += _guarded("catalogue", look)
    return found[0] if found else None


def _engines(done: list[Check]) -> tuple[str | None, str, list[dict[str, Any]]]:
    """The engine that is chosen, why, and what each of them said."""
    engines: list[dict[str, Any]] = []

    def look() -> Iterator[Check]:
        from pyro_mcp.engines.uml import engines as known

        for engine in known():
            said = engine.available()
            engines.append(
                {
                    "name": engine.name,
                    "available": said.ok,
                    "reason": said.reason,
                    "remedy": said.remedy,
                    "isolation": engine.isolation,
                }
            )
        usable = [engine for engine in engines if engine["available"]]
        if usable:
            yield Check("engine", True, f"{usable[0]['name']}: {usable[0]['reason']}")
            return
        reasons = "; ".join(f"{engine['name']}: {engine['reason']}" for engine in engines)
        remedies = "; ".join(engine["remedy"] for engine in engines)
        yield Check("engine", False, reasons, remedies)

    found = _guarded("engine", look)
    done += found
    chosen = next((engine for engine in engines if engine["available"]), None)
    if chosen is None:
        return None, found[-1].detail, engines
    return chosen["name"], f"the first that can run here: {chosen['reason']}", engines


def _boot(
    settings: Settings | None, installed: list[str], done: list[Check], *, wanted: bool | None
) -> list[Check]:
    def skipped(why: str, remedy: str = "", *, ok: bool = True) -> list[Check]:
        return [Check(_BOOT, ok, f"not tried: {why}", remedy, required=not ok)]

    if wanted is False:
        return skipped("--no-boot")
    if settings is None or not installed:
        remedy = "Run 'pyro env pull debian:12' first."
        return skipped("no environment is installed", remedy, ok=not wanted)
    if any(check.required and not check.ok for check in done) and not wanted:
        return skipped("other checks failed")
    return _guarded(_BOOT, lambda: checks.boot_check(settings, installed[0]))


def _networking() -> dict[str, Any]:
    try:
        with open("/proc/sys/net/ipv4/ip_forward", encoding="ascii") as source:  # noqa: PTH123
            forwards = source.read().strip() == "1"
    except OSError:
        forwards = False
    return {
        "enabled_by_default": os.environ.get(_NETWORK_VARIABLE) == "1",
        "tun_available": os.access("/dev/net/tun", os.R_OK | os.W_OK),
        "ip_binary": checks.find_program("ip"),
        "nft_binary": checks.find_program("nft"),
        "iptables_binary": checks.find_program("iptables"),
        "ip_forward_enabled": forwards,
    }


def _runtime(settings: Settings, environments: list[dict[str, Any]]) -> dict[str, Any]:
    """The contract's words for it: the bundle is the runtime, its hypervisor the guest kernel."""
    from pathlib import Path

    from pyro_mcp.environments import cache, keys

    place = cache.runtime_place(settings)
    manifest = cache.read_manifest(place / cache.RUNTIME_MANIFEST)
    package = Path(config.__file__).parent
    return {
        "bundle_root": str(place),
        "manifest_path": str(place / cache.RUNTIME_MANIFEST),
        "firecracker_bin": None,
        "jailer_bin": None,
        "kernel_bin": str(place / "jail" / "linux"),
        "jail_bin": checks.find_program("bwrap"),
        "guest_agent_path": str(package / "guest"),
        "guest_init_path": str(package / "guest" / "__main__.py"),
        "artifacts_dir": str(settings.cache_dir),
        "artifacts_present": manifest is not None,
        "notice_path": str(place / "tree" / "usr" / "share" / "doc"),
        "bundle_version": keys.runtime_key(settings.kernel),
        "kernel": settings.kernel,
        "kernel_version": (manifest or {}).get("kernel_version"),
        "component_versions": dict((manifest or {}).get("packages", {})),
        "catalog_version": environments[0]["catalog_version"] if environments else None,
        "cache_dir": str(settings.cache_dir),
        "environments": environments,
    }


def _issue(check: Check) -> str:
    return " ".join(part for part in (f"{check.name}: {check.detail}.", check.remedy) if part)


def _one_line(text: str) -> str:
    return " | ".join(line.strip() for line in text.splitlines() if line.strip()).rstrip(".")

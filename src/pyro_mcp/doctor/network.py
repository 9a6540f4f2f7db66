"""Whether guests can have a network here: by making one, and taking it away again."""

from __future__ import annotations

from pyro_mcp.doctor.checks import Check

_NAME = "guest network"
_REMEDIES = {
    "user namespace": "See the check 'user namespaces'.",
    "veth": "Load the kernel module veth (as root: modprobe veth).",
    "tproxy": "Load the kernel modules nf_tables and nft_tproxy (as root: modprobe nft_tproxy).",
    "rp_filter": "Let this container write /proc/sys/net "
    "(--security-opt systempaths=unconfined), or set rp_filter to 0.",
}


def network_check() -> Check:
    """Make a guest's namespaces as a start does; guests without a network need nothing of it."""
    from pyro_mcp.network import namespace

    try:
        wires = namespace.make()
    except OSError as error:
        detail = f"{error.filename or 'network namespaces'}: {error.strerror}"
        remedy = next((said for word, said in _REMEDIES.items() if word in detail), "")
        hint = remedy or "Guests run without a network; see 'pyro doctor' on another host."
        return Check(_NAME, False, detail, hint, required=False)
    wires.close()
    ip6 = "IPv4 and IPv6" if wires.listener6 is not None else "IPv4; this kernel has no IPv6"
    resolvers = _resolvers()
    if not resolvers:
        remedy = "Name a resolver in /etc/resolv.conf, or in PYRO_DNS."
        return Check(_NAME, False, f"{ip6}, and no resolver for names", remedy, required=False)
    return Check(_NAME, True, f"{ip6}, names from {', '.join(resolvers)}", required=False)


def _resolvers() -> list[str]:
    from pyro_mcp.config import Settings
    from pyro_mcp.network import way

    return [host for host, _ in way.servers(Settings.from_environment().resolvers)]

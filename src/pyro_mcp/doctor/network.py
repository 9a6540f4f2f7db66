"""Whether guests can have a network here: by making one, and taking it away again."""

from __future__ import annotations

from pyro_mcp.doctor.checks import Check

_NAME = "guest network"
_HOW = {
    "tproxy": "handed over (nft_tproxy)",
    "redirect": "redirected (nft_nat)",
}
_REMEDIES = {
    "user namespace": "See the check 'user namespaces'.",
    "veth": "Load the kernel module veth (as root: modprobe veth).",
    "packet filter": "Load the kernel module nft_tproxy, or nft_nat with nf_conntrack "
    "(as root: modprobe nft_tproxy || modprobe nft_nat).",
    "rp_filter": "Let this container write /proc/sys/net "
    "(--security-opt systempaths=unconfined), or set rp_filter to 0.",
}


def network_check() -> Check:
    """Make a guest's namespaces as a start does; guests without a network need nothing of it."""
    from pyro_mcp.config import Settings
    from pyro_mcp.network import namespace, way

    settings = Settings.from_environment()
    try:
        wires = namespace.make(None, tuple(way.steerings(settings.steering)))
    except OSError as error:
        detail = f"{error.filename or 'network namespaces'}: {error.strerror}"
        remedy = next((said for word, said in _REMEDIES.items() if word in detail), "")
        hint = remedy or "Guests run without a network; see 'pyro doctor' on another host."
        return Check(_NAME, False, detail, hint, required=False)
    wires.close()
    ip6 = "IPv4 and IPv6" if wires.listener6 is not None else "IPv4; this kernel has no IPv6"
    found = f"{ip6}; connections are {_HOW[wires.steering]}"
    resolvers = [host for host, _ in way.servers(settings.resolvers)]
    if not resolvers:
        remedy = "Name a resolver in /etc/resolv.conf, or in PYRO_DNS."
        return Check(_NAME, False, f"{found}; no resolver for names", remedy, required=False)
    return Check(_NAME, True, f"{found}; names from {', '.join(resolvers)}", required=False)

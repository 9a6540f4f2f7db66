"""The names of the profiles."""

VM_RUN = "vm-run"
CORE = "workspace-core"
FULL = "workspace-full"
PROFILES = (VM_RUN, CORE, FULL)

"""Configuration files with which a scheme survives a reboot, as text.

Nothing here touches a host; `kvmlab.install` writes the files. The article uses modprobe.d; a
systemd .link file or a NetworkManager profile does not affect the other ports of the driver.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, TypeAlias

from kvmlab.changes import ConfigFile
from kvmlab.errors import Unavailable
from kvmlab.facts import Rule
from kvmlab.schemes.vfs import TAKES_MAX_VFS, VfOptions, physical_function

if TYPE_CHECKING:
    from kvmlab.facts import HostFacts

Options: TypeAlias = Mapping[int, VfOptions]
_YES_NO: Final = {True: "yes", False: "no"}
_TRUE_FALSE: Final = {True: "true", False: "false"}
_LINK_STATES: Final = {"auto": "auto", "enable": "yes", "disable": "no"}


def by_modprobe(facts: HostFacts, port: str, *, vfs: int) -> ConfigFile:
    """Return an option of the driver for all of its ports at once, as the article has it.

    Raises:
        Unavailable: the port has no SR-IOV, or its driver has no such option.
    """
    function = physical_function(facts, port)
    if function.driver not in TAKES_MAX_VFS:
        raise Unavailable(
            f"The driver of {port}, {function.driver}, has no option max_vfs.",
            rule=Rule.VF_OPTION_UNSUPPORTED,
            todo="Use a systemd .link file or a NetworkManager profile.",
        )
    return ConfigFile(
        path=f"/etc/modprobe.d/kvmlab-{function.driver}.conf",
        body=f"options {function.driver} max_vfs={vfs}\n",
        effect=f"from the next time that {function.driver} is loaded, for every port it drives; "
        "where the initial RAM disk loads it, that has to be made anew",
    )


def by_systemd(facts: HostFacts, port: str, *, vfs: int, vf: Options | None = None) -> ConfigFile:
    """Return a .link file of systemd-udevd (251 or newer); ``vf={0: VfOptions(…)}`` sets up VF 0.

    Only one .link file applies to a port, so it repeats systemd's default naming policy.

    Raises:
        Unavailable: the port has no SR-IOV.
    """
    function = physical_function(facts, port)
    lines = [
        "[Match]",
        f"Path=pci-{function.address}",
        "",
        "[Link]",
        "NamePolicy=keep kernel database onboard slot path",
        "AlternativeNamesPolicy=database onboard slot path",
        f"SR-IOVVirtualFunctions={vfs}",
    ]
    for index, options in (vf or {}).items():
        lines += ["", "[SR-IOV]", f"VirtualFunction={index}", *_systemd_options(options)]
    return ConfigFile(
        path=f"/etc/systemd/network/70-kvmlab-{port}.link",
        body="\n".join(lines) + "\n",
        effect=f"at boot, or now: udevadm control --reload; udevadm trigger --action=add "
        f"/sys/class/net/{port}",
    )


def _systemd_options(vf: VfOptions) -> list[str]:
    values = {
        "MACAddress": vf.mac,
        "VLANId": vf.vlan,
        "MACSpoofCheck": None if vf.spoofchk is None else _YES_NO[vf.spoofchk],
        "Trust": None if vf.trust is None else _YES_NO[vf.trust],
        "LinkState": None if vf.link_state is None else _LINK_STATES[vf.link_state],
    }
    lines = [f"{name}={value}" for name, value in values.items() if value is not None]
    if vf.max_tx_rate is not None:
        lines.append(f"# systemd has no setting for max_tx_rate {vf.max_tx_rate}.")
    return lines


def by_networkmanager(
    facts: HostFacts, port: str, *, vfs: int, vf: Options | None = None
) -> ConfigFile:
    """Return a connection profile of NetworkManager; ``vf={0: VfOptions(…)}`` sets up VF 0.

    Raises:
        Unavailable: the port has no SR-IOV.
    """
    physical_function(facts, port)
    lines = [
        "[connection]",
        f"id=kvmlab-{port}",
        "type=ethernet",
        f"interface-name={port}",
        "",
        "[sriov]",
        f"total-vfs={vfs}",
        # VFs are for VMs: the host makes no interfaces of them.
        "autoprobe-drivers=0",
    ]
    for index, options in (vf or {}).items():
        lines.append(f"vf.{index}={_networkmanager_options(options)}")
    lines += ["", "[ipv4]", "method=disabled", "", "[ipv6]", "method=disabled"]
    return ConfigFile(
        path=f"/etc/NetworkManager/system-connections/kvmlab-{port}.nmconnection",
        body="\n".join(lines) + "\n",
        effect=f"at boot, or now: nmcli connection reload; nmcli connection up kvmlab-{port}",
        mode="0600",
    )


def _networkmanager_options(vf: VfOptions) -> str:
    values = {
        "mac": vf.mac,
        "spoof-check": None if vf.spoofchk is None else _TRUE_FALSE[vf.spoofchk],
        "trust": None if vf.trust is None else _TRUE_FALSE[vf.trust],
        "max-tx-rate": vf.max_tx_rate,
        "vlans": vf.vlan,
    }
    return " ".join(f"{name}={value}" for name, value in values.items() if value is not None)


def by_modules_load(*modules: str) -> ConfigFile:
    """Return a list of modules to load at every boot, such as vhost_net."""
    return ConfigFile(
        path="/etc/modules-load.d/kvmlab.conf",
        body="".join(f"{module}\n" for module in modules),
        effect="at boot, or now: systemctl restart systemd-modules-load",
    )

"""The keys below those that are for the engine, to find typing errors: from the Compose specification's schema.

A schema maps the path of a map to its keys. `*` stands for any name; the maps of a list have the path of the list. Maps
that are not listed, such as labels, have keys of the user.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cohabit.plan.node import Node

TOP_LEVEL = "top-level "
_BLOCK_RATE = "path rate"
_UPDATE = "delay failure_action max_failure_ratio monitor order parallelism"
_SCHEMA = {
    "blkio_config": "device_read_bps device_read_iops device_write_bps device_write_iops weight weight_device",
    "blkio_config.device_read_bps": _BLOCK_RATE,
    "blkio_config.device_read_iops": _BLOCK_RATE,
    "blkio_config.device_write_bps": _BLOCK_RATE,
    "blkio_config.device_write_iops": _BLOCK_RATE,
    "blkio_config.weight_device": "path weight",
    "build": (
        "additional_contexts args cache_from cache_to context dockerfile dockerfile_inline entitlements extra_hosts "
        "isolation labels network no_cache platforms privileged provenance pull sbom secrets shm_size ssh tags target "
        "ulimits"
    ),
    "build.secrets": "gid mode source target uid",
    "build.ulimits.*": "hard soft",
    "credential_spec": "config file registry",
    "devices": "permissions source target",
    "gpus": "capabilities count device_ids driver options",
    "models.*": "endpoint_var model_var",
    "networks.*": (
        "aliases driver_opts gw_priority interface_name ipv4_address ipv6_address link_local_ips mac_address priority"
    ),
    "placement": "constraints max_replicas_per_node preferences",
    "placement.preferences": "spread",
    "ports": "app_protocol host_ip mode name protocol published target",
    "provider": "options type",
    "resources": "limits reservations",
    "resources.limits": "cpus memory pids",
    "resources.reservations": "cpus devices generic_resources memory pids",
    "resources.reservations.devices": "capabilities count device_ids driver options",
    "resources.reservations.generic_resources": "discrete_resource_spec",
    "resources.reservations.generic_resources.discrete_resource_spec": "kind value",
    "rollback_config": _UPDATE,
    "update_config": _UPDATE,
    "volumes": "bind consistency image read_only source target tmpfs type volume",
    "volumes.bind": "create_host_path propagation recursive selinux",
    "volumes.image": "subpath",
    "volumes.tmpfs": "mode size",
    "volumes.volume": "labels nocopy subpath",
    f"{TOP_LEVEL}models.*": "context_size model name runtime_flags",
    f"{TOP_LEVEL}networks.*": (
        "attachable driver driver_opts enable_ipv4 enable_ipv6 external internal ipam labels name"
    ),
    f"{TOP_LEVEL}networks.*.external": "name",
    f"{TOP_LEVEL}networks.*.ipam": "config driver options",
    f"{TOP_LEVEL}networks.*.ipam.config": "aux_addresses gateway ip_range subnet",
    f"{TOP_LEVEL}volumes.*": "driver driver_opts external labels name",
    f"{TOP_LEVEL}volumes.*.external": "name",
}
_INNER = frozenset(path[:end] for path in _SCHEMA for end, letter in enumerate(path) if letter == ".")


def unknown_below(node: Node, schema: str, path: str) -> Iterator[tuple[int, str, str, list[str]]]:
    """Each key below a node that its schema does not have. path: that of the node.

    Gives the line, the path of the map, the key, and the known keys.
    """
    if isinstance(node.value, list):
        for i, item in enumerate(node.value):
            yield from unknown_below(item, schema, f"{path}[{i}]")
    if not isinstance(node.value, dict) or not (schema in _SCHEMA or schema in _INNER):
        return
    known = _SCHEMA.get(schema, "").split()
    for key, child in node.value.items():
        if known and key not in known and not key.startswith("x-"):
            yield child.line, path, key, known
        else:
            yield from unknown_below(child, f"{schema}.{key if known else '*'}", f"{path}.{key}")

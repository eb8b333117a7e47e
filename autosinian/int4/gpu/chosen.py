"""The configurations that an autoconfig file names, for each launch of a network, and back."""

from collections.abc import Mapping

from autosinian.errors import InputError
from autosinian.int4.autoconfig import Autoconfig
from autosinian.int4.configurations import Configuration, configuration, require_valid
from autosinian.int4.gpu.plan import Plan


def chosen(
    plan: Plan, autoconfig: Autoconfig | None, shared_limit: int
) -> dict[str, Configuration]:
    """Configurations by launch; none without an autoconfig, so that each has its default.

    Raises `InputError` for an id that is unknown or does not fit its layer's shape, and where the
    lines of one launch (a downsample is fused with the `conv3` of its block; a chained `conv3` with
    the next block's `conv1`) differ.
    """
    if autoconfig is None:
        return {}
    found: dict[str, Configuration] = {}
    chained: dict[str, int] = {}
    for layer in plan.layers:
        ids = [autoconfig.ids[name] for name in layer.line_names]
        if layer.name in chained:
            if ids != [chained[layer.name]]:
                raise InputError(
                    f"autoconfig: {layer.name} is computed in the launch of the layer before it "
                    f"and must have its id, {chained[layer.name]}, got {ids[0]}"
                )
            continue
        if len(set(ids)) > 1:
            raise InputError(
                f"autoconfig: {' and '.join(layer.line_names)} are one launch and must have one "
                f"id, got {' and '.join(map(str, ids))}"
            )
        require_valid(ids[0], layer.shape, shared_limit, layer.name)
        found[layer.name] = configuration(ids[0])
        after = plan.follower(layer)
        if found[layer.name].chained and after is not None:
            chained[after.name] = ids[0]
    return found


def as_autoconfig(plan: Plan, choices: Mapping[str, Configuration]) -> Autoconfig:
    """The file's lines for configurations by launch; the stem has none, chained layers one id."""
    by_line: dict[str, int] = {}
    for layer in plan.layers:
        for line in layer.line_names:
            by_line.setdefault(line, choices[layer.name].id)
        after = plan.follower(layer)
        if choices[layer.name].chained and after is not None:
            by_line[after.name] = choices[layer.name].id
    return Autoconfig({line: by_line[line] for line in plan.lines()})

"""How much each exception makes INT8 more like float, and the shortest list that is enough."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from autosinian.encodings.calibrated import Calibrated
from autosinian.encodings.exceptions import Exceptions
from autosinian.errors import InputError

KINDS = ("asymmetric_weights", "asymmetric_activations", "higher_precision")


@dataclass(frozen=True)
class Sensitivity:
    """The noise of the network's outputs with one exception of `kind` for module `name`.

    `gain` is by how much it is less than without.
    """

    kind: str
    name: str
    noise: float
    gain: float


@dataclass(frozen=True)
class Choice:
    """The exceptions chosen, each list that was tried with its accuracy, in order, and every
    sensitivity that was measured for it."""

    exceptions: Exceptions
    accuracy: float
    reached: bool
    tried: tuple[tuple[Exceptions, float], ...]
    sensitivities: tuple[Sensitivity, ...]


Noise = Callable[[Sequence[Tensor], Sequence[Tensor]], float]
"""From a network's outputs and those it should have to how far they are apart."""


def relative_noise(given: Sequence[Tensor], reference: Sequence[Tensor]) -> float:
    """Power of the difference over power of the reference, mean over outputs."""
    shares = []
    for output, expected in zip(given, reference, strict=True):
        output, expected = output.detach(), expected.detach()
        power = (expected - expected.mean()).square().sum()
        shares.append(float((output - expected).square().sum() / power))
    return sum(shares) / len(shares)


def measure_sensitivity(
    calibrated: Calibrated,
    images: Tensor,
    start: Exceptions | None = None,
    *,
    kinds: Sequence[str] = KINDS,
    noise: Noise = relative_noise,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> list[Sensitivity]:
    """Every exception that `kinds` allow beside `start`, alone, on `images` `N x C x H x W`.

    The greatest gain comes first. `advance` is told how many of all are done.
    """
    start = start or Exceptions()
    with torch.no_grad():
        reference = outputs_of(calibrated.network, images)
        before = noise(outputs_of(calibrated.simulated(start), images), reference)
    candidates = list(_candidates(calibrated, start, kinds))
    found = []
    for done, (kind, name) in enumerate(candidates, start=1):
        simulated = calibrated.simulated(_with(start, kind, name))
        with torch.no_grad():
            after = noise(outputs_of(simulated, images), reference)
        found.append(Sensitivity(kind, name, after, before - after))
        advance(done, len(candidates))
    return sorted(found, key=lambda item: (-item.gain, item.kind, item.name))


def choose_exceptions(
    calibrated: Calibrated,
    images: Tensor,
    accuracy: Callable[[nn.Module], float],
    target: float,
    start: Exceptions | None = None,
    *,
    kinds: Sequence[str] = KINDS,
    noise: Noise = relative_noise,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> Choice:
    """The shortest list beyond `start` whose `accuracy` reaches `target`, from the most sensitive.

    Where `start` itself does, nothing is measured. Then asymmetric ranges are tried, which cost an
    engine little, and beyond the best of them modules in higher precision; lists double in length.
    Where none reaches `target` the most accurate is chosen. Sensitivity is measured as `noise` on
    `images`, `N x C x H x W`.
    """
    best = start or Exceptions()
    most = accuracy(calibrated.simulated(best))
    tried = [(best, most)]
    sensitivities: list[Sensitivity] = []
    for group in (KINDS[:2], KINDS[2:]):
        wanted = [kind for kind in group if kind in kinds]
        if most >= target or not wanted:
            continue
        found = measure_sensitivity(
            calibrated, images, best, kinds=wanted, noise=noise, advance=advance
        )
        sensitivities += found
        for exceptions in _growing(best, [item for item in found if item.gain > 0]):
            value = accuracy(calibrated.simulated(exceptions))
            tried.append((exceptions, value))
            if value > most:
                best, most = exceptions, value
            if value >= target:
                break
    return Choice(best, most, most >= target, tuple(tried), tuple(sensitivities))


def _growing(start: Exceptions, items: Sequence[Sensitivity]) -> Iterator[Exceptions]:
    """`start` with the first 1, 2, 4, ... and at last all of `items`."""
    length = 1
    while items and length < 2 * len(items):
        exceptions = start
        for item in items[:length]:
            exceptions = _with(exceptions, item.kind, item.name)
        yield exceptions
        length *= 2


def _candidates(
    calibrated: Calibrated, start: Exceptions, kinds: Sequence[str]
) -> Iterator[tuple[str, str]]:
    for kind in kinds:
        if kind not in KINDS:
            raise InputError(f"an exception must be one of {', '.join(KINDS)}, but got `{kind}`")
    placement = calibrated.placement(start)
    layers = [
        (slot.name.removesuffix(".weight"), slot)
        for slot in placement.parameters
        if slot.name.endswith(".weight") and not slot.higher_precision
    ]
    if "asymmetric_weights" in kinds:
        for name, slot in layers:
            if slot.symmetric:
                yield "asymmetric_weights", name
    if "asymmetric_activations" in kinds:
        for slot in placement.activations:
            # Without negative values an unsigned range is the asymmetric one.
            signed = calibrated.observed[slot.name].minimum < 0 or not placement.unsigned
            if slot.symmetric and signed and not slot.higher_precision:
                yield "asymmetric_activations", slot.name
    if "higher_precision" in kinds:
        tensors = [slot.name for slot in placement.activations if not slot.higher_precision]
        for name in dict.fromkeys([*(name for name, _ in layers), *tensors]):
            yield "higher_precision", name


def _with(exceptions: Exceptions, kind: str, name: str) -> Exceptions:
    return replace(exceptions, **{kind: (*getattr(exceptions, kind), name)})


def outputs_of(module: nn.Module, images: Tensor) -> list[Tensor]:
    """What a network gives, as a list whether it is one tensor or several."""
    result = module(images)
    return [result] if isinstance(result, Tensor) else list(result)

"""All problems by name; each is made once a process."""

from collections.abc import Callable
from functools import cache

from search_quality.cifar10_subnets import cifar10_subnets
from search_quality.nas_bench_201 import nas_bench_201
from search_quality.problem import Problem

PROBLEMS: dict[str, Callable[[], Problem]] = {
    "nas-bench-201 cifar10": lambda: nas_bench_201("cifar10"),
    "nas-bench-201 cifar100": lambda: nas_bench_201("cifar100"),
    "nas-bench-201 imagenet16": lambda: nas_bench_201("imagenet16"),
    "cifar10 gpu": lambda: cifar10_subnets("gpu"),
    "cifar10 cpu": lambda: cifar10_subnets("cpu"),
}


@cache
def problem_of(name: str) -> Problem:
    """The problem of that name; `KeyError` where there is none."""
    return PROBLEMS[name]()

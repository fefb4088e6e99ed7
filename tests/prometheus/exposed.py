"""The metrics that the code has, with their labels, and what is asked of them in PromQL."""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram

from forebay.console.traffic.canary_metrics import CanaryMetrics
from forebay.ingest.metrics import Counters, IngestMetrics, PortalCounts
from forebay.processors.metrics import metrics_of

#: What Prometheus gives every series of a target, in a cluster or from a list.
OF_A_TARGET = {"namespace", "job", "pod", "instance"}

_SELECTOR = re.compile(r"(forebay_\w+)(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"([^"]*)"')


@cache
def labels() -> dict[str, frozenset[str]]:
    """Name → its labels; a histogram's parts and a counter's total under the names that Prometheus knows."""
    found: dict[str, frozenset[str]] = {}
    for metric in _all():
        name, own = metric._name, frozenset(metric._labelnames)
        if isinstance(metric, Histogram):
            found |= {f"{name}_bucket": own | {"le"}, f"{name}_sum": own, f"{name}_count": own}
        else:
            found[f"{name}_total" if isinstance(metric, Counter) else name] = own
    return found


@cache
def values() -> dict[tuple[str, str], set[str]]:
    """Name and label → the values that are there from the start."""
    found: dict[tuple[str, str], set[str]] = {}
    for registry in _registries():
        for family in registry.collect():
            for sample in family.samples:
                for label, value in sample.labels.items():
                    found.setdefault((sample.name, label), set()).add(value)
    return found


@cache
def _registries() -> tuple[CollectorRegistry, ...]:
    ingest = IngestMetrics()
    Counters(ingest, "/bitrix24")
    PortalCounts(ingest)
    # With several groups these have one label more; queries must do with and without.
    metrics_of(["one", "two"], workers := CollectorRegistry())
    CanaryMetrics(canary := CollectorRegistry())
    return ingest.registry, workers, canary


def _all() -> list[Any]:
    return [metric for registry in _registries() for metric in registry._collector_to_names]


def selectors_of(expression: str) -> Iterator[tuple[str, dict[str, list[str]]]]:
    """What is asked for: name, and label → the values that are all wanted; those of targets are left out."""
    for name, matchers in _SELECTOR.findall(expression):
        found = [
            (label, given.split("|")) for label, operator, given in _MATCHER.findall(matchers) if "!" not in operator
        ]
        yield name, {label: wanted for label, wanted in found if label not in OF_A_TARGET}


def faults_of(expression: str) -> list[str]:
    """What the expression asks for that no metric has."""
    found, known = [], set(OF_A_TARGET)
    for name, matchers in _SELECTOR.findall(expression):
        own = labels().get(name)
        if own is None:
            found.append(f"there is no {name}")
            continue
        known |= own
        for label, operator, value in _MATCHER.findall(matchers):
            if label not in own | OF_A_TARGET:
                found.append(f"{name} has no {label}")
            there = values().get((name, label), set())
            asked = set(value.split("|")) if operator == "=~" else {value}
            if label in own and there and not asked <= there:
                found.append(f"{name} has no {label} {asked - there}")
    for listed in re.findall(r"\bby \(([^)]*)\)", expression):
        found += [f"nothing here has {label}" for label in listed.split(", ") if label not in known]
    return found

"""The facts of the published benchmarks do not change by accident, and fit together."""

from __future__ import annotations

import re

import pytest

from lorastream.data.benchmarks import catalogue
from lorastream.errors import DataError

# Classes, images, training and test images of the split that is published.
PUBLISHED = {
    "cifar100": (100, 60_000, (50_000, 10_000)),
    "cub200": (200, 11_788, (5_994, 5_794)),
    "domainnet": (345, 586_575, (409_832, 176_743)),
    "imagenet_a": (200, 7_500, None),
    "imagenet_r": (200, 30_000, (24_000, 6_000)),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_counts(name: str) -> None:
    benchmark = catalogue.find(name)
    lists = [each.counts for each in benchmark.lists.values() if each.counts]
    published = benchmark.own_counts or (lists[0] if lists else None)
    assert (benchmark.n_classes, benchmark.n_images, published) == PUBLISHED[name]
    assert published is None or sum(published) == benchmark.n_images


@pytest.mark.parametrize("name", PUBLISHED)
def test_what_is_fetched_is_named_and_checked(name: str) -> None:
    benchmark = catalogue.find(name)
    assert benchmark.name == name
    assert all(re.fullmatch("[0-9a-f]{32}", archive.md5 or "") for archive in benchmark.archives)
    lists = [file for each in benchmark.lists.values() for file in (*each.train, *each.test)]
    assert all(re.fullmatch(r"https?://\S+", file.address) for file in (*benchmark.archives, *lists))
    assert all(file.address.rpartition("/")[2] == file.name for file in benchmark.archives)
    assert all(archive.unpacks_to and archive.n_bytes for archive in benchmark.archives)
    assert benchmark.split_names()[0] == benchmark.default_split


def test_domainnet_pools_six_domains() -> None:
    benchmark = catalogue.find("domainnet")
    assert [archive.name for archive in benchmark.archives] == [
        *("clipart.zip", "infograph.zip", "painting.zip", "quickdraw.zip", "real.zip", "sketch.zip")
    ]
    official = benchmark.lists["official"]
    assert (len(official.train), len(official.test)) == (6, 6)
    assert len({file.md5 for file in (*official.train, *official.test)}) == 12


def test_an_unknown_benchmark_is_told_with_the_nearest() -> None:
    with pytest.raises(DataError, match="did you mean 'imagenet_r' or 'imagenet_a'"):
        catalogue.find("imagenet")

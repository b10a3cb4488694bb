"""What each benchmark is: how many classes and images, where its archives are, and how they are laid out.

Checksums are those that the projects which download these archives check against; where each comes from stands beside
it. Only what is needed to fetch, check and split is here; nothing heavy is imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from lorastream.errors import DataError, unknown_name

SEEDED = "seed0"
OFFICIAL = "official"
CODA_PROMPT = "coda_prompt"


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """A file that can be fetched.

    Attributes:
        path: where it belongs, relative to the root.
        address: the official one.
        md5: as published; None where none is known.
        n_bytes: its size, nearly; None where it is not known.
        unpacks_to: for an archive: the folder that it becomes, relative to the root; its name stands in the archive.
    """

    path: str
    address: str
    md5: str | None = None
    n_bytes: int | None = None
    unpacks_to: str | None = None

    @property
    def name(self) -> str:
        """Its own name, without folders."""
        return PurePosixPath(self.path).name


@dataclass(frozen=True, kw_only=True)
class PublishedLists:
    """A split that someone published as lists of files.

    Attributes:
        train: lists of training images.
        test: lists of test images.
        source: who published it.
        counts: training and test images; None where it is not known.
    """

    train: tuple[RemoteFile, ...]
    test: tuple[RemoteFile, ...]
    source: str
    counts: tuple[int, int] | None = None


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A published benchmark.

    Attributes:
        name: as it is called on the command line and in recipes.
        title: as it is called in papers.
        n_classes: classes.
        n_images: images of all splits together.
        archives: what is fetched and unpacked.
        folder: where its images lie, relative to the root.
        class_folders: `folder` has one folder a class, so that splits can be drawn from it.
        own_split: the format of the split that its makers ship in the archives; None where they ship none.
        own_counts: training and test images of that split.
        lists: splits published as lists, by name.
        default_split: the split that is meant where none is named.
        homepage: where its makers describe it.
        terms: on what terms its images are to be had.
    """

    name: str
    title: str
    n_classes: int
    n_images: int
    archives: tuple[RemoteFile, ...]
    folder: str
    class_folders: bool = True
    own_split: str | None = None
    own_counts: tuple[int, int] | None = None
    lists: Mapping[str, PublishedLists] = field(default_factory=dict[str, PublishedLists])
    default_split: str
    homepage: str
    terms: str

    @property
    def n_bytes(self) -> int:
        """The bytes of all archives together, nearly."""
        return sum(archive.n_bytes or 0 for archive in self.archives)

    def split_names(self) -> tuple[str, ...]:
        """Return the splits that need no option, the default first."""
        own = (OFFICIAL,) if self.own_split else ()
        seeded = (SEEDED,) if self.class_folders else ()
        return tuple(dict.fromkeys((self.default_split, *own, *self.lists, *seeded)))


def names() -> list[str]:
    """Return the names of all benchmarks."""
    return sorted(BENCHMARKS)


def find(name: str) -> Benchmark:
    """Return a benchmark by its name.

    Raises:
        DataError: there is none of that name.
    """
    if name not in BENCHMARKS:
        raise DataError.of([unknown_name(f"benchmark {name!r}", kind="benchmark", got=name, choices=names())])
    return BENCHMARKS[name]


# Facts gathered 2026-11-21 from what public projects use; none of the addresses could be tried from where this was
# written. The lists of CODA-Prompt: GT-RIPL/CODA-Prompt, dataloaders/splits; no checksum is published.
_CODA = "https://raw.githubusercontent.com/GT-RIPL/CODA-Prompt/main/dataloaders/splits"
_BERKELEY = "https://people.eecs.berkeley.edu/~hendrycks"
_BOSTON = "http://csr.bu.edu/ftp/visda/2019/multi-source"


def _coda_lists(benchmark: str, stem: str, counts: tuple[int, int] | None = None) -> dict[str, PublishedLists]:
    train, test = (
        RemoteFile(
            path=f"lorastream/{benchmark}/{CODA_PROMPT}_{role}.yaml",
            address=f"{_CODA}/{stem}_{role}.yaml",
        )
        for role in ("train", "test")
    )
    return {CODA_PROMPT: PublishedLists(train=(train,), test=(test,), source="CODA-Prompt repository", counts=counts)}


_IMAGENET_R = Benchmark(
    name="imagenet_r",
    title="ImageNet-R",
    n_classes=200,
    n_images=30_000,
    # MD5: torch-uncertainty and torchvision-style loaders of several projects; size: copies on the Hugging Face hub.
    archives=(
        RemoteFile(
            path="imagenet-r.tar",
            address=f"{_BERKELEY}/imagenet-r.tar",
            md5="a61312130a589d0ca1a8fca1f2bd3337",
            n_bytes=2_190_000_000,
            unpacks_to="imagenet-r",
        ),
    ),
    folder="imagenet-r",
    lists=_coda_lists("imagenet_r", "imagenet-r", (24_000, 6_000)),
    default_split=SEEDED,
    homepage="https://github.com/hendrycks/imagenet-r",
    terms="gathered from the web for research; the pictures remain their makers'",
)

_IMAGENET_A = Benchmark(
    name="imagenet_a",
    title="ImageNet-A",
    n_classes=200,
    n_images=7_500,
    # MD5: torch-uncertainty and others; size: a loader that checks it to the byte.
    archives=(
        RemoteFile(
            path="imagenet-a.tar",
            address=f"{_BERKELEY}/imagenet-a.tar",
            md5="c3e55429088dc681f30d81f4726b6595",
            n_bytes=687_552_512,
            unpacks_to="imagenet-a",
        ),
    ),
    folder="imagenet-a",
    default_split=SEEDED,
    homepage="https://github.com/hendrycks/natural-adv-examples",
    terms="gathered from the web for research; the pictures remain their makers'",
)

_CIFAR100 = Benchmark(
    name="cifar100",
    title="CIFAR-100",
    n_classes=100,
    n_images=60_000,
    # MD5: the data set's own page, for the binary version. The Python version is a pickle, which we never open.
    archives=(
        RemoteFile(
            path="cifar-100-binary.tar.gz",
            address="https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
            md5="03b5dce01913d631647c71ecec9e9cb8",
            n_bytes=168_513_733,
            unpacks_to="cifar-100-binary",
        ),
    ),
    folder="cifar-100-binary",
    class_folders=False,
    own_split="cifar",
    own_counts=(50_000, 10_000),
    default_split=OFFICIAL,
    homepage="https://www.cs.toronto.edu/~kriz/cifar.html",
    terms="no licence is stated; its makers ask to cite Krizhevsky (2009)",
)

_CUB200 = Benchmark(
    name="cub200",
    title="CUB-200-2011",
    n_classes=200,
    n_images=11_788,
    # MD5: published with the archive at CaltechDATA, and used by Avalanche and others.
    archives=(
        RemoteFile(
            path="CUB_200_2011.tgz",
            address="https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz",
            md5="97eceeb196236b17998738112f37df78",
            n_bytes=1_150_585_339,
            unpacks_to="CUB_200_2011",
        ),
    ),
    folder="CUB_200_2011/images",
    own_split="cub",
    own_counts=(5_994, 5_794),
    default_split=OFFICIAL,
    homepage="https://www.vision.caltech.edu/datasets/cub_200_2011",
    terms="for non-commercial research and teaching; the pictures remain their makers'",
)

# MD5 of archives and lists: the DDG benchmark's loader, of the cleaned version. Archives: nearly so many bytes.
_DOMAINS = {
    "clipart": ("groundtruth/clipart.zip", "cd0d8f2d77a4e181449b78ed62bccf1e", 1_270_000_000),
    "infograph": ("infograph.zip", "720380b86f9e6ab4805bb38b6bd135f8", 4_340_000_000),
    "painting": ("groundtruth/painting.zip", "1ae32cdb4f98fe7ab5eb0a351768abfd", 3_680_000_000),
    "quickdraw": ("quickdraw.zip", "bdc1b6f09f277da1a263389efe0c7a66", 460_000_000),
    "real": ("real.zip", "dcc47055e8935767784b7162e7c7cca6", 6_060_000_000),
    "sketch": ("sketch.zip", "658d8009644040ff7ce30bb2e820850f", 2_640_000_000),
}
_DOMAIN_LISTS = {
    "train": {
        "clipart": "b4349693a7f9c05c53955725c47ed6cb",
        "infograph": "379b50054f4ac2018dca4f89421b92d9",
        "painting": "7db0e7ca73ad9982f6e1f7f3ef372c0a",
        "quickdraw": "b732ced3939ac8efdd8c0a889dca56cc",
        "real": "8ebf02c2075fadd564705f0dc7cd6291",
        "sketch": "1233bd18aa9a8a200bf4cecf1c34ef3e",
    },
    "test": {
        "clipart": "f5ddbcfd657a3acf9d0f7da10db22565",
        "infograph": "779626b50869edffe8ea6941c3755c71",
        "painting": "232b35dc53f26d414686ae579e38d9b5",
        "quickdraw": "c1a828fdfe216fb109f1c0083a252c6f",
        "real": "6098816791c3ebed543c71ffa11b9054",
        "sketch": "d8a222e4672cfd585298aa14d02ea441",
    },
}


def _domain_lists(role: str) -> tuple[RemoteFile, ...]:
    return tuple(
        RemoteFile(
            path=f"domainnet/{domain}_{role}.txt", address=f"{_BOSTON}/domainnet/txt/{domain}_{role}.txt", md5=md5
        )
        for domain, md5 in _DOMAIN_LISTS[role].items()
    )


_DOMAINNET = Benchmark(
    name="domainnet",
    title="DomainNet",
    n_classes=345,
    n_images=586_575,
    archives=tuple(
        RemoteFile(
            path=f"domainnet/{domain}.zip",
            address=f"{_BOSTON}/{place}",
            md5=md5,
            n_bytes=n_bytes,
            unpacks_to=f"domainnet/{domain}",
        )
        for domain, (place, md5, n_bytes) in _DOMAINS.items()
    ),
    folder="domainnet",
    class_folders=False,
    # The six domains' lists together, cleaned version; counts as in TensorFlow Datasets.
    lists={
        OFFICIAL: PublishedLists(
            train=_domain_lists("train"),
            test=_domain_lists("test"),
            source="DomainNet's makers, six domains pooled",
            counts=(409_832, 176_743),
        ),
        **_coda_lists("domainnet", "domainnet"),
    },
    default_split=OFFICIAL,
    homepage="http://ai.bu.edu/M3SDA",
    terms="for academic research; partly copyrighted material, shown without its owners' leave",
)

BENCHMARKS: dict[str, Benchmark] = {
    benchmark.name: benchmark for benchmark in (_CIFAR100, _CUB200, _DOMAINNET, _IMAGENET_A, _IMAGENET_R)
}

"""The systems of docs/SOURCES.md as small frozen configurations of the same parts, with the
sources' own numbers.

A recipe is a network, one or more stages of training, and how the data is shown. Where a source is
silent, the number is marked "ours". Every network here ends in one logit: a softmax over two
outputs, as two sources have it, is the sigmoid of their difference, and its cross-entropy is the
binary one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from detector.errors import DataError
from detector.nets.network import NetworkConfig

HEADS = "heads"  # trains the frame head and the temporal head, the embedder stays as it is
ALL = "all"
DENOISER = "denoiser"
OURS = "ours"


@dataclass(frozen=True)
class Stage:
    """One phase of training. Label 1 is forged."""

    epochs: int
    optimizer: Literal["adam", "adamw", "nadam", "sgd"]
    lr: float
    # HEADS, ALL, DENOISER, or the embedder's block from which on it trains, "rgb.net.block6"
    trains: str = ALL
    momentum: float = 0.0  # of SGD
    weight_decay: float = 0.0
    # weight of the denoiser's mean squared error beside the cross-entropy
    reconstruction: float = 0.0


@dataclass(frozen=True)
class Recipe:
    """What to train and how."""

    name: str
    source: str  # key into docs/SOURCES.md, or OURS
    summary: str  # one line
    network: NetworkConfig
    stages: tuple[Stage, ...]
    start: Literal["imagenet", "vggface2", ""] = ""  # "": from scratch
    frames: int = 1  # per clip; 1 trains on single crops, more on whole tracks
    batch: int = 32
    augment: Literal["flip", "flip, rotate, contrast", "compress"] = "flip"
    held_share: float = 0.2  # of the material, kept back to choose the best state
    patience: int = 5  # epochs without a better validation score before a stage ends

    def with_start(self, weights: str | None, pretrained: bool = True) -> Recipe:
        """The same recipe with its backbone from a file, or (without one) through timm /
        facenet-pytorch.

        pretrained=False starts from scratch, and then nothing stays frozen: random features are not
        worth keeping. Raises DataError where a recipe has no backbone to start.
        """
        if not self.start:
            if weights is not None:
                raise DataError(
                    f"The recipe {self.name} starts from scratch and takes no pretrained weights."
                )
            return self
        if weights is None and not pretrained:
            stages = tuple(
                replace(s, trains=s.trains if s.trains == DENOISER else ALL) for s in self.stages
            )
            return replace(self, stages=stages, start="")
        extra = {"weights": weights} if weights is not None else {"pretrained": True}
        return self.with_embedder_options(extra)

    def with_embedder_options(self, options: Mapping[str, Any]) -> Recipe:
        network = replace(
            self.network, embedder_options={**self.network.embedder_options, **options}
        )
        return replace(self, network=network)


def network_of(
    embedder: str,
    temporal: str = "mean",
    temporal_options: Mapping[str, Any] | None = None,
    **parts: Any,
) -> NetworkConfig:
    options = {
        "temporal": temporal,
        "temporal_options": temporal_options or {},
        "denoiser_widths": (),
        **parts,
    }
    return NetworkConfig(embedder, **options)


_FINE_TUNING = (Stage(3, "adamw", 1e-3, HEADS), Stage(10, "adamw", 1e-4, weight_decay=0.02))  # ours

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            "resnet50",
            "embeddings-anti-media",
            "image embeddings as features for a classifier",
            network_of("resnet50"),
            (Stage(10, "adam", 1e-3, HEADS),),
            start="imagenet",
        ),
        Recipe(
            "resnet50-lstm",
            "embeddings-anti-media",
            "ResNet-50 per frame, LSTM(256), frozen backbone, Adam 1e-3, 10 epochs",
            network_of("resnet50", "lstm", {"hidden": 256}),
            (Stage(10, "adam", 1e-3, HEADS),),
            start="imagenet",
            frames=16,  # ours
            batch=8,  # ours
        ),
        Recipe(
            "inception-resnet-lstm",
            "inception-lstm-blog",
            "InceptionResnetV1 frozen, 20 frames, LSTM(512) x 2 with dropout .5, 50 epochs of Adam",
            network_of(
                "inception-resnet-v1",
                "lstm",
                {"hidden": 512, "layers": 2, "dropout": 0.5, "dense": (256,), "dropout_after": 0.5},
            ),
            (Stage(50, "adam", 1e-3, HEADS),),  # Adam's own rate
            start="vggface2",
            frames=20,
            batch=8,  # ours
            patience=10,
        ),
        Recipe(
            "vit-transformer",
            "inception-lstm-blog",
            "ViViT's factorised encoder, a ViT per frame and a transformer over time",
            network_of("vit", "transformer", {"width": 192, "heads": 4, "layers": 4}),  # sizes ours
            (Stage(3, "adamw", 1e-3, HEADS), Stage(10, "adamw", 3e-5, weight_decay=0.05)),
            start="imagenet",
            frames=16,
            batch=4,
        ),
        Recipe(
            "resilient",
            "compression-resilient",
            "two streams from scratch; the denoiser first, then all with CE + 0.1 x reconstruction",
            network_of("resilient", denoiser_widths=(64, 128, 256, 512, 256), denoiser_skips=False),
            (
                Stage(10, "adam", 1e-3, DENOISER, reconstruction=1.0),
                Stage(20, "adam", 1e-4, reconstruction=0.1),
            ),
            augment="compress",
        ),
        Recipe(
            "baseline-cnn",
            "cnn-rnn-article",
            "a small CNN, Nadam, 5 epochs",
            network_of("baseline-cnn"),
            (Stage(5, "nadam", 1e-3),),  # Nadam's own rate
        ),
        Recipe(
            "xception",
            "cnn-rnn-article",
            "the head first (SGD 0.1, 3 epochs), then from layer 56 on (SGD 0.01, 10 epochs)",
            network_of("xception"),
            # Layer 56 of the article's Keras network opens its block 7; timm counts that block as
            # 6.
            (Stage(3, "sgd", 0.1, HEADS, 0.9), Stage(10, "sgd", 0.01, "rgb.net.block6", 0.9)),
            start="imagenet",
            augment="flip, rotate, contrast",
        ),
        Recipe(
            "inception-gru",
            "cnn-rnn-article",
            "InceptionV3 per frame, 20 frames masked, GRU 16 and 8, batch 8, a tenth held back",
            network_of(
                "inception-v3", "gru", {"hidden": (16, 8), "dense": (8,), "dropout_before": 0.4}
            ),
            (Stage(10, "adam", 1e-3, HEADS),),
            start="imagenet",
            frames=20,
            batch=8,
            held_share=0.1,
        ),
        Recipe(
            "efficientnet-b4",
            OURS,
            "the head first, then all at a tenth of the rate",
            network_of("efficientnet-b4"),
            _FINE_TUNING,
            start="imagenet",
        ),
        Recipe(
            "timm",
            OURS,
            "any timm network, by --backbone",
            network_of("timm"),
            _FINE_TUNING,
            start="imagenet",
        ),
        Recipe(
            "two-stream",
            OURS,
            "the shipped network's shape on labelled material, without the map, which needs masks",
            network_of("two-stream", embedder_options={"use_map": False}),
            (Stage(20, "adamw", 5e-4, weight_decay=0.02),),
            start="imagenet",
            augment="compress",
        ),
    )
}


def find_recipe(name: str) -> Recipe:
    """A recipe by its name. Raises ValueError for one that is not there."""
    if name not in RECIPES:
        raise ValueError(f"No recipe is called {name!r}; there are {', '.join(sorted(RECIPES))}.")
    return RECIPES[name]

"""A trained model on the Hugging Face Hub: the repository is a model folder, as `--model DIR` reads
it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import PyTorchModelHubMixin, snapshot_download
from torch import Tensor, nn

from detector.nets.network import DeepfakeNetwork
from detector.training.export import write_model
from detector.weights import load_model

# of the manifest, passed on as they are
FACTS = ("profiles", "validation_ece", "recipe", "training_data", "terms")


class HubModel(nn.Module, PyTorchModelHubMixin):
    """`HubModel.from_pretrained("user/name").network`; `.push_to_hub("user/name")`,
    `.save_pretrained(folder)`.

    Loading checks every file's sha256 against the manifest and unpickles nothing. Raises
    WeightsError.
    """

    def __init__(
        self, network: DeepfakeNetwork, name: str, facts: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__()
        self.network = network
        self.name = name
        self.facts = dict(facts or {})

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images)

    @classmethod
    def of_folder(cls, folder: Path) -> HubModel:
        """A model folder's default model, ready to be pushed."""
        loaded = load_model(folder)
        return cls(
            loaded.network,
            loaded.info.name,
            {k: loaded.entry[k] for k in FACTS if k in loaded.entry},
        )

    def _save_pretrained(self, save_directory: Path) -> None:
        write_model(self.network, self.name, Path(save_directory), self.facts, fp16=False)

    @classmethod
    def _from_pretrained(cls, *, model_id: str, **options: Any) -> HubModel:
        if Path(model_id).is_dir():
            return cls.of_folder(Path(model_id))
        known = ("revision", "cache_dir", "force_download", "local_files_only", "token")
        chosen = {k: options[k] for k in known if k in options}
        folder = snapshot_download(
            model_id, allow_patterns=["manifest.json", "*.safetensors"], **chosen
        )
        return cls.of_folder(Path(folder))

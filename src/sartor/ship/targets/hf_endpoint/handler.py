"""Answers with the bundle beside this file, for Hugging Face Inference Endpoints.

https://huggingface.co/docs/inference-endpoints/engines/toolkit#create-a-custom-inference-handler
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zipfile import ZipFile


class EndpointHandler:
    """Loaded once; then called for every request."""

    def __init__(self, path: str = "") -> None:
        """
        Args:
            path: Folder of the repository; this file's when empty.
        """
        here = Path(path) if path else Path(__file__).parent
        # Kept as long as the handler: the graph is read again where a second copy pays.
        self._folder = TemporaryDirectory(prefix="sartor-")
        inside = Path(self._folder.name)
        (wheel,) = here.glob("sartor-*.whl")
        for archive, place in ((wheel, "code"), (here / "bundle.zip", "bundle")):
            with ZipFile(archive) as held:
                held.extractall(inside / place)
        # Before anything that is installed: this is the code that judged the bundle.
        sys.path.insert(0, str(inside / "code"))
        # Read once, when ONNX Runtime is imported: it reports to its makers otherwise.
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        import sartor

        # Every file's hash is checked against the manifest, and the manifest against its seal.
        self._model = sartor.load(inside / "bundle")

    def __call__(self, data: Mapping[str, Any]) -> Any:
        """
        Args:
            data: The request's body: `{"inputs": "a text"}`, or a list of texts.

        Returns:
            `{"label": …, "probabilities": {…}}` for one text, a list of those for a list. The
            label is None where the model abstains.
        """
        inputs = data["inputs"]
        alone = isinstance(inputs, str | Mapping)
        answers = self._model.predict([inputs] if alone else inputs)
        return answers[0] if alone else answers

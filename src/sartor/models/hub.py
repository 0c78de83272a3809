"""The Hugging Face hub, or a mirror: fetches what a backbone needs and nothing that can run.

HF_ENDPOINT, HF_HUB_OFFLINE, HF_HOME and HF_TOKEN mean what they mean to huggingface_hub. The small
files come first and are judged before the weights are downloaded.
"""

from pathlib import Path

from sartor.core.errors import MissingExtra, ModelError
from sartor.core.events import Emit, Note
from sartor.models.folder import read_config, reading_files

_SMALL = (
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "generation_config.json",
    "source.spm",
    "target.spm",
    "vocab.json",
    # Only to say by name why a model without tokenizer.json cannot be used.
    "sentencepiece.bpe.model",
    "config_sentence_transformers.json",
    "README.md",
)
_WEIGHTS = ("model.safetensors", "model-*-of-*.safetensors", "model.safetensors.index.json")


def offline() -> bool:
    """Whether the user forbids the network.

    Raises:
        MissingExtra: If huggingface_hub is not installed.
    """
    try:
        from huggingface_hub import is_offline_mode
    except ImportError as error:
        raise MissingExtra(
            f"Looking for a model needs huggingface_hub ({error}).",
            fix="pip install 'sartor[train]'.",
        ) from error
    return is_offline_mode()


def fetch(repo: str, revision: str | None, emit: Emit) -> Path:
    """Download a model's configuration, tokenizer and safetensors into huggingface_hub's cache.

    Args:
        repo: "org/name".
        revision: Branch, tag or commit; None for the default branch.
        emit: Told before the weights are fetched.

    Returns:
        The snapshot's folder.

    Raises:
        ModelError: If the hub cannot be reached and the model is not cached, does not have it,
            or asks for a login; or if its configuration asks for custom code, or it has no
            tokenizer.json or no safetensors.
        MissingExtra: If huggingface_hub is not installed.
    """
    folder = _snapshot(repo, revision, _SMALL)
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"The hub model {repo} has no config.json.",
            fix="choose a transformers model; its page lists config.json under Files.",
        )
    read_config(folder)
    reading_files(folder)
    emit(Note(f"fetching {repo} from the hub, unless it is cached"))
    whole = _snapshot(repo, revision, _WEIGHTS)
    if not any(whole.glob("model*.safetensors")):
        raise ModelError(
            f"The hub model {repo} has no model.safetensors; weights of other kinds can run code"
            " when they are loaded, and are not fetched.",
            fix=f"look on its page for a revision that has it and write {repo}@refs/pr/N; or"
            " convert it once where you trust it, with from_pretrained and save_pretrained, and"
            " name that folder.",
        )
    return whole


def _snapshot(repo: str, revision: str | None, patterns: tuple[str, ...]) -> Path:
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import (
            GatedRepoError,
            HFValidationError,
            LocalEntryNotFoundError,
            OfflineModeIsEnabled,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )
    except ImportError as error:
        raise MissingExtra(
            f"Fetching {repo} needs huggingface_hub ({error}).", fix="pip install 'sartor[train]'."
        ) from error
    named = f"{repo}@{revision}" if revision else repo
    try:
        return Path(snapshot_download(repo, revision=revision, allow_patterns=list(patterns)))
    except GatedRepoError as error:
        raise ModelError(
            f"The hub model {named} asks for a login or an accepted licence.",
            fix="accept it on the model's page, then set HF_TOKEN.",
        ) from error
    except (RepositoryNotFoundError, RevisionNotFoundError, HFValidationError) as error:
        raise ModelError(
            f"The hub has no model {named} that you may read.",
            fix="check the name and the revision; for a private model set HF_TOKEN.",
        ) from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
        raise ModelError(
            f"The hub model {named} is not in the cache and the hub was not reached "
            f"({type(error).__name__}).",
            fix="unset HF_HUB_OFFLINE or name a mirror in HF_ENDPOINT; or use a starter "
            "(`sartor starters`) or a folder.",
        ) from error

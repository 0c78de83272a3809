"""A BERT folder of a few kilobytes: random weights, a real WordPiece tokenizer, no network."""

from collections.abc import Sequence
from pathlib import Path

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORDS = (
    *("the", "a", "is", "was", "not", "very", "this", "that", "and", "but", "i", "it", "my"),
    *("good", "great", "bad", "awful", "love", "hate", "fine", "refund", "invoice", "order"),
    *("late", "broken", "works", "product", "taste", "price", "please", "thanks", "money", "back"),
)
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,!?'-"
CHINESE = "我你他不很好差喜欢这个东西太了退款质量发票订单谢请钱"


def make_tiny_bert(
    folder: Path, *, seed: int = 0, layers: int = 2, width: int = 32, max_length: int = 128
) -> Path:
    """Write config.json, model.safetensors and tokenizer.json of a random BERT.

    Args:
        folder: Created if absent.
        seed: Of the weights; two seeds give two different SHA-256.
        layers: Transformer layers.
        width: Hidden size; a multiple of 4, the number of heads.
        max_length: Positions the model has.

    Returns:
        `folder`, ready for `models.catalogue.find_backbone(str(folder))`.
    """
    import torch
    from safetensors.torch import save_file
    from transformers import BertConfig, BertModel

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = tiny_tokenizer()
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=2 * width,
        max_position_embeddings=max_length,
        # Wider than BERT's 0.02: at this width, texts would otherwise look alike.
        initializer_range=0.2,
        architectures=["BertModel"],
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = BertModel(config, add_pooling_layer=False)
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config.to_json_file(folder / "config.json", use_diff=False)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def tiny_tokenizer():
    """A lower-casing WordPiece tokenizer over a few words, letters and Chinese characters."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    pieces = [*SPECIAL, *WORDS, *LETTERS, *(f"##{c}" for c in LETTERS), *CHINESE]
    vocabulary = {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(s, vocabulary[s]) for s in ("[CLS]", "[SEP]")],
    )
    tokenizer.add_special_tokens(list(SPECIAL))
    return tokenizer


CHAT = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] }}"
    "{{ '<|im_end|>\\n' }}{% endfor %}"
)


def make_tiny_llama(folder: Path, *, seed: int = 0, max_length: int = 2048) -> Path:
    """Write the folder of a random Llama that chats: a byte-level tokenizer and a chat template.

    Args:
        folder: Created if absent.
        seed: Of the weights.
        max_length: Positions the model has.

    Returns:
        `folder`, ready for `models.catalogue.find_backbone(str(folder), kind="llm")`.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = byte_tokenizer()
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=64,
        max_position_embeddings=max_length,
        initializer_range=0.3,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "chat_template.jinja").write_text(CHAT)
    return folder


def byte_tokenizer():
    """Byte-level BPE with a few merges and three control tokens, as small chat models have it."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    control = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("o", "o"), ("g", "oo"), ("goo", "d"), ("b", "a"), ("ba", "d"), ("Ġ", "a")]
    pieces = [*control, *letters, *(a + b for a, b in merges)]
    vocabulary = {piece: place for place, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in control])
    return tokenizer


def make_tiny_seq2seq(
    folder: Path,
    kind: str = "bart",
    *,
    seed: int = 0,
    max_length: int = 64,
    languages: Sequence[str] = (),
) -> Path:
    """Write the folder of a random encoder-decoder with a byte-level tokenizer.

    Args:
        folder: Created if absent.
        kind: Its `model_type`: bart, mbart, m2m_100, marian, pegasus or t5; "t5-gated" for version
            1.1.
        seed: Of the weights.
        max_length: Positions the model has.
        languages: Control tokens of languages; the first stands before every text.

    Returns:
        `folder`, ready for `models.catalogue.find_backbone(str(folder), kind="seq2seq")`.
    """
    import transformers
    from tokenizers import processors

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = byte_tokenizer()
    tokenizer.add_special_tokens(list(languages))
    ids = {token: tokenizer.token_to_id(token) for token in ("<|im_end|>", *languages[:1])}
    tokenizer.post_processor = processors.TemplateProcessing(
        single=" ".join([*languages[:1], "$A <|im_end|>"]), special_tokens=list(ids.items())
    )
    shared = {
        "vocab_size": tokenizer.get_vocab_size(),
        "d_model": 32,
        "pad_token_id": 0,
        "eos_token_id": 2,
        "decoder_start_token_id": 1,
    }
    if kind.startswith("t5"):
        name, gated = "T5", kind.endswith("gated")
        config = transformers.T5Config(
            **shared,
            d_kv=8,
            d_ff=64,
            num_layers=2,
            num_heads=4,
            relative_attention_num_buckets=8,
            relative_attention_max_distance=12,
            initializer_factor=3.0,
            feed_forward_proj="gated-gelu" if gated else "relu",
            **({"tie_word_embeddings": False} if gated else {}),
        )
        _save_drawn(transformers.T5ForConditionalGeneration, config, seed, folder)
        tokenizer.save(str(folder / "tokenizer.json"))
        return folder
    named = {"bart": "Bart", "mbart": "MBart", "m2m_100": "M2M100"}
    name = named.get(kind, kind.capitalize())
    model = {"Marian": "MarianMTModel"}.get(name, f"{name}ForConditionalGeneration")
    config = getattr(transformers, f"{name}Config")(
        **shared,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_position_embeddings=max_length,
        # Wider than usual: at this width, texts would otherwise look alike.
        init_std=0.3,
        scale_embedding=kind in ("m2m_100", "marian", "pegasus"),
        activation_function="swish" if kind == "marian" else "gelu",
        bos_token_id=1,
        forced_bos_token_id=None,
        forced_eos_token_id=None,
    )
    _save_drawn(getattr(transformers, model), config, seed, folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def _save_drawn(model, config, seed: int, folder: Path) -> None:
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model(config).save_pretrained(folder)

"""Files of a backbone folder that are not what they say are refused by name."""

import pytest
from tokenizers import Tokenizer, models, normalizers

from sartor.core.errors import ModelError
from sartor.models.loading import load_tokenizer


def test_a_tokenizer_whose_table_of_characters_leads_outside_is_refused(tmp_path):
    tokenizer = Tokenizer(models.BPE())
    units = (0x1FFFFF << 10).to_bytes(4, "little") + bytes(1020)
    table = len(units).to_bytes(4, "little") + units + b"a\0"
    tokenizer.normalizer = normalizers.Precompiled(table)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ModelError, match=r"tokenizer\.json is not a tokenizer: .*leads outside"):
        load_tokenizer(tmp_path)

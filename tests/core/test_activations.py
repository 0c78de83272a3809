import os
import resource
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sartor.core.activations import Activations, Space, to_halves
from sartor.core.errors import SettingError, WorkspaceError
from sartor.core.events import Event, Note
from sartor.core.hashing import text_digest

SPACE = Space("a" * 64, layers=2, width=8)


def keys(start: int, stop: int) -> list[bytes]:
    return [text_digest(f"text {i}") for i in range(start, stop)]


def values(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 3, 8)).astype(np.float32)


def segments(cache: Activations) -> list[Path]:
    return sorted((cache.folder / "spaces").glob("*/*"))


def run(code: str, *arguments: object) -> subprocess.Popen[str]:
    program = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_what_is_put_is_found_rounded_to_float16(tmp_path):
    cache, stored = Activations(tmp_path), values(5)
    assert cache.put(SPACE, keys(0, 5), stored)

    with Activations(tmp_path).get(SPACE, [*keys(3, 7), *keys(0, 1)]) as found:
        assert found.mask.tolist() == [True, True, False, False, True]
        read = found.gather([2, 0])

    assert read.dtype == np.float32
    expected = stored.astype(np.float16).astype(np.float32)[[3, 4, 0]][:, [2, 0]]
    np.testing.assert_array_equal(read[[0, 1, 4]], expected)
    assert not read[2:4].any()


def test_gathering_into_an_array_leaves_the_absent_rows_alone(tmp_path):
    cache = Activations(tmp_path)
    cache.put(SPACE, keys(0, 1), values(1))
    out = np.full((2, 1, 8), 7, np.float32)

    with cache.get(SPACE, keys(0, 2)) as found:
        found.gather([1], out)

    assert (out[1] == 7).all()
    assert not (out[0] == 7).any()


def test_another_length_type_or_backbone_is_another_space(tmp_path):
    cache = Activations(tmp_path)
    cache.put(SPACE, keys(0, 2), values(2))
    for other in (
        Space("b" * 64, 2, 8),
        Space("a" * 64, 2, 8, max_length=128),
        Space("a" * 64, 2, 8, dtype="bfloat16"),
        Space("a" * 64, 2, 8, pooling="first"),
    ):
        with cache.get(other, keys(0, 2)) as found:
            assert not found.mask.any()


def test_values_beyond_float16_are_cut_to_its_range(tmp_path):
    cache, large = Activations(tmp_path), values(1)
    large[0, 0, 0] = -1e9
    cache.put(SPACE, keys(0, 1), large)
    with cache.get(SPACE, keys(0, 1)) as found:
        assert found.gather([0])[0, 0, 0] == -65504


def test_halves_are_those_of_cutting_first_whatever_is_given():
    drawn = np.random.default_rng(0).standard_normal(4096).astype(np.float32)
    wide = np.concatenate([drawn, drawn * 1e6, [65504, 65510, 65519, 65520, -65520, 0, 1e-8]])
    for values in (wide.astype(np.float32), drawn, drawn.astype(np.float16), wide):
        expected = np.clip(values, -65504, 65504).astype("<f2")
        np.testing.assert_array_equal(to_halves(values), expected)
        assert to_halves(values).dtype == np.dtype("<f2")


def test_wrong_shapes_layers_bounds_and_values_are_refused(tmp_path):
    cache = Activations(tmp_path)
    with pytest.raises(SettingError, match=r"\(2, 3, 8\)"):
        cache.put(SPACE, keys(0, 3), values(2))
    with pytest.raises(SettingError, match="not numbers"):
        cache.put(SPACE, keys(0, 2), values(2) * np.nan)
    with cache.get(SPACE, keys(0, 1)) as found, pytest.raises(SettingError, match="Layer 3"):
        found.gather([3])
    with pytest.raises(SettingError, match="0"):
        Activations(tmp_path, max_bytes=0)


@pytest.mark.parametrize("damage", ["flip", "cut", "manifest", "lost"])
def test_a_damaged_segment_is_set_aside_with_a_warning_and_its_texts_are_absent(tmp_path, damage):
    cache = Activations(tmp_path)
    cache.put(SPACE, keys(0, 4), values(4))
    cache.put(SPACE, keys(4, 6), values(2))
    first = segments(cache)[0]
    file = first / ("manifest.json" if damage == "manifest" else "values.f16")
    data = bytearray(file.read_bytes())
    data[9] ^= 1
    file.write_bytes(data[:-1] if damage == "cut" else data)
    if damage == "lost":
        file.unlink()
    events: list[Event] = []

    again = Activations(tmp_path, emit=events.append)
    with again.get(SPACE, keys(0, 6)) as found:
        assert found.mask.tolist() == [False] * 4 + [True] * 2

    assert [type(e) for e in events] == [Note]
    assert first.name in events[0].text  # type: ignore[union-attr]
    assert len(list((tmp_path / "damaged").iterdir())) == 1
    again.put(SPACE, keys(0, 4), values(4))
    with again.get(SPACE, keys(0, 6)) as found:
        assert found.mask.all()


def test_the_bound_holds_and_the_least_recently_used_segment_goes_first(tmp_path):
    cache = Activations(tmp_path)
    for i in range(3):
        cache.put(SPACE, keys(10 * i, 10 * i + 10), values(10))
        past = time.time() - 1000 + i
        os.utime(segments(cache)[i] / "manifest.json", (past, past))
    with cache.get(SPACE, keys(0, 1)) as found:  # the oldest is used now
        assert found.mask.all()
    bound = cache.size() + 700

    small = Activations(tmp_path, max_bytes=bound)
    assert small.put(SPACE, keys(30, 40), values(10))

    assert small.size() <= bound
    with small.get(SPACE, [*keys(0, 1), *keys(10, 11), *keys(20, 21), *keys(30, 31)]) as found:
        assert found.mask.tolist() == [True, False, True, True]


def test_segments_in_use_are_not_evicted_and_the_newcomer_is_declined(tmp_path):
    cache = Activations(tmp_path)
    cache.put(SPACE, keys(0, 10), values(10))
    bounded = Activations(tmp_path, max_bytes=cache.size() + 700)

    with cache.get(SPACE, keys(0, 10)) as found:
        assert not bounded.put(SPACE, keys(10, 20), values(10))
        np.testing.assert_array_equal(found.gather([0]), values(10).astype(np.float16)[:, :1])

    assert bounded.put(SPACE, keys(10, 20), values(10))
    with cache.get(SPACE, keys(0, 20)) as found:
        assert found.mask.tolist() == [False] * 10 + [True] * 10


def test_a_pin_of_a_killed_process_does_not_hold(tmp_path):
    cache = Activations(tmp_path)
    cache.put(SPACE, keys(0, 10), values(10))
    holder = run(
        """
        import sys
        from pathlib import Path
        from sartor.core.activations import Activations, Space
        from sartor.core.hashing import text_digest
        found = Activations(Path(sys.argv[1])).get(
            Space("a" * 64, layers=2, width=8), [text_digest("text 0")])
        print(found.mask.all(), flush=True)
        sys.stdin.read()
        """,
        tmp_path,
    )
    assert holder.stdout is not None
    bounded = Activations(tmp_path, max_bytes=cache.size() + 700)
    try:
        assert holder.stdout.readline() == "True\n"
        assert not bounded.put(SPACE, keys(10, 20), values(10))
    finally:
        holder.kill()
        holder.communicate()
    assert bounded.put(SPACE, keys(10, 20), values(10))
    assert list((tmp_path / "pins").iterdir()) == []


def test_two_processes_fill_evict_and_read_one_cache_without_harm(tmp_path):
    code = """
        import sys
        from pathlib import Path
        import numpy as np
        from sartor.core.activations import Activations, Space
        from sartor.core.events import Note
        from sartor.core.hashing import text_digest
        events = []
        cache = Activations(Path(sys.argv[1]), max_bytes=12_000, emit=events.append)
        space, mine, hits = Space("a" * 64, layers=2, width=8), int(sys.argv[2]), 0
        for round in range(40):
            numbers = np.random.default_rng([round, mine]).integers(0, 200, 12)
            wanted = [text_digest(f"text {i}") for i in numbers]
            values = np.broadcast_to(numbers[:, None, None], (12, 3, 8)).astype(np.float32)
            with cache.get(space, wanted) as found:
                read = found.gather([0, 1, 2])
                assert np.array_equal(read[found.mask], values[found.mask])
                hits += int(found.mask.sum())
                absent = np.flatnonzero(~found.mask)
                cache.put(space, [wanted[i] for i in absent], values[absent])
            assert cache.size() <= 12_000, cache.size()
        assert hits and not events, (hits, events)
    """
    both = [run(code, tmp_path, number) for number in range(2)]
    for process in both:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    assert list((tmp_path / "staging").iterdir()) == []


def test_a_full_disk_is_an_error_with_its_fix_and_leaves_the_cache_whole(tmp_path):
    cache = Activations(tmp_path)
    cache.put(SPACE, keys(0, 2), values(2))
    code = """
        import resource, sys
        from pathlib import Path
        import numpy as np
        from sartor.core.activations import Activations, Space
        from sartor.core.errors import WorkspaceError
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        keys = [bytes(15) + bytes([i]) for i in range(50)]
        space = Space("a" * 64, layers=2, width=8)
        try:
            Activations(Path(sys.argv[1])).put(space, keys, np.ones((50, 3, 8), np.float32))
        except WorkspaceError as error:
            print(error.fix)
    """
    out, errors = run(code, tmp_path).communicate(timeout=60)
    assert "free disk space" in out, errors
    assert list((tmp_path / "staging").iterdir()) == []
    with Activations(tmp_path).get(SPACE, keys(0, 2)) as found:
        assert found.mask.all()


def test_a_folder_that_cannot_be_made_is_an_error_with_its_fix(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkspaceError, match="cannot be used") as caught:
        Activations(tmp_path / "file" / "cache").put(SPACE, keys(0, 1), values(1))
    assert caught.value.fix


def test_reading_one_layer_of_many_texts_keeps_memory_low(tmp_path):
    cache, space = Activations(tmp_path), Space("c" * 64, layers=12, width=384)
    block = np.zeros((512, 13, 384), np.float16)
    for i in range(8):
        cache.put(space, keys(512 * i, 512 * i + 512), block)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with cache.get(space, keys(0, 4096)) as found:
        assert found.gather([12]).shape == (4096, 1, 384)
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    assert grown < 3 * 4096 * 384 * 4, f"grew by {grown:,} bytes; all layers are {8 * block.nbytes}"


STATES = Space("a" * 64, layers=2, width=8, pooling="none", layer=1)


def states(lengths: list[int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(sum(lengths), 1, 8)).astype(np.float32)


def test_token_states_of_any_length_come_back_as_views_of_the_file(tmp_path):
    cache, lengths = Activations(tmp_path), [3, 1, 5]
    stored = states(lengths)
    assert cache.put(STATES, keys(0, 3), stored, lengths)

    with Activations(tmp_path).get(STATES, [*keys(2, 4), *keys(0, 1)]) as found:
        assert found.mask.tolist() == [True, False, True]
        assert found.lengths().tolist() == [5, 0, 3]
        last, first = found.rows(0), found.rows(2)

    expected = stored[:, 0].astype(np.float16)
    np.testing.assert_array_equal(last, expected[None, 4:])
    np.testing.assert_array_equal(first, expected[None, :3])
    assert isinstance(first.base, np.memmap)


def test_states_of_another_layer_are_another_space_and_pooled_spaces_keep_their_name(tmp_path):
    cache = Activations(tmp_path)
    cache.put(STATES, keys(0, 1), states([4]), [4])
    with cache.get(replace(STATES, layer=2), keys(0, 1)) as found:
        assert not found.mask.any()
    # Written before token states were kept: activations on users' disks stay valid.
    assert SPACE.key == "92384c21a17f48851a0f70f1a9fe6949"


@pytest.mark.parametrize(
    ("count", "lengths"), [(2, [4]), (2, [3, 2]), (2, [4, 0]), (2, None), (1, [2, 2])]
)
def test_states_without_a_fitting_length_for_each_text_are_refused(tmp_path, count, lengths):
    with pytest.raises(SettingError, match="length"):
        Activations(tmp_path).put(STATES, keys(0, count), states([4]), lengths)
    with pytest.raises(SettingError, match="length"):
        Activations(tmp_path).put(SPACE, keys(0, 2), values(2), [1, 1])


@pytest.mark.parametrize("file", ["values.f16", "lengths.i32"])
def test_damaged_states_are_set_aside_and_absent(tmp_path, file):
    Activations(tmp_path).put(STATES, keys(0, 2), states([3, 4]), [3, 4])
    path = segments(Activations(tmp_path))[0] / file
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)
    events: list[Event] = []

    with Activations(tmp_path, emit=events.append).get(STATES, keys(0, 2)) as found:
        assert not found.mask.any()

    assert [type(e) for e in events] == [Note]


def test_room_is_the_bound_less_what_is_in_use(tmp_path):
    cache = Activations(tmp_path, max_bytes=100_000)
    cache.put(STATES, keys(0, 2), states([30, 40]), [30, 40])
    assert cache.room() == 100_000
    with cache.get(STATES, keys(0, 1)):
        assert cache.room() == 100_000 - cache.size()
    assert cache.room() == 100_000


def test_what_is_listed_is_known_without_reading_a_value(tmp_path):
    Activations(tmp_path).put(SPACE, keys(0, 3), values(3))
    for segment in segments(Activations(tmp_path)):
        (segment / "values.f16").write_bytes(b"x" * (3 * 3 * 8 * 2))
    assert Activations(tmp_path).listed(SPACE, keys(1, 5)).tolist() == [True, True, False, False]

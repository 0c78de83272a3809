from sartor.judge.gaps import gaps
from tests.judge.rows import criteria, right_and_wrong


def test_the_gap_sets_the_same_metric_beside_itself_on_every_part_of_the_data():
    need = criteria("accuracy >= 0.8", "recall[label=yes] >= 0.5", "size_mb <= 60")
    table = gaps(
        need,
        {
            "training": right_and_wrong(990, 10),
            "validation": right_and_wrong(90, 10),
            "test": right_and_wrong(85, 15),
        },
    )
    assert list(table) == ["accuracy >= 0.8", "recall[label=yes] >= 0.5"]
    accuracy = table["accuracy >= 0.8"]
    assert [score.value for score in accuracy.values()] == [0.99, 0.9, 0.85]
    assert accuracy["training"].low > accuracy["test"].high
    assert accuracy["test"].n == 100

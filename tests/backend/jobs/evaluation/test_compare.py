"""Which files of two folders belong together."""

from changen2.jobs.evaluation.compare import matched


def test_a_dot_in_a_name_is_a_part_of_it(tmp_path):
    for root in ("said", "so"):
        for layer in ("label", "semantic_A", "semantic_B"):
            (tmp_path / root / layer).mkdir(parents=True)
            for name in ("tile", "tile.1"):
                (tmp_path / root / layer / f"{name}.tif").touch()
    for pair in matched(tmp_path / "said", tmp_path / "so", None, None):
        files = [pair.prediction, pair.reference, *pair.said, *pair.true]
        assert {path.stem for path in files} == {pair.prediction.stem}

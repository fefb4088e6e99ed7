from pathlib import Path

from forebay.ingest.metrics import exposition_of


def test_a_process_that_is_just_starting_does_not_break_the_metrics_of_the_others(tmp_path: Path) -> None:
    (tmp_path / "counter_1.db").touch()

    assert exposition_of(str(tmp_path)) == b""

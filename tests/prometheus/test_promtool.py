"""The tool that judges alerts and metrics does judge."""

from .promtool import promtool


def test_promtool_tells_metrics_from_what_is_none() -> None:
    assert promtool("check", "metrics", given="# HELP a_total Things\n# TYPE a_total counter\na_total 1\n").stdout == ""
    assert promtool("check", "metrics", given="a_total 1 2 3\n", check=False).returncode != 0

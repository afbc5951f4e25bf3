"""What a comparison says: figures, recommendation and reason, in text, HTML and a DataFrame."""

import pytest

from taskloom.views.comparison import Comparison, EngineTrials, Trial

HOSTILE = "<img src=x onerror=alert(1)>"


def row(engine: str, *seconds: float, cores: float = 1.0, parallelism: float = 1.0, tasks: int = 10) -> EngineTrials:
    trials = [
        Trial(s, cpu=s * cores, peak_memory=2.0**20, overhead=0.1, tasks=tasks, busy=s * parallelism) for s in seconds
    ]
    return EngineTrials(engine, trials)


def test_the_fastest_is_recommended_by_its_median() -> None:
    comparison = Comparison([row("sync", 4.0, 4.1, 4.2), row("threads", 2.0, 2.1, 9.0, cores=1.9, parallelism=2)])
    assert comparison.best is not None
    assert comparison.best.engine == "threads"
    clear = Comparison([row("sync", 4.0, 4.1), row("threads", 2.0, 2.1, cores=1.9, parallelism=2)])
    assert clear.recommendation == "threads: 2.0 times as fast as sync. 1.9 cores were busy."


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ([row("sync", 1.0, 1.2), row("threads", 1.1, 1.3)], "No clear difference between sync and threads"),
        ([row("sync", 1.0, 2.0), row("threads", 1.8, 3.0)], "No clear difference between sync and threads"),
        (
            [row("sync", 1.0, cores=0.01), row("threads", 0.1, cores=0.1, parallelism=5)],
            "The tasks wait much of the time, and others ran meanwhile.",
        ),
        (
            [row("sync", 1.0), row("threads", 2.0, parallelism=2), row("processes", 1.1, cores=1.6)],
            "took turns at the interpreter's lock",
        ),
        (
            [row("sync", 1.5), row("threads", 1.44, cores=0.6, parallelism=2), row("processes", 0.889, cores=0.5)],
            "On threads tasks ran side by side with 0.6 cores busy",
        ),
        (
            [row("sync", 1.0), row("threads", 0.5, cores=1.0, parallelism=2)],
            "OMP_NUM_THREADS=1 is worth a try",
        ),
        ([row("sync", 1.0), row("threads", 2.0)], "The tasks ran one after the other"),
        ([row("sync", 1.0, tasks=0), row("threads", 2.0, tasks=0)], "computed nothing with taskloom"),
        ([row("sync", 1.0)], "sync: nothing else finished."),
        ([], "No engine finished"),
    ],
    ids=["close", "overlapping", "waiting", "lock", "no lock", "busy machine", "chain", "no tasks", "single", "none"],
)
def test_reasons(rows: list[EngineTrials], text: str) -> None:
    assert text in Comparison(rows).recommendation


def test_overhead_is_a_reason() -> None:
    rows = [
        EngineTrials(name, [Trial(s, cpu=s, overhead=0.8, tasks=100_000, busy=0.02)])
        for name, s in (("sync", 0.2), ("threads", 0.4))
    ]
    assert "larger tasks would gain more" in Comparison(rows).recommendation


def test_an_engine_that_failed_is_a_row_that_says_so() -> None:
    failed = EngineTrials("threads", problem=f"failed: ValueError: {HOSTILE}")
    comparison = Comparison([row("sync", 1.0), failed])
    assert f"threads: failed: ValueError: {HOSTILE}" in repr(comparison)
    html = comparison._repr_html_()
    assert "<img" not in html
    assert "failed: ValueError: &lt;img" in html


def test_text_is_a_table() -> None:
    lines = repr(Comparison([row("sync", 1.0, 2.0), row("threads", 0.5)])).splitlines()
    assert len({len(line) for line in lines[:3]}) == 1
    assert "1 s – 2 s" in lines[1]
    assert "1 MiB" in lines[1]
    assert "10%" in lines[1]


def test_what_was_not_measured_is_a_dash() -> None:
    text = repr(Comparison([EngineTrials("sync", [Trial(1.0)])]))
    assert "nan" not in text
    assert "–" in text
    assert "nan" not in Comparison([EngineTrials("sync", [Trial(1.0)])])._repr_html_()


def test_frame_has_a_row_per_trial() -> None:
    pytest.importorskip("pandas")
    frame = Comparison([row("sync", 1.0, 2.0), EngineTrials("threads", problem="failed")]).to_frame()
    assert list(frame["engine"]) == ["sync", "sync", "threads"]
    assert list(frame["seconds"])[:2] == [1.0, 2.0]
    assert frame["problem"].iloc[-1] == "failed"


def test_work_that_chooses_itself_leaves_no_choice() -> None:
    rows = [row("sync", 1.0), row("threads", 0.5)]
    for each in rows:
        each.used = {"sync"}
    comparison = Comparison(rows)
    assert comparison.best is None
    assert comparison.recommendation.startswith("Nothing to compare: the cell itself chose sync.")
    assert "threads: ran on sync: the cell itself chose" in repr(comparison)


def test_work_that_chooses_in_part_is_compared_all_the_same() -> None:
    rows = [row("sync", 1.0), row("threads", 0.5)]
    rows[0].used, rows[1].used = {"sync"}, {"sync", "threads"}
    comparison = Comparison(rows)
    assert comparison.best is rows[1]
    assert "threads: in part on sync, as the cell itself chose" in repr(comparison)


def test_of_short_work_nobody_says_how_many_cores_were_busy() -> None:
    comparison = Comparison([row("sync", 0.001, cores=3.0), row("threads", 0.0001, cores=3.0)])
    assert "3.0" not in repr(comparison)
    assert "n/a: work of less than 20 ms" in repr(comparison)
    assert "n/a: work of less than 20 ms" in comparison._repr_html_()
    assert "cores were busy." not in comparison.recommendation
    assert "n/a" not in repr(Comparison([row("sync", 1.0)]))

from __future__ import annotations

from immunize.pipeline.plan import Step, markdown, plan


def test_nothing_runs_when_nothing_changed(toy):
    assert {step.runs for step in plan(toy)} == {"no"}


def test_a_change_is_followed_downstream(toy, preset_line):
    preset_line("joint: 12.0", "joint: 8.0")
    runs = {step.stage: step.runs for step in plan(toy)}
    assert runs == {"collect": "no", "immunize@finetune": "no", "immunize@mat": "yes", "report": "maybe"}
    assert plan(toy)[-1].why == ("after immunize@mat",)


def test_two_steps_below_is_still_reached(toy):
    (toy / "source.txt").write_text("other lines")
    assert [step.runs for step in plan(toy)] == ["yes", "maybe", "maybe", "maybe"]


def test_the_table_has_a_row_a_stage_and_is_brief():
    table = markdown(
        [Step("collect", "yes", tuple(f"modified {i}" for i in range(5))), Step("report", "no", ("same",))]
    )
    assert table.splitlines()[2:] == [
        "| collect | yes | modified 0; modified 1; modified 2 and 2 more |",
        "| report | no | same |",
    ]

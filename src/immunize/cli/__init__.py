"""`immunize ...`: the attacks, the evaluation and the pipeline's questions, for a person at a terminal.

Bad input is answered with one line on stderr and exit code 2. Whatever needs torch is imported inside its command, so
that `immunize --help`, `gate`, `plan` and `doctor` answer at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from immunize.cli.errors import one_line, stop

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

Model = Annotated[str, typer.Option(help="A model folder, or open_clip:<architecture>/<tag>.")]
Folder = Annotated[Path, typer.Option(help="A collect folder (pairs.parquet), or an imagefolder with metadata.jsonl.")]
Out = Annotated[Path, typer.Option(help="The folder for what comes out.")]
Name = Annotated[str, typer.Option(help="noise, pgd, bert_attack or sga.")]
Eps = Annotated[str, typer.Option(help="l_inf radius as a fraction of the pixel range: 2/255 or 0.01.")]
Words = Annotated[int, typer.Option(min=0, help="Words of a caption that may change.")]
Steps = Annotated[int, typer.Option(min=0, help="Gradient steps.")]
Language = Annotated[str | None, typer.Option(help="A masked language model that proposes substitutes; else typos.")]
File = Annotated[Path | None, typer.Option(help="YAML: name -> attack, or a preset; else the usual ones at 2/255.")]
Split = Annotated[str, typer.Option(help="Which split is attacked.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Only the first so many images.")]
Seed = Annotated[int, typer.Option(help="Equal seeds, equal results.")]
Base = Annotated[str, typer.Argument(help="The git revision to compare with.")]
AllowNoBase = Annotated[bool, typer.Option("--allow-no-base", help="Without a base, hold floors and ceilings alone.")]
Stages = Annotated[list[str] | None, typer.Argument(help="Only these stages and what they need.")]


@app.callback()
def main() -> None:
    """Attack image-text models, evaluate them under attack, and ask the pipeline what it would do."""


@app.command("attack")
def attack_pairs(  # noqa: PLR0913 - a person names each option
    model: Model,
    pairs: Folder,
    out: Out,
    attack: Name = "sga",
    eps: Eps = "2/255",
    words: Words = 1,
    steps: Steps = 10,
    language: Language = None,
    split: Split = "test",
    limit: Limit = None,
    seed: Seed = 0,
) -> None:
    """Attack pairs and look at what comes out.

    Writes images.parquet, captions.parquet, record.json and contact_sheet.png.
    """
    with one_line():
        from immunize.cli.attacking import Target, show
        from immunize.cli.inputs import named_attacks
        from immunize.evaluation import adversarial, results
        from immunize.report import contact_sheet

        known = named_attacks(eps, words, steps, language)
        if attack not in known:
            stop(f"no attack '{attack}'; there are {', '.join(known)}")
        target = Target.open(model, pairs, split, limit, out)
    (_, before), (attacked, after) = target.under({"clean": None, attack: known[attack]}, seed)
    adversarial.keep(attacked, out, len(attacked.pairs))
    results.write(after, out / "record.json")
    contact_sheet.write(attacked, before, after, out / "contact_sheet.png")
    show([before, after], out / "contact_sheet.png")


@app.command()
def evaluate(
    model: Model,
    pairs: Folder,
    out: Out,
    attacks: File = None,
    split: Split = "test",
    limit: Limit = None,
    seed: Seed = 0,
) -> None:
    """Evaluate a model under attacks, and print the table.

    Writes a JSON file for each attack, and metrics.json.
    """
    with one_line():
        from immunize.cli.attacking import Target, show, write_metrics
        from immunize.cli.inputs import read_attacks, usual_attacks
        from immunize.evaluation import results

        chosen = read_attacks(attacks) if attacks else usual_attacks()
        target = Target.open(model, pairs, split, limit, out)
    found = [result for _, result in target.under({"clean": None, **chosen}, seed)]
    for result in found:
        results.write(result, out / f"{result.attack}.json")
    write_metrics(found, out / "metrics.json")
    show(found, out / "metrics.json")


@app.command()
def gate(base: Base, allow_no_base: AllowNoBase = False) -> None:
    """May this change pass? 0 yes, 1 a regression, 2 cannot be judged."""
    from immunize.pipeline import gate as gates

    with one_line():
        code = gates.gate(base, allow_no_base=allow_no_base)
    raise typer.Exit(code)


@app.command()
def plan(stages: Stages = None) -> None:
    """What `dvc repro` would run, and why."""
    from immunize.pipeline import plan as plans

    with one_line():
        steps = plans.plan(targets=tuple(stages or ()))
    typer.echo(plans.markdown(steps))


@app.command()
def doctor() -> None:
    """What breaks the pipeline on this machine, and its cure; 1 if there is a problem."""
    from immunize.pipeline import doctor as examination

    checks = examination.doctor()
    typer.echo(examination.markdown(checks))
    raise typer.Exit(examination.exit_code(checks))

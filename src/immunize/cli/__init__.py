"""`immunize ...`: the attacks, the evaluation and the pipeline's questions, for a person at a terminal.

Bad input is answered with one line on stderr and exit code 2. Whatever needs torch is imported inside its command, so
that `immunize --help`, `gate`, `plan` and `doctor` answer at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from immunize.cli.errors import one_line

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


def _list(wanted: bool) -> bool:
    if wanted:
        from immunize.cli.arsenal import listing

        typer.echo(listing())
        raise typer.Exit
    return wanted


Model = Annotated[str, typer.Option(help="A model folder, or open_clip:<architecture>/<tag>.")]
Folder = Annotated[Path, typer.Option(help="A collect folder (pairs.parquet), or an imagefolder with metadata.jsonl.")]
Out = Annotated[Path, typer.Option(help="The folder for what comes out.")]
Name = Annotated[str, typer.Option(help="Which attack; --list says what there is.")]
Eps = Annotated[str | None, typer.Option(help="2/255 or 0.01 of the pixel range; l_0: pixels. [2/255, 0.5, 10]")]
Norm = Annotated[str | None, typer.Option(help="linf, l2 or l0; else the first that the attack takes.")]
Words = Annotated[int | None, typer.Option(min=0, help="Words of a caption that may change. [1]")]
Steps = Annotated[int | None, typer.Option(min=0, help="Gradient steps; else the attack's own default.")]
Queries = Annotated[int | None, typer.Option(min=1, help="Queries an image, of attacks that see no gradient.")]
Language = Annotated[str | None, typer.Option(help="A masked language model that proposes substitutes; else typos.")]
Surrogate = Annotated[str | None, typer.Option(help="The model that a transfer attack knows, as --model.")]
Synonyms = Annotated[str | None, typer.Option(help="A file of synonyms, for text_fooler.")]
Saved = Annotated[str | None, typer.Option(help="The file of a universal perturbation.")]
Aims = Annotated[str | None, typer.Option(help="A text to be ranked first, or a file with one a line for each image.")]
Prompts = Annotated[Path | None, typer.Option(help="Zero-shot classification: a file of prompts, one line a class.")]
File = Annotated[Path | None, typer.Option(help="YAML: name -> attack, or a preset; else the usual ones at 2/255.")]
Split = Annotated[str, typer.Option(help="Which split is attacked.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Only the first so many images.")]
Seed = Annotated[int, typer.Option(help="Equal seeds, equal results.")]
Listing = Annotated[bool, typer.Option("--list", is_eager=True, callback=_list, help="Print the attacks and end.")]
Base = Annotated[str, typer.Argument(help="The git revision to compare with.")]
AllowNoBase = Annotated[bool, typer.Option("--allow-no-base", help="Without a base, hold floors and ceilings alone.")]
Stages = Annotated[list[str] | None, typer.Argument(help="Only these stages and what they need.")]


@app.callback()
def main() -> None:
    """Attack image-text models, evaluate them under attack, and ask the pipeline what it would do."""


@app.command("attack")
def attack_(  # noqa: PLR0913 - a person names each option
    model: Model,
    pairs: Folder,
    out: Out,
    attack: Name = "sga",
    eps: Eps = None,
    norm: Norm = None,
    words: Words = None,
    steps: Steps = None,
    queries: Queries = None,
    language: Language = None,
    surrogate: Surrogate = None,
    synonyms: Synonyms = None,
    path: Saved = None,
    targets: Aims = None,
    classes: Prompts = None,
    split: Split = "test",
    limit: Limit = None,
    seed: Seed = 0,
    listing: Listing = False,
) -> None:
    """Attack pairs, or with --classes a zero-shot classifier, and look at what comes out.

    Writes images.parquet, captions.parquet (not of classes), record.json and contact_sheet.png.
    """
    with one_line():
        from immunize.cli.arsenal import Options, named
        from immunize.cli.attacking import Target, attack_pairs
        from immunize.cli.classes import attack_classes
        from immunize.cli.inputs import check_languages
        from immunize.cli.labels import read_prompts
        from immunize.cli.targets import read_targets

        options = Options(eps, norm, words, steps, queries, language, surrogate, synonyms, path, bool(targets) or None)
        chosen = named(attack, options)
        check_languages(chosen)
        prompts = read_prompts(classes) if classes else None
        target = Target.open(model, pairs, split, limit, out, labeled=prompts is not None)
        if targets:
            target = target.towards(read_targets(targets, len(target.pairs), prompts))
        if prompts is not None:
            attack_classes(target, chosen, prompts, out, seed)
    if prompts is None:
        attack_pairs(target, attack, chosen, out, seed)


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
    _, found = target.under({"clean": None, **chosen}, seed)
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

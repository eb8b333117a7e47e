"""The parts of the report that say how far the others are to be believed."""

from typing import TYPE_CHECKING

from autosinian.report.figures import label, number
from autosinian.report.importance import Importance, importance
from autosinian.report.markup import Cell, Markup, Row, element, join, table

if TYPE_CHECKING:
    from autosinian.search.outcome import Outcome

GOOD_RANKING = 0.8
"""Rank correlation from which a predictor's order is worth following."""


def noise_section(outcome: "Outcome") -> Markup:
    """How much the baseline's figures scattered when it was measured again and again."""
    if not outcome.noise:
        return element(
            "p",
            "The baseline was not measured often enough to tell the noise; a search of 20 trials "
            "and more measures it again now and then.",
        )
    rows = []
    for noise in outcome.noise:
        values = ", ".join(number(noise.metric, value) for value in noise.values)
        rows.append(
            Row(
                [
                    label(noise.metric),
                    Cell(f"{100 * noise.relative:.2f} %", noise.relative),
                    Cell(f"{100 * noise.drift:+.2f} %", noise.drift),
                    Cell(str(len(noise.values)), len(noise.values)),
                    Cell(values, style="wrap"),
                ]
            )
        )
    words = (
        "Of one measurement of the same configuration, the baseline, spread over the search. "
        "Differences between candidates below about three times the noise may be chance; the "
        "export measures the best again until they are told apart."
    )
    header = ["figure", "noise", "drift", "times", "values"]
    return join([table(header, rows), element("p", words, class_="faint")])


def predictors_section(outcome: "Outcome") -> Markup:
    """How well the sampler's predictors rank candidates that they have not seen."""
    if not outcome.predictors:
        return element("p", "The sampler used no predictors.")
    rows = []
    for name, quality in outcome.predictors.items():
        correlation = quality.get("rank_correlation")
        trials = int(quality.get("trials", 0))
        good, shown, words, key = False, "not known", "", correlation or ""
        if correlation is not None:
            good, shown = correlation >= GOOD_RANKING, f"{correlation:.2f}"
            words = "ranks well" if good else "its order is followed little"
        rows.append(
            Row(
                [
                    label(name),
                    Cell(shown, key, style="good" if good else ""),
                    Cell(str(trials), trials),
                    words,
                ]
            )
        )
    note = "Spearman's rank correlation on trials that were held back while the predictor learned."
    header = ["predictor of", "rank correlation", "trials", ""]
    return join([table(header, rows), element("p", note, class_="faint")])


def importance_section(outcome: "Outcome") -> Markup:
    """What each gene is worth for each objective."""
    found = [importance(outcome, name) for name in outcome.objectives]
    models = [model for model in found if model is not None]
    trusted = [model for model in models if model.trusted]
    if not models:
        return element("p", "Too few trials were measured to tell what each gene is worth.")
    if not trusted:
        return element("p", "No model of the trials explains enough to tell a gene's worth.")
    genes: dict[str, None] = {}
    for model in models:
        genes |= dict.fromkeys(model.worth)
    rows = [
        Row([gene, *(cell for model in models for cell in _worth(model, gene))])
        for gene in sorted(genes, key=lambda g: -max(m.worth.get(g, 0.0) for m in trusted))
        if any(round(100 * m.worth.get(gene, 0.0)) >= 1 for m in trusted)
    ]
    header = ["gene", *(words for m in models for words in (label(m.metric), "more of it"))]
    quality = "; ".join(
        f"{label(m.metric)}: the model explains {100 * max(0.0, m.explained):.0f} % of "
        f"{m.trials} held-back trials{'' if m.trusted else ', too little to believe its genes'}"
        for m in models
    )
    note = (
        "The share of a figure's variance that a model of the trials no longer explains when the "
        f"gene is shuffled. {quality}."
    )
    return join([table(header, rows), element("p", note, class_="faint")])


def _worth(model: Importance, gene: str) -> tuple[Cell, str]:
    if not model.trusted:
        return Cell("not known", ""), ""
    share = model.worth.get(gene, 0.0)
    words = {1: "more", -1: "less", 0: ""}[model.slope.get(gene, 0)]
    return Cell(f"{100 * max(0.0, share):.0f} %", round(share, 4)), words

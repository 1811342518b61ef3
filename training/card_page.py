"""The model card as a page: ``README.md`` in the published folder, written from ``card.json`` and nothing else."""

from pathlib import Path

from training.artifact import Card

PAGE_FILE = "README.md"


def made(card: Card) -> list[str]:
    """Say in sentences how a candidate came about, from its card."""
    said = card.model_dump()
    if card.role == "teacher":
        first = "The fine-tuned teacher, uncut."
    elif said["format"] == "bag":
        first = f"An algorithm substituted for the network: a table of {card.vocabulary} rows, trained on the teacher's answers."
    elif said["format"] == "convolution":
        first = f"An algorithm substituted for the network: filters over {card.vocabulary} words, trained on the teacher's answers."
    elif said["format"] == "cascade":
        first = "A cascade: a cheap model answers where it is sure, a network where it is not."
    else:
        first = (
            f"Distilled from the teacher; a slice of one elastic network: {card.depth} layers, {card.width} wide, "
            f"a vocabulary of {card.vocabulary} tokens, {card.parameters:,} parameters."
        )
    sentences = [first, f"Weights in {card.precision}, served as {card.format}."]
    put_back = said.get("put_back")
    if put_back:
        sentences.append(
            "Put back to keep to the accuracy budget: " + ", ".join(f"{k} ({v})" for k, v in put_back.items())
        )
    return sentences


def write_page(card: Card, folder: Path) -> None:
    """Write the card's page beside the card."""
    (folder / PAGE_FILE).write_text(page(card), encoding="utf-8")


def page(card: Card) -> str:
    """Return a published card as Markdown."""
    it = card.published
    lines = [f"# {card.name}", "", f"Answers one of: {', '.join(card.labels)}.", ""]
    if it is None:
        return "\n".join(lines)
    if not it.passed:
        missed = ", ".join(f"{gate} by {amount:g}" for gate, amount in it.misses.items())
        lines += [f"**It misses the gates of params.yaml: {missed or 'see metrics.json'}.**", ""]
    lines += ["## How it was made", "", *(f"- {sentence}" for sentence in it.made)]
    lines += [f"- Training set: sha256 `{it.training_set_sha256}`.", f"- Chosen on {it.chosen_on}."]
    if it.retained is not None and it.retained_interval:
        low, high = it.retained_interval
        lines.append(f"- Keeps {it.retained:.1%} of the teacher's macro-F1 there (95 %: {low:.1%} to {high:.1%}).")
    lines += ["", "## Scores on the test rows", "", "| what | score |", "|---|---|"]
    lines += [f"| {name} | {value:.4f} |" for name, value in it.scores.items()]
    lines += [f"| accuracy, {name.replace('_', ' ')} | {value:.4f} |" for name, value in it.robustness.items()]
    if it.slices:
        lines += ["", "| by | which | rows | accuracy |", "|---|---|---|---|"]
        lines += [f"| {s.by} | {_cell(s.name)} | {s.rows} | {s.accuracy:.4f} |" for s in it.slices]
    lines += ["", "## When it is unsure", ""]
    if it.unsure_below > 0:
        lines.append(f"Under a confidence of {it.unsure_below:.4f} (temperature {it.temperature:g}) it says so.")
        lines += [f"- {name.replace('_', ' ')}: {value:.4f}" for name, value in it.answered.items()]
    else:
        lines.append(f"It answers every text; its confidence is told at temperature {it.temperature:g}.")
    lines += ["", "## Limits", "", *(f"- {limit}" for limit in it.limits), ""]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")

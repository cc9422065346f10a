"""The search in the report: how good its best was by then, what mattered, which candidates were the best."""

from fmnist_mlp.report.content import Content
from fmnist_mlp.report.page import Page
from fmnist_mlp.report.plots_search import draw_candidates, draw_course, draw_importances
from fmnist_mlp.results.candidates import best_candidates, candidate_columns, candidate_rows, of_the_search
from fmnist_mlp.results.study import importances


def show_search(page: Page, content: Content) -> None:
    """A section with the candidates of a search; nothing without one."""
    log, records = content.state.search, content.state.records
    if log is None:
        return
    rows = candidate_rows(log, log.progress(records))
    page.section("Search")
    for sentence in of_the_search(content.state):
        page.paragraph(sentence)
    shown = [row for row in rows if row.standing.figure is not None]
    if not shown:
        return
    columns, best = [column for column in candidate_columns(log) if column.title], best_candidates(log, rows)
    page.table(
        f"The best candidates by {content.metric_words}, on the search's seed: a choice among many, so these are the "
        "luckier ones, and no promise; verdicts are drawn in the table above, with other seeds",
        [column.title for column in columns],
        [[column.words(row) for column in columns] for row in best],
        text_columns=[k for k, column in enumerate(columns) if column.is_text],
    )
    if any(row.best_so_far is not None for row in rows):
        last = rows[-1]
        page.picture(
            "search.png",
            draw_course(content.subtitle, rows, log.select_by),
            alt=f"The best {content.metric_words} of a candidate trained whole, against candidates and epochs: at the "
            f"end {last.best_so_far:.4f}, after {len(rows):,} candidates and {last.epochs_so_far:,} epochs.",
            caption=f"The best {content.metric_words} so far (line) against candidates, and against epochs spent on "
            "all of them. Points: candidates that went through all rungs; pale ones were stopped early.",
        )
    page.picture(
        "candidates.png",
        draw_candidates(content.subtitle, rows, log.select_by),
        alt=f"Scatter plot of {content.metric_words} against parameters of {len(shown):,} candidates.",
        caption=f"{content.metric_words.capitalize()} against parameters: each candidate as far as it was trained, "
        "pale where it was stopped early; far worse ones lie outside. The steps join those trained whole that nothing "
        "smaller reaches.",
    )
    if found := importances(log, records):
        words = ", ".join(f"{name} {100 * share:.0f} %" for name, share in found.items())
        page.picture(
            "importances.png",
            draw_importances(content.subtitle, found),
            alt=f"Bars of how much each setting mattered: {words}.",
            caption=f"How much of what candidates differ by after their first {log.search.rungs[0]:,} epochs each "
            "setting explains (PED-ANOVA, by Optuna): among the better candidates of this search, not in general.",
        )

"""What MLflow's page for comparing runs shows: headline scores, images, curves, and the parameters that differ.

MLflow keeps the layout of such a page as a tag of the experiment, in a format of its own (of MLflow 3.17 here). Runs
have too many series and parameters for its default: it shows all series by name, and covers images with all parameters.
"""

import json
from typing import Any

from dcgan.tracking.pipeline import TrackedPipeline

VIEW = "comparison"  # name of the layout, in MLflow's menu of views and in the page's address
VIEW_TAG = f"mlflow.sharedViewState.{VIEW}"
IMAGES = "progress/percent"  # key of the images of `TrackedPipeline.progress`; step: percent of the training
LAST_STEP = 100
ONLY_DIFFERENCES = {
    "chartName": "Parameters that differ",
    "showDifferencesOnly": True,
    "showChangeFromBaseline": False,
    "baselineColumnUuid": "",
}


def comparison_view(pipeline: TrackedPipeline, created: int) -> str:
    """The value of the tag VIEW_TAG. `created`, in ms since 1970: only shown in the menu."""
    sections = [
        _section("eval", columns=3, height=240),
        _section("progress", columns=1, height=420),
        _section("parameters", columns=1, height=250),
        _section("train", columns=3, height=300),
        _section("eval/details", columns=3, height=240),
    ]
    scores = [pipeline.score_series(key) for key in pipeline.headline]
    curves = [f"train/{key}" for key in pipeline.compared_curves]
    axes = {"selectedParams": list(pipeline.compared_params), "selectedMetrics": scores}
    charts = [
        *(_chart("BAR", "eval", metricKey=series) for series in scores),
        _chart("IMAGE", "progress", imageKeys=[IMAGES], step=LAST_STEP, showRunParams=False),
        _chart("DIFFERENCE", "parameters", compareGroups=["Parameters"], **ONLY_DIFFERENCES),
        _chart("PARALLEL", "parameters", **axes),
        *(_chart("LINE", "train", metricKey=series, selectedMetricKeys=[series]) for series in curves),
    ]
    # Series that have no chart here are added to the section of their prefix by MLflow
    state = {"compareRunCharts": charts, "compareRunSections": sections, "isAccordionReordered": True}
    return json.dumps({"name": VIEW, "createdAt": created, "state": json.dumps(state)})


def _section(name: str, columns: int, height: int) -> dict[str, Any]:
    """`height` of each chart, in pixels."""
    flags = {"display": True, "isReordered": True, "deleted": False, "isGenerated": False}
    return {"uuid": name, "name": name, "columns": columns, "cardHeight": height, **flags}


def _chart(kind: str, section: str, **settings: Any) -> dict[str, Any]:
    flags = {"deleted": False, "isGenerated": False, "runsCountToCompare": 10}
    chart_id = f"{section} {kind} {settings.get('metricKey', '')}"
    return {"type": kind, "uuid": chart_id, "metricSectionId": section, **flags, **settings}

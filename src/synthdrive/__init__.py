"""SynthDrive: pre-training on synthetic driving data for trajectory prediction, as a library and a versioned pipeline.

Public names, each loaded when it is first used:

* maps and scenes: `LaneMap`, `SceneStore`
* map augmentation: `extend_route`, `joined_centreline`, `make_transform`, `SHAPES`, `warp_segments`
* the rule-based driver: `plan_paths`, `drive`
* forecasting: `DenseTNT`, `load_forecaster`, `GoalForecaster`, `optimise_goal_sets`, `displacement_errors`
* parameters: `load_section`, `SynthesizeParameters`, `EvaluateParameters`

Drive at two desired speeds on a road bent by a transform:

    import synthdrive as sd

    city = sd.LaneMap.load(Path("data/maps/BER.safetensors"))
    route = sd.extend_route(city, np.array([0]), before=0.0, after=300.0)
    bend = sd.make_transform("smooth", amplitude=6.0, anchor=0.0, shape=sd.SHAPES["released"])
    centreline, _ = sd.joined_centreline(sd.warp_segments(city.segments, bend, spacing=1.0), route)
    driver = sd.load_section(sd.SynthesizeParameters, "synthesize").driver
    speeds = np.array([8.0, 12.0])
    drives = sd.drive(sd.plan_paths(centreline, speeds, driver), speeds, driver)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from synthdrive.augmentation.corridor import joined_centreline, warp_segments
    from synthdrive.augmentation.routes import extend_route
    from synthdrive.augmentation.transforms import SHAPES, make_transform
    from synthdrive.config.evaluate import EvaluateParameters
    from synthdrive.config.synthetic_data import SynthesizeParameters
    from synthdrive.core.parameters import load_section
    from synthdrive.forecasting.evaluate import displacement_errors
    from synthdrive.forecasting.forecast_scenes import GoalForecaster
    from synthdrive.forecasting.goal_sets import optimise_goal_sets
    from synthdrive.models.densetnt import DenseTNT
    from synthdrive.scenes.lane_map import LaneMap
    from synthdrive.scenes.scene_store import SceneStore
    from synthdrive.synthesis.driver import drive, plan_paths
    from synthdrive.training.checkpoints import load_forecaster

__version__ = "0.2.0"

__all__ = [
    "SHAPES",
    "DenseTNT",
    "EvaluateParameters",
    "GoalForecaster",
    "LaneMap",
    "SceneStore",
    "SynthesizeParameters",
    "displacement_errors",
    "drive",
    "extend_route",
    "joined_centreline",
    "load_forecaster",
    "load_section",
    "make_transform",
    "optimise_goal_sets",
    "plan_paths",
    "warp_segments",
]

_MODULES = {
    "SHAPES": "augmentation.transforms",
    "DenseTNT": "models.densetnt",
    "EvaluateParameters": "config.evaluate",
    "GoalForecaster": "forecasting.forecast_scenes",
    "LaneMap": "scenes.lane_map",
    "SceneStore": "scenes.scene_store",
    "SynthesizeParameters": "config.synthetic_data",
    "displacement_errors": "forecasting.evaluate",
    "drive": "synthesis.driver",
    "extend_route": "augmentation.routes",
    "joined_centreline": "augmentation.corridor",
    "load_forecaster": "training.checkpoints",
    "load_section": "core.parameters",
    "make_transform": "augmentation.transforms",
    "optimise_goal_sets": "forecasting.goal_sets",
    "plan_paths": "synthesis.driver",
    "warp_segments": "augmentation.corridor",
}


def __getattr__(name: str) -> Any:
    """Load a public name from its module, so that torch is imported only for names that need it."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

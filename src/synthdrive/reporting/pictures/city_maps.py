"""Each city's whole map, with the places of the scenes: train and validation are apart."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from synthdrive.reporting.map_drawing import View, centrelines, map_drawing
from synthdrive.reporting.picture import LegendEntry, Panel, Picture
from synthdrive.scenes.lane_map import LaneMap
from synthdrive.scenes.scene_store import SceneStore

MARGIN = 30.0  # m around the scenes' places


def city_maps(maps: Mapping[str, LaneMap], train: SceneStore, val: SceneStore) -> Picture:
    """One panel a city that has scenes; only the part of the map where they are."""
    panels = []
    for city, lane_map in maps.items():
        places = {name: _places(store, city) for name, store in (("train", train), ("val", val))}
        both = np.concatenate(list(places.values()))
        if not len(both):
            continue
        view = View.around(both, MARGIN, smallest=100.0, aspect=4 / 3)
        boxes = lane_map.bounding_boxes
        low = np.array(view.centre) - [view.half_width, view.half_height]
        high = np.array(view.centre) + [view.half_width, view.half_height]
        rows = np.flatnonzero((boxes[:, :2] <= high).all(axis=1) & (boxes[:, 2:] >= low).all(axis=1))
        with map_drawing(view, width=3.4) as panel:
            panel.add_lanes([line[:: len(line) - 1] for line in centrelines(lane_map.segments, rows)], width=0.6)
            panel.add_many_dots(places["train"], "recorded", size=1.7, zorder=3)
            panel.add_many_dots(places["val"], "synthetic", size=1.7, zorder=4)
        counts = f"{len(places['train']):,} train and {len(places['val']):,} validation scenes"
        panels.append(Panel(city.lower(), f"{city}: {len(lane_map):,} lanes, {counts}", panel.svg))
    return Picture(
        name="city-maps",
        title="Maps and places of the scenes",
        caption="Each dot is a recorded scene at its target agent's last observed position. Validation scenes should "
        f"lie on other streets than train scenes: the closest two are {_closest(train, val)} apart.",
        panels=tuple(panels),
        legend=(
            LegendEntry("recorded", "train scene", "dot"),
            LegendEntry("synthetic", "validation scene", "dot"),
            LegendEntry("lane", "lanes"),
        ),
        panel_width=360,
    )


def _places(store: SceneStore, city: str) -> npt.NDArray[np.float64]:
    here = np.array([name == city for name in store.cities], dtype=bool)
    places: npt.NDArray[np.float64] = store.origins[here]
    return places


def _closest(train: SceneStore, val: SceneStore) -> str:
    """Smallest distance, in words, between the places of a train and a validation scene of the same city."""
    gaps = []
    for city in sorted(set(train.cities) & set(val.cities)):
        distance, _ = cKDTree(_places(train, city)).query(_places(val, city))
        gaps.append(float(np.min(distance)))
    return f"{min(gaps):,.0f} m" if gaps else "cities"

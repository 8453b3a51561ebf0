"""Pictures of maps: a whole lane map, the places of the scenes, map transforms, and augmented scenes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.lines import Line2D
from scipy.spatial import cKDTree

from synthdrive.augmentation.augmented_scenes import AUGMENTED, AugmentedScene, AugmentedScenes
from synthdrive.augmentation.corridor import resample
from synthdrive.augmentation.transforms import KINDS, TransformShape, make_transform
from synthdrive.core.artifacts import atomic_file
from synthdrive.core.errors import ParameterError
from synthdrive.core.seeding import item_seed
from synthdrive.reporting.drawing import MapDrawing, Points, View, centrelines, map_drawing
from synthdrive.reporting.picture import LegendEntry, Panel, Picture, colour
from synthdrive.reporting.pictures.driving import SPEED_EDGES, speed_legend, speeds_of
from synthdrive.scenes.lane_map import LaneMap
from synthdrive.scenes.scene_store import CITY_MAPS, SceneStore

MOST_MAPS = 12  # maps that are shown; there may be a thousand local maps
PLACES_MARGIN = 30.0  # m around the scenes' places

NAMES = {"smooth": "Smooth turn", "double": "Double turn", "ripple": "Ripple", "combination": "Combination"}
SPACING = 1.0  # m between the points of a centreline before it is warped, so that bends are drawn smooth
CROP_HALF_WIDTH = 75.0  # m, half the side of the crop
BEND = 25.0  # m; the transforms begin this far left of the middle
ENOUGH_LANES = 100.0  # m of lanes along X before the bend, and twice as much after it, make a crop good enough
CROP_CANDIDATES = 400  # lanes tried as the middle of the crop

VISIBLE = 5.0  # m, a displacement that is easy to see
BEND_CANDIDATES = 200  # scenes from which the shown ones are chosen
BEND_HALF_WIDTH = 70.0  # m, half the side of a panel: the bend and the road around it

SHEET_MARGIN = 12.0  # m around the lanes
SHEET_WIDTH = 8.0  # inches
TALLEST, FLATTEST = 0.7, 3.5  # limits of width to height; a map beyond them gets wider margins
DOTS_PER_INCH = 130
ARROW = 0.1  # inches per arrow
SHORTEST_WITH_ARROW = 12.0  # m; shorter lane segments get no arrow
LONGEST_ARROW = 40.0  # m; on a map where ARROW covers more, arrows would hide the lanes and are left out

_LANE_KINDS = (("lane", "lane"), ("warped", "in a junction"), ("truth", "left turn"), ("forecast", "right turn"))
SUFFIXES = (".svg", ".png")


def city_maps(maps: Mapping[str, LaneMap], train: SceneStore, val: SceneStore) -> Picture:
    """Draw the places of the scenes, one panel per city, on the part of the map that contains them."""
    panels = []
    for city, lane_map in list(maps.items())[:MOST_MAPS]:
        places = {name: _places(store, city) for name, store in (("train", train), ("val", val))}
        both = np.concatenate(list(places.values()))
        if not len(both):
            continue
        view = View.around(both, PLACES_MARGIN, smallest=100.0, aspect=4 / 3)
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
        caption="Each dot is a recorded scene at its focal agent's last observed position. Validation scenes should "
        f"lie on other streets than train scenes: the closest two are {_closest(train, val)}.",
        panels=tuple(panels),
        legend=(
            LegendEntry("recorded", "train scene", "dot"),
            LegendEntry("synthetic", "validation scene", "dot"),
            LegendEntry("lane", "lanes"),
        ),
        panel_width=360,
    )


def _places(store: SceneStore, city: str) -> npt.NDArray[np.float64]:
    names = store.cities if store.maps == CITY_MAPS else store.scene_ids  # a local map is named after its scene
    here = np.array([name == city for name in names], dtype=bool)
    places: npt.NDArray[np.float64] = store.origins[here]
    return places


def _closest(train: SceneStore, val: SceneStore) -> str:
    """Return the smallest distance between a train and a validation scene of the same city, in words."""
    gaps = []
    for city in sorted(set(train.cities) & set(val.cities)):
        places = (store.origins[np.array(store.cities) == city] for store in (train, val))
        distance, _ = cKDTree(next(places)).query(next(places))
        gaps.append(float(np.min(distance)))
    return f"{min(gaps):,.0f} m apart" if gaps else "in different cities"


def transform_pictures(lane_map: LaneMap, shape: TransformShape, amplitude: float) -> Picture:
    """Draw the four transforms on one crop of a map; `amplitude` is that of the released data (docs/method.md 2)."""
    centre = _simple_junction(lane_map)
    rows = lane_map.lanes_near(centre[0], centre[1], CROP_HALF_WIDTH + 10.0)
    lines = [resample(line, SPACING) for line in centrelines(lane_map.segments, rows)]
    anchor = centre[0] - shape.border - BEND
    panels = []
    for kind in KINDS:
        transform = make_transform(kind, amplitude, anchor, shape)
        with map_drawing(View(centre, CROP_HALF_WIDTH, CROP_HALF_WIDTH)) as panel:
            panel.add_lanes(lines, "original", width=0.9)
            panel.add_lines([transform.warp(line) for line in lines], "warped", width=1.1)
            panel.axes.axvline(
                anchor + shape.border, color=colour("muted"), linewidth=0.7, linestyle=(0, (2, 3)), zorder=0
            )
        panels.append(Panel(kind, f"{NAMES[kind]}, amplitude {amplitude:g}", panel.svg))
    return Picture(
        name="map-transforms",
        title="Map transforms",
        caption=f"The same {2 * CROP_HALF_WIDTH:.0f} m of {lane_map.city} before and after each transform. The "
        "y coordinate is shifted by a function of x that starts at the dotted line. Beyond it, a smooth turn keeps its "
        "new direction, and a double turn becomes parallel again. Roads along y are shifted, not bent.",
        panels=tuple(panels),
        panel_width=240,
        legend=(LegendEntry("original", "original centrelines"), LegendEntry("warped", "warped centrelines")),
    )


def _simple_junction(lane_map: LaneMap) -> tuple[float, float]:
    """Return the middle of a simple junction: enough lanes along X and across it, and few others."""
    segments = lane_map.segments
    middles = np.array([line[len(line) // 2] for line in centrelines(segments)])
    steps = np.abs(np.diff(segments.points, axis=1) * segments.valid[:, 1:, None]).sum(axis=1)  # [L, 2]
    along = np.where(steps[:, 1] < steps[:, 0] / 3, steps[:, 0], 0.0)
    across = np.where(steps[:, 0] < steps[:, 1] / 3, steps[:, 1], 0.0)
    chosen = np.linspace(0, len(segments) - 1, min(CROP_CANDIDATES, len(segments))).astype(int)

    def score(row: int) -> tuple[float, float]:
        offset = middles - middles[row]
        near = (np.abs(offset) < CROP_HALF_WIDTH).all(axis=1)
        straight = near & (np.abs(offset[:, 1]) < CROP_HALF_WIDTH / 2)
        before, behind = straight & (offset[:, 0] < -BEND), straight & (offset[:, 0] >= -BEND)
        lengths = along[before].sum(), along[behind].sum() / 2, across[near].sum() / 2
        return float(min(*lengths, ENOUGH_LANES)), -float(steps[near].sum())

    best = max(chosen.tolist(), key=score)
    return float(middles[best, 0]), float(middles[best, 1])


def corridors(scenes: AugmentedScenes, maps: Mapping[str, LaneMap], count: int, seed: int) -> Picture:
    """Draw `count` random augmented scenes, in equal parts from the kinds of transforms; may be empty."""
    panels = []
    for number, index in enumerate(_choose(scenes, count, seed), start=1):
        scene = scenes[index]
        view = _bend_view(scene)
        segments = maps[scene.city].segments
        near = maps[scene.city].lanes_near(*view.centre, BEND_HALF_WIDTH + 10.0)
        with map_drawing(view) as panel:
            panel.add_lanes(centrelines(segments, near), "lane", width=0.8)
            if scene.lanes is not None:
                panel.add_lines(_in_view(centrelines(scene.lanes), view), "warped", width=1.1)
            panel.add_lines([scene.transform.unwarp(scene.centreline)], "original", width=1.4)
            panel.add_line(scene.centreline, "synthetic", width=1.8)
        sign = "+" if scene.direction > 0 else "\N{MINUS SIGN}"
        panels.append(
            Panel(f"corridor-{number}", f"{scene.city}: {scene.transform_kind}, {sign}{scene.amplitude:g}", panel.svg)
        )
    unbent = len(scenes.unbent())
    augmented = sum(scenes.manifest["source"][index].as_py() == AUGMENTED for index in scenes.kept().tolist())
    shifted = f" {unbent} of the {augmented} augmented routes keep their shape." if unbent else ""
    return Picture(
        name="augmented-corridors",
        title="Augmented scenes",
        caption="Each augmented scene is a route, the lanes of its corridor, and one transform. The driver follows the "
        "warped centreline on the warped lanes. The two must agree, because the forecaster gets the warped lanes as "
        f"its map.{shifted}",
        panels=tuple(panels),
        legend=(
            LegendEntry("lane", "original map"),
            LegendEntry("original", "original route"),
            LegendEntry("warped", "warped corridor"),
            LegendEntry("synthetic", "route driven"),
        ),
    )


def _choose(scenes: AugmentedScenes, count: int, seed: int) -> list[int]:
    """Choose random augmented scenes, kinds of transforms in turn; scenes with a visible bend come first."""
    sources = scenes.manifest["source"].to_pylist()
    kinds = scenes.manifest["transform"].to_pylist()
    names = scenes.manifest["scene_id"].to_pylist()
    usable = [index for index in scenes.kept().tolist() if sources[index] == AUGMENTED]
    usable.sort(key=lambda index: item_seed(seed, "corridor", names[index]))
    chosen: list[int] = []
    for visible in (True, False):
        some = [
            index for index in usable[:BEND_CANDIDATES] if (_visible_displacement(scenes[index]) >= VISIBLE) == visible
        ]
        queues = [[index for index in some if kinds[index] == kind] for kind in sorted({kinds[i] for i in some})]
        chosen += [index for depth in range(len(some)) for queue in queues for index in queue[depth : depth + 1]]
    return chosen[:count]


def _displacement(scene: AugmentedScene) -> npt.NDArray[np.float64]:
    """Return the (N,) metres by which the transform moves each point of the route."""
    moved: npt.NDArray[np.float64] = np.hypot(*(scene.centreline - scene.transform.unwarp(scene.centreline)).T)
    return moved


def _bend_index(scene: AugmentedScene) -> int:
    """Return the index of the first point of the route that is moved by half a metre; the middle one if none is."""
    moved = _displacement(scene) > 0.5
    return int(np.argmax(moved)) if moved.any() else len(moved) // 2


def _visible_displacement(scene: AugmentedScene) -> float:
    """Return the largest displacement, metres, of the route inside the view."""
    near = np.abs(scene.centreline - scene.centreline[_bend_index(scene)]).max(axis=1) < BEND_HALF_WIDTH
    return float(_displacement(scene)[near].max())


def _bend_view(scene: AugmentedScene) -> View:
    centre = scene.centreline[_bend_index(scene)]
    return View((float(centre[0]), float(centre[1])), BEND_HALF_WIDTH, BEND_HALF_WIDTH)


def _in_view(lines: Sequence[Points], view: View) -> list[Points]:
    low = np.array(view.centre) - [view.half_width, view.half_height]
    high = np.array(view.centre) + [view.half_width, view.half_height]
    return [line for line in lines if (line.max(axis=0) >= low).all() and (line.min(axis=0) <= high).all()]


def draw_lane_map(lane_map: LaneMap, path: Path, tracks: Sequence[Points] = ()) -> None:
    """Draw the lanes of a map by kind, with arrows, or the tracks on them, coloured by speed.

    Args:
        path: a .svg or .png file; the same map gives the same bytes.
        tracks: (T, 2) metres, city frame, at 10 Hz, each.

    Raises:
        ParameterError: the path has another suffix.
    """
    check_suffix(path)
    segments = lane_map.segments
    points = segments.points[segments.valid]
    given = View.around(points, SHEET_MARGIN, aspect=None)
    view = View.around(
        points, SHEET_MARGIN, aspect=float(np.clip(given.half_width / given.half_height, TALLEST, FLATTEST))
    )
    with map_drawing(view, width=SHEET_WIDTH) as panel:
        marks = (
            _add_drives(panel, lane_map, tracks)
            if tracks
            else _add_lanes(panel, lane_map, 2 * view.half_width / SHEET_WIDTH)
        )
        lines = [Line2D([], [], color=colour(role), linewidth=1.6, label=label) for role, label in marks]
        panel.axes.legend(handles=lines, loc="upper right", frameon=False, fontsize=7.5, ncols=2)
    with atomic_file(path) as partial:
        if path.suffix == ".svg":
            partial.write_text(panel.svg, encoding="utf-8")
        else:
            panel.axes.figure.savefig(  # type: ignore[union-attr]
                partial, format="png", dpi=DOTS_PER_INCH, metadata={"Software": "SynthDrive"}
            )


def check_suffix(path: Path) -> None:
    """Refuse a picture that is neither SVG nor PNG; raises ParameterError."""
    if Path(path).suffix not in SUFFIXES:
        raise ParameterError("picture", repr(str(path)), f"a file that ends with {' or '.join(SUFFIXES)}")


def tracks_in(store: SceneStore, city: str) -> list[npt.NDArray[np.float64]]:
    """Return the focal agent's track, (T, 2) metres, city frame, of each window in this city."""
    rows = [row for row, name in enumerate(store.cities) if name == city]
    return [store[row].agent.astype(np.float64) + store.origins[row] for row in rows]


def _add_lanes(panel: MapDrawing, lane_map: LaneMap, metres_per_inch: float) -> Sequence[tuple[str, str]]:
    segments = lane_map.segments
    turns = (segments.turn < 0, segments.turn > 0)
    junction = segments.is_intersection & ~turns[0] & ~turns[1]
    plain = ~junction & ~turns[0] & ~turns[1]
    for (role, _), chosen in zip(_LANE_KINDS, (plain, junction, *turns), strict=True):
        panel.add_lanes(centrelines(segments, np.flatnonzero(chosen)), role, width=1.0)
    lengths = np.hypot(*(np.diff(segments.points, axis=1) * segments.valid[:, 1:, None]).transpose(2, 0, 1)).sum(axis=1)
    rows = np.flatnonzero(lengths >= SHORTEST_WITH_ARROW)
    if ARROW * metres_per_inch < LONGEST_ARROW:
        middle = segments.counts[rows] // 2
        tip, tail = segments.points[rows, middle], segments.points[rows, middle - 1]
        way = (tip - tail) / np.maximum(np.linalg.norm(tip - tail, axis=1), 1e-6)[:, None]
        panel.axes.quiver(
            *((tip + tail) / 2).T, *way.T, angles="xy", pivot="mid", scale=140.0, width=0.0012, headwidth=5.0,
            headlength=6.0, headaxislength=5.0, color=colour("ink"), zorder=5,
        )  # fmt: skip
    return _LANE_KINDS


def _add_drives(panel: MapDrawing, lane_map: LaneMap, tracks: Sequence[Points]) -> Sequence[tuple[str, str]]:
    panel.add_lanes(centrelines(lane_map.segments), width=0.8)
    panel.add_by_scale(tracks, [speeds_of(track) for track in tracks], SPEED_EDGES, width=1.6)
    return [("lane", "lane"), *((entry.role, entry.label) for entry in speed_legend())]

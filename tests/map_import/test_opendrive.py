"""Tests of OpenDRIVE: positions, directions and links of lanes, and what is refused."""

import math

import numpy as np
import pytest
from small_maps import DTD, fork, lane, lane_links, opendrive, road, road_link, section

from synthdrive.core.errors import InputError
from synthdrive.map_import.opendrive_curves import Curve
from synthdrive.map_import.opendrive_lanes import read_opendrive

LINE = (0, 0, 0, "<line/>")


def lanes_of(*parts, **options):
    return read_opendrive(opendrive(*parts), "x.xodr", **options)


def test_lane_positions_and_directions_in_right_hand_traffic():
    lanes, _ = lanes_of(road("1", LINE, section(lane(1, 3.0), lane(-1, 4.0) + lane(-2, 3.0))))
    np.testing.assert_allclose(lanes["1.0.-1"].points[[0, -1]], [[0, -2.0], [100, -2.0]])
    np.testing.assert_allclose(lanes["1.0.-2"].points[[0, -1]], [[0, -5.5], [100, -5.5]])
    np.testing.assert_allclose(lanes["1.0.1"].points[[0, -1]], [[100, 1.5], [0, 1.5]])
    assert lanes["1.0.-1"].edge == lanes["1.0.-2"].edge != lanes["1.0.1"].edge
    assert lanes["1.0.-1"].index == lanes["1.0.-2"].index + 1


def test_lane_positions_and_directions_in_left_hand_traffic():
    lanes, _ = lanes_of(road("1", LINE, section(lane(1) + lane(2), lane(-1)), rule="LHT"))
    np.testing.assert_allclose(lanes["1.0.1"].points[[0, -1]], [[0, 1.75], [100, 1.75]])
    np.testing.assert_allclose(lanes["1.0.-1"].points[[0, -1]], [[100, -1.75], [0, -1.75]])
    assert lanes["1.0.2"].index == lanes["1.0.1"].index + 1  # further left for the driver


def test_bidirectional_lane_becomes_two_and_sidewalks_and_narrow_lanes_are_left_out():
    lanes, left_out = lanes_of(
        road("1", LINE, section("", lane(-1, kind="bidirectional") + lane(-2, 0.0) + lane(-3, kind="sidewalk")))
    )
    assert sorted(lanes) == ["1.0.-1+", "1.0.-1-"]
    np.testing.assert_allclose(lanes["1.0.-1+"].points, lanes["1.0.-1-"].points[::-1])
    assert left_out["lanes nowhere wider than 1 m"] == 1


@pytest.mark.parametrize("rule", ["RHT", "LHT"])
def test_junction_lanes_have_links_turns_and_signals(rule):
    lanes, _ = read_opendrive(fork(rule), "x.xodr")
    side = -1 if rule == "RHT" else 1
    start, straight, left = (lanes[f"{name}.0.{side}"] for name in "123")
    assert sorted(start.successors) == sorted([straight.name, left.name])
    assert [straight.successors, left.successors] == [[f"4.0.{side}"], [f"5.0.{side}"]]
    assert [lane.in_junction for lane in (start, straight, left)] == [False, True, True]
    assert [lane.turn for lane in (start, straight, left)] == [0, 0, -1]
    assert [lane.signalled for lane in (start, straight, left)] == [False, True, True]
    for lane_ in lanes.values():
        for name in lane_.successors:
            np.testing.assert_array_equal(lanes[name].points[0], lane_.points[-1])


def test_roads_with_opposite_directions_are_linked():
    facing = road_link("successor", "2", "end"), road_link("successor", "1", "end")
    to_plus_1, to_minus_1 = lane_links(None, 1), lane_links(None, -1)
    lanes, _ = lanes_of(
        road("1", LINE, section(lane(1, links=to_minus_1), lane(-1, links=to_plus_1)), links=facing[0]),
        road("2", (200, 0, math.pi, "<line/>"), section(lane(1, links=to_minus_1), lane(-1)), links=facing[1]),
    )
    assert lanes["1.0.-1"].successors == ["2.0.1"]
    assert lanes["2.0.-1"].successors == ["1.0.1"]


def test_direct_junction_links_roads():
    junction = (
        '<junction id="8" type="direct"><connection incomingRoad="1" linkedRoad="2" contactPoint="start">'
        '<laneLink from="-1" to="-1"/></connection></junction>'
    )
    lanes, _ = lanes_of(
        road("1", LINE, section("", lane(-1)), links=road_link("successor", "8", kind="junction")),
        road("2", (100, 0, 0, "<line/>"), section("", lane(-1))),
        junction,
    )
    assert lanes["1.0.-1"].successors == ["2.0.-1"]


def test_ending_lane_merges_into_the_lane_that_continues_straight():
    first = section("", lane(-1, links=lane_links(None, -1)) + lane(-2, links=lane_links(None, -1), slope=-0.07))
    second = section("", lane(-1, links=lane_links(-1)), s=50.0)
    lanes, _ = lanes_of(road("1", LINE, first + second))
    assert lanes["1.0.-1"].successors == lanes["1.0.-2"].successors == ["1.1.-1"]
    np.testing.assert_allclose(lanes["1.0.-1"].points[:, 1], -1.75)
    np.testing.assert_allclose(lanes["1.0.-2"].points[-1], [50.0, -1.75])


def test_step_of_the_lane_offset_between_sections_bends_no_lane():
    offsets = '<laneOffset s="0" a="0" b="0" c="0" d="0"/><laneOffset s="50" a="3.5" b="0" c="0" d="0"/>'
    first = section("", lane(-1, links=lane_links(None, -2)))
    second = section("", lane(-1) + lane(-2, links=lane_links(-1)), s=50.0)
    lanes, _ = lanes_of(road("1", LINE, offsets + first + second))
    assert lanes["1.0.-1"].successors == ["1.1.-2"]
    for name in ("1.0.-1", "1.1.-2"):
        np.testing.assert_allclose(lanes[name].points[:, 1], -1.75)


def single_side(s, **sides):
    """A lane section that describes one side; `section` would write the empty other side."""
    ((side, lanes),) = sides.items()
    return f'<laneSection s="{s}" singleSide="true"><{side}>{lanes}</{side}></laneSection>'


def test_sections_of_a_single_side_end_where_that_side_has_its_next_section():
    before = road(
        "0",
        (-30, 0, 0, "<line/>"),
        section(lane(1), lane(-1, links=lane_links(None, -1))),
        30,
        road_link("successor", "1"),
    )
    own = road(
        "1", LINE,
        single_side(0, right=lane(-1, links=lane_links(-1, -1)))
        + single_side(0, left=lane(1, links=lane_links(1, 1)))
        + single_side(40, left=lane(1, links=lane_links(1, 1)))
        + single_side(70, right=lane(-1, links=lane_links(-1, -1))),
        links=road_link("predecessor", "0", "end") + road_link("successor", "2"),
    )  # fmt: skip
    after = road("2", (100, 0, 0, "<line/>"), section(lane(1, links=lane_links(1)), lane(-1)))
    lanes, left_out = lanes_of(before, own, after)
    ends = {name: lane_.points[[0, -1], 0].round(9).tolist() for name, lane_ in lanes.items() if name.startswith("1.")}
    assert ends == {"1.0.-1": [0, 70], "1.1.1": [40, 0], "1.2.1": [100, 40], "1.3.-1": [70, 100]}
    assert {name: lane_.successors for name, lane_ in lanes.items()} == {
        "0.0.-1": ["1.0.-1"], "1.0.-1": ["1.3.-1"], "1.3.-1": ["2.0.-1"], "2.0.-1": [],
        "2.0.1": ["1.2.1"], "1.2.1": ["1.1.1"], "1.1.1": ["0.0.1"], "0.0.1": [],
    }  # fmt: skip
    assert set(left_out.values()) == {0}


def test_curves_have_the_analytical_end_points():
    quarter = Curve(0, 0, 0, 0, 10 * math.pi / 2, "clothoid", (0.1, 0.1))
    points, heading = quarter.at(np.linspace(0, quarter.length, 17))
    np.testing.assert_allclose(points[-1], [10, 10], atol=1e-9)
    assert heading[-1] == pytest.approx(math.pi / 2)
    spiral = Curve(0, 0, 0, 0, 50.0, "clothoid", (0.0, 0.02))
    s = np.linspace(0, 50, 200_001)
    fine = np.stack([np.cos(0.0002 * s**2), np.sin(0.0002 * s**2)], axis=-1)
    expected = ((fine[1:] + fine[:-1]) / 2 * (s[1] - s[0])[..., None]).sum(axis=0)
    np.testing.assert_allclose(spiral.at(np.linspace(0, 50, 51))[0][-1], expected, atol=1e-6)
    cubic = Curve(0, 1, 2, math.pi / 2, 20.0, "cubic", (0, 20, 0, 0, 0, 0, 3, 0), stretch=1.0)
    np.testing.assert_allclose(cubic.at(np.array([20.0]))[0], [[1 - 3, 2 + 20]])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (opendrive(head=DTD), "document type"),
        (opendrive(road("1", LINE, section("", lane(-1)))).replace(b'x="0"', b'x="nan"'), "line 1, geometry.*'nan'"),
        (opendrive(road("7", LINE, section("", lane(-1)), length=1e300)), "road '7'.*length"),
        (opendrive(road("7", LINE, "")), "road '7'.*lane sections"),
        (opendrive(road("7", LINE, section("", lane(-1) + lane(-1)))), "lane '-1'.*twice"),
        (opendrive(road("7", LINE, section("", lane(-1, kind="sidewalk")))), "no lane for cars"),
        (opendrive(road("7", LINE, section("", lane(-1, 1e9)))), "road '7'.*out of any map"),
        (opendrive(road("7", LINE, section("", lane("x")))), "lane 'x'.*whole number"),
        (opendrive(road("7", LINE, section("", lane("--1")))), "lane '--1'.*whole number"),
        (opendrive(road("7", LINE, section("", lane("+-1")))), r"lane '\+-1'.*whole number"),
        (opendrive(road("1", (0, 0, 0, "<nurbs/>"), section("", lane(-1)))), "geometry.*0 shapes"),
        (opendrive(), "no road"),
        (opendrive(road("1", LINE, section("", lane(-1))))[:-20], "unreadable XML"),
        (fork(other="404"), "predecessor.*road '404'"),
    ],
)
def test_invalid_map_is_refused_by_name(content, message):
    with pytest.raises(InputError, match=rf"x\.xodr.*{message}"):
        read_opendrive(content, "x.xodr")


def test_dangling_links_are_dropped_with_skip_broken():
    content = fork().replace(b'connectingRoad="3"', b'connectingRoad="404"')
    with pytest.raises(InputError, match="connection.*'404'.*--skip-broken"):
        read_opendrive(content, "x.xodr")
    lanes, left_out = read_opendrive(content, "x.xodr", skip_broken=True)
    assert left_out["links to nowhere"] == 1
    assert lanes["1.0.-1"].successors == ["2.0.-1", "3.0.-1"]  # lane 3.0.-1 itself names its predecessor


def test_links_between_distant_lanes_are_dropped():
    lanes, left_out = lanes_of(
        road("1", LINE, section("", lane(-1, links=lane_links(None, -1))), links=road_link("successor", "2")),
        road("2", (130, 0, 0, "<line/>"), section("", lane(-1))),
    )
    assert left_out["links across a gap"] == 1
    np.testing.assert_allclose(lanes["1.0.-1"].points[-1], [100, -1.75])

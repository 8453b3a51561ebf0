"""Tests of Lanelet2: which lanelets become lanes, their positions and links, and what is refused."""

import numpy as np
import pytest
from small_maps import DTD, lanelet, lanelet_street, local, osm

from synthdrive.core.errors import InputError
from synthdrive.map_import.lanelet2 import read_lanelet2
from synthdrive.map_import.osm_file import to_utm


def read(nodes, ways, relations, **options):
    return read_lanelet2(osm(nodes, ways, relations), "x.osm", **options)


def test_lanes_are_centred_between_their_bounds_and_linked():
    lanes, frame, _ = read(*lanelet_street())
    assert frame.startswith("local_x")
    np.testing.assert_allclose(lanes["l0"].points[[0, -1]], [[0, 5.25], [100, 5.25]])
    np.testing.assert_allclose(lanes["r1"].points[[0, -1]], [[100, 1.75], [200, 1.75]])
    assert [lanes[name].successors for name in ("l0", "r0", "l1")] == [["l1"], ["r1"], []]
    assert lanes["l0"].edge == lanes["r0"].edge != lanes["l1"].edge
    assert lanes["l0"].index == lanes["r0"].index + 1
    assert not any(lane.in_junction for lane in lanes.values())


def test_bounds_may_be_drawn_in_any_direction_and_in_parts():
    nodes, ways, relations = lanelet_street(pieces=1)
    nodes["15"] = local(50, 7)
    ways["w10"] = (["15", "10"], {})
    ways["w15"] = (["11", "15"], {})
    relations["l0"][0].append(("way", "w15", "left"))
    ways["w20"] = (ways["w20"][0][::-1], {})
    lanes, _, _ = read(nodes, ways, relations)
    np.testing.assert_allclose(lanes["l0"].points[[0, -1]], [[0, 5.25], [100, 5.25]])
    assert lanes["l0"].edge == lanes["r0"].edge


@pytest.mark.parametrize("parts", [("line", "empty"), ("empty", "line")])
def test_ways_without_nodes_in_a_centreline_are_ignored(parts):
    nodes, ways, relations = lanelet_street(pieces=1)
    nodes |= {"c0": local(0, 5.0), "c1": local(100, 5.0)}
    ways |= {"line": (["c0", "c1"], {}), "empty": ([], {})}
    relations["l0"] = lanelet("w10", "w20", *(("way", name, "centerline") for name in parts))
    lanes, _, _ = read(nodes, ways, relations)
    np.testing.assert_allclose(lanes["l0"].points, [[0, 5.0], [100, 5.0]])


def test_two_way_lanelet_becomes_two_lanes():
    nodes, ways, relations = lanelet_street()
    for part in (0, 1):
        relations[f"r{part}"][1]["one_way"] = "no"
    lanes, _, _ = read(nodes, ways, relations)
    np.testing.assert_allclose(lanes["r0-"].points[[0, -1]], [[100, 1.75], [0, 1.75]])
    assert lanes["r1-"].successors == ["r0-"]
    assert lanes["r0"].successors == ["r1"]
    assert lanes["r0-"].edge not in (lanes["r0"].edge, lanes["l0"].edge)


@pytest.mark.parametrize(
    ("tags", "included"),
    [
        ({"subtype": "crosswalk"}, False),
        ({"subtype": "bicycle_lane"}, False),
        ({"subtype": "highway"}, True),
        ({"participant__bicycle": "yes"}, False),
        ({"subtype": "walkway", "participant__vehicle": "yes"}, True),
        ({"participant__vehicle": "yes", "participant__vehicle__car": "no"}, False),
    ],
)
def test_lanelets_that_cars_may_not_use_are_left_out(tags, included):
    nodes, ways, relations = lanelet_street()
    relations["r0"] = lanelet("w20", "w30", **tags)
    lanes, _, left_out = read(nodes, ways, relations)
    assert ("r0" in lanes) is included
    assert (sum(left_out.values()) == 0) is included


def test_lanelet_without_a_subtype_is_a_road():
    nodes, ways, relations = lanelet_street(pieces=1)
    relations["r0"] = (relations["r0"][0], {"type": "lanelet"})
    assert "r0" in read(nodes, ways, relations)[0]


def test_diverging_lanelets_are_in_a_junction_and_turn():
    nodes, ways, relations = lanelet_street()
    nodes |= {"1t": local(110, 20), "2t": local(113.5, 20)}
    nodes |= {"1m": local(108, 11), "2m": local(111.5, 9)}
    ways |= {"t1": (["11", "1m", "1t"], {}), "t2": (["21", "2m", "2t"], {})}
    relations["turn"] = lanelet("t1", "t2", ("relation", "light", "regulatory_element"))
    relations["light"] = ([], {"type": "regulatory_element", "subtype": "traffic_light"})
    lanes, _, _ = read(nodes, ways, relations)
    assert sorted(lanes["l0"].successors) == ["l1", "turn"]
    assert [lanes[name].in_junction for name in ("l0", "l1", "turn", "r1")] == [False, True, True, False]
    assert [lanes[name].turn for name in ("l1", "turn")] == [0, -1]
    assert [lanes[name].signalled for name in ("l1", "turn")] == [False, True]


def test_turn_directions_of_the_map_are_used():
    nodes, ways, relations = lanelet_street()
    relations["l1"][1]["turn_direction"] = "right"
    lanes, _, _ = read(nodes, ways, relations)
    assert [(lane.in_junction, lane.turn) for lane in lanes.values()] == [
        (name == "l1", name == "l1") for name in lanes
    ]


def test_degrees_are_converted_to_utm():
    lat, lon = 49.0, 8.4

    def degrees(x, y):
        return f'lat="{lat + y / 111_200}" lon="{lon + x / 73_200}"', {}

    lanes, frame, _ = read(*lanelet_street(nodes=degrees))
    assert frame == "UTM zone 32, less 456000, 5427000 m"
    assert lanes["l0"].length == pytest.approx(100, abs=0.3)
    assert 0 < lanes["l0"].points.min() < lanes["l0"].points.max() < 1500


def test_projection_agrees_with_proj():
    # The expected values are from netconvert, which uses PROJ.
    np.testing.assert_allclose(
        to_utm(np.array([52.0, 52.002]), np.array([13.0, 13.001]), 33),
        [[362705.63, 5762926.81], [362780.39, 5763147.34]],
        atol=0.006,
    )


def broken(change):
    nodes, ways, relations = lanelet_street()
    change(nodes, ways, relations)
    return osm(nodes, ways, relations)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (osm({}, {}, {}, head=DTD), "document type"),
        (broken(lambda n, w, r: w.pop("w20")), "lanelet 'l0'.*way 'w20'"),
        (broken(lambda n, w, r: n.pop("20")), "way 'w20'.*node '20'"),
        (broken(lambda n, w, r: r["l0"][0].pop()), "lanelet 'l0'.*no right bound"),
        (broken(lambda n, w, r: n.update({"20": ('lat="nan" lon="8"', {})})), "node '20'.*latitude nan"),
        (broken(lambda n, w, r: n.update({"20": local("nan", 1)})), "local_x 'nan'"),
        (broken(lambda n, w, r: n.update({"20": local("1e99", 1)})), "local_x '1e99'"),
        (broken(lambda n, w, r: r.update(l0=lanelet("w10", "w10"))), "lanelet 'l0'.*without extent"),
        (broken(lambda n, w, r: w.update(w20=(["20"], {}))), "way 'w20'.*1 nodes"),
        (broken(lambda n, w, r: [v[1].update(subtype="stairs") for v in r.values()]), "no lanelet for cars"),
        (osm(*lanelet_street())[:-30], "unreadable XML"),
        (osm(*lanelet_street()).replace(b'<way id="w20">', b'<way id="w10">'), "way 'w10' a second time"),
    ],
)
def test_invalid_map_is_refused_by_name(content, message):
    with pytest.raises(InputError, match=rf"x\.osm.*{message}"):
        read_lanelet2(content, "x.osm")


def test_broken_lanelets_are_left_out_with_skip_broken():
    content = broken(lambda n, w, r: (w.pop("w10"), r.update(r1=lanelet("w21", "w21"))))
    lanes, _, left_out = read_lanelet2(content, "x.osm", skip_broken=True)
    assert sorted(lanes) == ["l1", "r0"]
    assert left_out == {"broken lanelets": 2}

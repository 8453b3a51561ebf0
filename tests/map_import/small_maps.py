"""Maps of a few lanes in each format, as text."""

from __future__ import annotations

import subprocess
from pathlib import Path

from synthdrive.map_import.sumo_programs import sumo_home

DTD = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'


def lane(number, width=3.5, kind="driving", links="", slope=0.0, **attributes):
    extra = "".join(f' {key}="{value}"' for key, value in attributes.items())
    return (
        f'<lane id="{number}" type="{kind}"{extra}><link>{links}</link>'
        f'<width sOffset="0" a="{width}" b="{slope}" c="0" d="0"/></lane>'
    )


def lane_links(before=None, after=None):
    """Links of a lane to its predecessor and successor."""
    return ("" if before is None else f'<predecessor id="{before}"/>') + (
        "" if after is None else f'<successor id="{after}"/>'
    )


def section(left="", right="", s=0.0):
    centre = '<center><lane id="0" type="none"/></center>'
    return f'<laneSection s="{s}"><left>{left}</left>{centre}<right>{right}</right></laneSection>'


def road(name, geometry, lanes, length=100.0, links="", rule="RHT", junction="-1", signals=""):
    """A road; geometry is (x, y, heading, shape)."""
    x, y, heading, shape = geometry
    return (
        f'<road id="{name}" length="{length}" junction="{junction}" rule="{rule}"><link>{links}</link><planView>'
        f'<geometry s="0" x="{x}" y="{y}" hdg="{heading}" length="{length}">{shape}</geometry></planView>'
        f"<lanes>{lanes}</lanes><signals>{signals}</signals></road>"
    )


def opendrive(*parts, head=""):
    return f'<?xml version="1.0"?>{head}<OpenDRIVE><header revMajor="1"/>{"".join(parts)}</OpenDRIVE>'.encode()


def road_link(tag, name, contact="start", kind="road"):
    return f'<{tag} elementType="{kind}" elementId="{name}" contactPoint="{contact}"/>'


def fork(rule="RHT", other="2"):
    """A road that forks at a junction, straight on and to the left, with a traffic light at its end."""
    one = section(right=lane(-1)) if rule == "RHT" else section(left=lane(1))
    number = -1 if rule == "RHT" else 1
    through = section(**{"right" if rule == "RHT" else "left": lane(number, links=lane_links(number, number))})
    light = '<signal id="s" dynamic="yes" orientation="+" s="99" t="0"/>'
    turn = '<arc curvature="0.05"/>'
    connections = "".join(
        f'<connection id="{k}" incomingRoad="1" connectingRoad="{name}" contactPoint="start">'
        f'<laneLink from="{number}" to="{number}"/></connection>'
        for k, name in enumerate(("2", "3"))
    )
    from_road_1 = road_link("predecessor", "1", "end")
    return opendrive(
        road("1", (0, 0, 0, "<line/>"), one, 100, road_link("successor", "9", kind="junction"), rule, signals=light),
        road("2", (100, 0, 0, "<line/>"), through, 30, from_road_1 + road_link("successor", "4"), rule, "9"),
        road("3", (100, 0, 0, turn), through, 31.4159265, from_road_1 + road_link("successor", "5"), rule, "9"),
        road("4", (130, 0, 0, "<line/>"), one, 100, road_link("predecessor", other, "end"), rule),
        road("5", (120, 20, 1.570796327, "<line/>"), one, 100, road_link("predecessor", "3", "end"), rule),
        f'<junction id="9">{connections}</junction>',
    )


def osm(nodes, ways, relations, head=""):
    """An .osm file: nodes {id: (attributes, tags)}, ways {id: (nodes, tags)}, relations {id: (members, tags)}."""

    def tags(values):
        return "".join(f'<tag k="{key}" v="{value}"/>' for key, value in values.items())

    text = [f'<?xml version="1.0"?>{head}<osm version="0.6">']
    for name, (attributes, values) in nodes.items():
        text.append(f'<node id="{name}" {attributes}>{tags(values)}</node>')
    for name, (refs, values) in ways.items():
        text.append(f'<way id="{name}">{"".join(f"<nd ref={ref!r}/>" for ref in refs)}{tags(values)}</way>')
    for name, (members, values) in relations.items():
        inner = "".join(f'<member type="{kind}" ref="{ref}" role="{role}"/>' for kind, ref, role in members)
        text.append(f'<relation id="{name}">{inner}{tags(values)}</relation>')
    return "\n".join([*text, "</osm>"]).encode()


def local(x, y):
    """Attributes and tags of a node with coordinates in metres."""
    return 'lat="" lon=""', {"local_x": x, "local_y": y}


def lanelet(left, right, *others, **tags):
    """A lanelet between two ways."""
    members = [("way", left, "left"), ("way", right, "right"), *others]
    return members, {"type": "lanelet", "subtype": "road", **{k.replace("__", ":"): v for k, v in tags.items()}}


def lanelet_street(length=100, pieces=2, nodes=local):
    """A street of two lanes to the east, `pieces` lanelets long; node "12": bound 1 of 3 from the left, part 2."""
    points, ways, relations = {}, {}, {}
    for part in range(pieces + 1):
        for bound in (1, 2, 3):
            points[f"{bound}{part}"] = nodes(part * length, 7.0 - 3.5 * (bound - 1))
    for part in range(pieces):
        for bound in (1, 2, 3):
            ways[f"w{bound}{part}"] = ([f"{bound}{part}", f"{bound}{part + 1}"], {"type": "line_thin"})
        relations[f"l{part}"] = lanelet(f"w1{part}", f"w2{part}")
        relations[f"r{part}"] = lanelet(f"w2{part}", f"w3{part}")
    return points, ways, relations


def sumo_crossing(folder: Path, *options: str) -> bytes:
    """A SUMO network: a crossing of four streets with two lanes in each direction."""
    arms = {"n": (0, 120), "e": (120, 0), "s": (0, -120), "w": (-120, 0)}
    nodes = '<node id="c" x="0" y="0" type="traffic_light"/>' + "".join(
        f'<node id="{arm}" x="{x}" y="{y}"/>' for arm, (x, y) in arms.items()
    )
    edges = "".join(
        f'<edge id="{arm}{way}" from="{a}" to="{b}" numLanes="2" speed="13.9"/>'
        for arm in arms
        for way, a, b in (("in", arm, "c"), ("out", "c", arm))
    )
    folder.mkdir(exist_ok=True)
    (folder / "a.nod.xml").write_text(f"<nodes>{nodes}</nodes>")
    (folder / "a.edg.xml").write_text(f"<edges>{edges}</edges>")
    command = [sumo_home() / "bin" / "netconvert", "-n", folder / "a.nod.xml", "-e", folder / "a.edg.xml", *options]
    command += ["-o", folder / "a.net.xml", "--offset.disable-normalization", "true"]
    subprocess.run(command, check=True, capture_output=True)
    return (folder / "a.net.xml").read_bytes()


def osm_crossing() -> bytes:
    """An OpenStreetMap extract: two streets cross, and one way refers to a missing node."""
    step = 0.002  # degrees, some 200 m
    places = {"1": (0, 0), "2": (-1, 0), "3": (1, 0), "4": (0, -1), "5": (0, 1)}
    nodes = {name: (f'lat="{52 + y * step}" lon="{13 + x * step * 1.6}"', {}) for name, (x, y) in places.items()}
    street = {"highway": "secondary", "lanes": "2"}
    ways = {"10": (["2", "1", "3"], street), "11": (["4", "1", "5"], street), "12": (["5", "404"], street)}
    return osm(nodes, ways, {})

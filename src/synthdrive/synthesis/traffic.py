"""Several vehicles on one path: the Intelligent Driver Model (Treiber, Hennecke, Helbing, 2000). Beyond the paper."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synthdrive.config.synthesize import DriverParameters, TrafficParameters

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

NO_LEADER = -1
CLOSEST = 0.1  # m; the model's gap is not taken for less, so that it stays finite
ORIGINAL_EXPONENT = 4.0  # of the model's free-road term


@dataclass(frozen=True)
class Following:
    """Who follows whom among D drives.

    Attributes:
        leaders: (D,) index of the drive ahead on the same path, NO_LEADER for none.
        traffic: the model's parameters.
    """

    leaders: Integers
    traffic: TrafficParameters

    def wish(self, along: Floats, speed: Floats, free_speed: Floats, driver: DriverParameters) -> Floats:
        """(D,) m/s2, the acceleration that the model allows each drive; infinite without a leader.

        Args:
            along, speed: (D,) metres along the path and m/s of every drive.
            free_speed: (D,) m/s that each would go without a leader.
        """
        follows = self.leaders != NO_LEADER
        gap = along[self.leaders] - along - self.traffic.vehicle_length
        model = idm_acceleration(speed, free_speed, gap, speed - speed[self.leaders], driver.acceleration, self.traffic)
        return np.where(follows, model, np.inf)


def idm_acceleration(
    speed: Floats,
    free_speed: Floats,
    gap: Floats,
    approach: Floats,
    acceleration: float,
    traffic: TrafficParameters,
) -> Floats:
    """The model's acceleration, m/s2; shapes broadcast.

    Args:
        speed: m/s.
        free_speed: desired speed, m/s.
        gap: bumper to bumper, metres.
        approach: speed minus the leader's, m/s.
        acceleration: the most that the driver accelerates with, m/s2.
    """
    comfortable = 2.0 * np.sqrt(acceleration * traffic.comfortable_braking)
    wanted = traffic.min_gap + np.maximum(speed * traffic.time_headway + speed * approach / comfortable, 0.0)
    free = (speed / np.maximum(free_speed, 0.1)) ** ORIGINAL_EXPONENT
    result: Floats = acceleration * (1.0 - free - (wanted / np.maximum(gap, CLOSEST)) ** 2)
    return result


@dataclass(frozen=True)
class Platoon:
    """V drives made into V x M vehicles, front to back on each path.

    Attributes:
        drive: (V * M,) which of the V drives a vehicle belongs to.
        desired_speeds: (V * M,) m/s.
        place: (V * M,) metres along the path at step 0.
        leaders: (V * M,) see `Following`.
        agent: (V,) index of the vehicle that is AGENT.
    """

    drive: Integers
    desired_speeds: Floats
    place: Floats
    leaders: Integers
    agent: Integers


def make_platoon(desired_speeds: Floats, traffic: TrafficParameters, random: np.random.Generator) -> Platoon:
    """Vehicles in a row on each path; the first drives on its own, slower than the others would.

    AGENT is any but the first with equal chance, so that it has someone to follow; without other vehicles it is alone.

    Args:
        desired_speeds: (V,) m/s of the drives.
    """
    count, vehicles = len(desired_speeds), traffic.vehicles + 1
    share = np.ones((count, vehicles))
    if vehicles == 1:
        drives = np.arange(count)
        return Platoon(drives, desired_speeds, np.zeros(count), np.full(count, NO_LEADER), drives)
    share[:, 0] = random.uniform(traffic.slowest_leader, 1.0, count)
    gaps = random.uniform(1.0, 2.0, (count, vehicles)) * traffic.start_gap
    place = np.cumsum(gaps[:, ::-1], axis=1)[:, ::-1] - gaps[:, -1:]  # the last one stands at the path's start
    index = np.arange(count * vehicles).reshape(count, vehicles)
    leaders = index - 1
    leaders[:, 0] = NO_LEADER
    return Platoon(
        drive=np.repeat(np.arange(count), vehicles),
        desired_speeds=(desired_speeds[:, None] * share).ravel(),
        place=place.ravel(),
        leaders=leaders.ravel(),
        agent=index[np.arange(count), random.integers(1, vehicles, count)],
    )

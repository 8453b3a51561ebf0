from synthdrive.core.seeding import generator, item_seed


def test_a_seed_belongs_to_the_item_and_to_the_run():
    assert item_seed(1, "MIA", 3) == item_seed(1, "MIA", 3)
    seeds = {item_seed(run, city, route) for run in (0, 1) for city in ("MIA", "PIT") for route in range(50)}
    assert len(seeds) == 200
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert item_seed(1, "a", "b") != item_seed(1, "ab")


def test_the_numbers_of_an_item_do_not_depend_on_what_was_drawn_before():
    first = generator(7, "route", 5).random(3).tolist()
    generator(7, "route", 4).random(100)
    assert generator(7, "route", 5).random(3).tolist() == first

import random

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.projects import branches, pipeline, random_graph


@given(st.integers(), st.integers(1, 40))
def test_a_random_graph_has_so_many_stages_whole_pairs_and_no_cycle(seed, stages):
    nodes = random_graph(random.Random(seed), stages, (0.1, 0.6), failing=0.3)
    names = [node.name for node in nodes]
    assert len(set(names)) == stages
    for place, node in enumerate(nodes):
        assert set(node.needs) <= set(names[:place])
        if node.shape == "matrix":
            twin = {"left": "right", "right": "left"}[node.name.partition("-")[2]]
            assert f"{node.name.partition('-')[0]}-{twin}" in names
        assert node.fails == 0 or node.shape == "plain"
        assert node.retries in (0, node.fails)


@given(st.integers())
def test_every_node_is_a_stage_of_the_pipeline(seed):
    nodes = random_graph(random.Random(seed), 20)
    addresses = set()
    for name, stage in pipeline(nodes)["stages"].items():
        keys = stage["foreach"] if "foreach" in stage else stage.get("matrix", {}).get("side", ())
        addresses |= {f"{name}@{key}" for key in keys} or {name}
    assert addresses == {node.address for node in nodes}


def test_branches_are_chains():
    nodes = branches(8, 4)
    assert [node.name for node in nodes if not node.needs] == ["b0s00", "b1s00", "b2s00", "b3s00"]
    assert all(node.needs == (node.name.replace("s01", "s00"),) for node in nodes if node.needs)

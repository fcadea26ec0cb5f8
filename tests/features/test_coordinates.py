import numpy as np
import pytest

from roformermil.features.coordinates import fit_grid, neighbour_distances, place_tiles, tile_distance
from tests.factories import raises_slide_error

GRID = np.argwhere(np.random.default_rng(0).random((12, 9)) < 0.7)  # 77 tiles
JITTER = np.random.default_rng(1).integers(-1, 2, GRID.shape)
COARSE = np.argwhere(np.ones((10, 10))) * 512
STAMP = {"unit": "um", "tile_size_um": 256.0, "tile_size_px": 224}
UNITS = [  # coordinates, attributes, mpp of the sheet -> base_px, first coordinates in a row, what the store keeps
    (GRID * 512, {"patch_size_level0": 512}, None, 512, [0, 512, 1024], {"mpp": None}),
    (GRID * 512, {"patch_size_level0": 512, "mpp": 0.25}, None, 512, [0, 512, 1024], {"mpp": 0.25}),
    (GRID * 512, {"patch_size_level0": 512, "mpp": np.array([0.25, 0.2501])}, None, 512, [0, 512, 1024], {"mpp": 0.25}),
    (GRID * 512, {"patch_size_level0": 512, "mpp": "unknown"}, None, 512, [0, 512, 1024], {"mpp": None}),
    (GRID * 512, {"patch_size_level0": 512, "mpp": 0.25}, 0.3, 512, [0, 512, 1024], {"mpp": 0.3}),
    (GRID * 256.0, STAMP, 0.2527, 1013, [0, 1013, 2026], {"mpp": 0.2527}),
    (GRID * 256.0, STAMP | {"slide_mpp": 0.2527}, None, 1013, [0, 1013, 2026], {"mpp": 0.2527}),
    (GRID * 256.0, STAMP | {"mpp": 256 / 224}, None, 256, [0, 256, 512], {"mpp": None, "unit": "um"}),  # of its tiles
    (GRID * 256.0, {"unit": "um", "tile_size": 256}, 0.5, 512, [0, 512, 1024], {"mpp": 0.5}),  # STAMP 2.0
    (GRID * 256.0, {"tile_size_um": 256}, 0.5, 512, [0, 512, 1024], {"mpp": 0.5}),
    (GRID * 224, {"extractor": "ctp"}, 0.5, 512, [0, 512, 1024], {"mpp": 0.5}),  # STAMP 1
    (GRID * np.float32(57.6), STAMP | {"tile_size_um": 57.6}, 0.25, 230, [0, 230, 461], {"mpp": 0.25}),
    (GRID * np.float32(57.6), STAMP | {"tile_size_um": 57.6}, None, 58, [0, 58, 115], {"mpp": None, "unit": "um"}),
    (GRID * 0.256, {"unit": "mm"}, 0.5, 512, [0, 512, 1024], {"mpp": 0.5}),
    (GRID * 256.0, {"unit": b"\xc2\xb5m"}, 0.5, 512, [0, 512, 1024], {"mpp": 0.5}),
    (GRID * 256.0, {"units": "um"}, 0.5, 512, [0, 512, 1024], {"mpp": 0.5}),
    (GRID * 256.0, {"coordinate_unit": "Micrometres"}, 0.5, 512, [0, 512, 1024], {"mpp": 0.5}),
    (GRID * 256.0, {"coords_unit": np.array(["um", "um"], object)}, 0.5, 512, [0, 512, 1024], {"mpp": 0.5}),
    (GRID * 256.0, {"coord_units": np.bytes_("um"), "tile_unit": "px"}, 0.5, 512, [0, 512, 1024], {"mpp": 0.5}),
    (GRID * 256.0, {"spatialUnit": "micron"}, 0.5, 512, [0, 512, 1024], {"mpp": 0.5}),
    (GRID * 512, {"coord_unit": "level-0 pixels", "units": "px"}, None, 512, [0, 512, 1024], {"mpp": None}),
    (GRID * 512, {"hidden_units": 1024, "community": "inch"}, None, 512, [0, 512, 1024], {"mpp": None}),
    (GRID * 224, {"unit": "px", "patch_size_level0": 224, "extractor": "uni"}, 0.5, 224, [0, 224, 448], {"mpp": 0.5}),
]
STATED = [np.array([512]), "512", np.array([512, 512]), np.float32(512), np.nan, "512.0", b"512", 512.3]
REFUSED = [  # coordinates, attributes, message
    (np.where(GRID == 3, np.nan, GRID * 512.0), {}, r"tile \d+ has coordinates \(\S*nan"),
    (np.where(GRID == 3, np.inf, GRID * 512.0), {}, r"tile \d+ has coordinates \(\S*inf"),
    (GRID * 512 - 512, {}, r"tile 0 has coordinates \(-512, -512\), tile 1 .* and \d+ more; make the file again"),
    (GRID.astype(np.uint32) * 512 + np.uint32(2**32 - 1024), {}, "tile 0 has coordinates"),  # negative ones, wrapped
    (
        GRID * 512,
        {"patch_size_level0": 256},
        "512 px apart, not 256 px as its attribute patch_size_level0 states; correct",
    ),
    (GRID * 512 + JITTER, {"patch_size_level0": 256}, "px apart, not 256 px"),
    (GRID * 384, {"patch_size_level0": 256}, "384 px apart, not 256 px"),
    (GRID * 256, {"patch_size_level0": 512}, "256 px apart, not 512 px"),
    (GRID * 256.0, STAMP | {"tile_size_um": 128}, "256 um apart, not 128 um as its attribute tile_size_um states"),
    (
        GRID * 512,
        {"patch_size_level0": np.array([512, 256])},
        r"patch_size_level0 is \[512, 256\]; expected one positive",
    ),
    (GRID * 512, {"patch_size_level0": -512}, "patch_size_level0 is -512; expected one positive number"),
    (GRID * 512, {"patch_size_level0": "large"}, "patch_size_level0 is 'large'"),
    (GRID * 512, {"unit": "inch"}, "its attribute unit is 'inch'; expected px or um"),
    (
        GRID * 512,
        {"Coordinate_Units": "level 1 px"},
        "its attribute Coordinate_Units is 'level 1 px'; expected px or um",
    ),
    (GRID * 512, {"coord_unit": 3}, "its attribute coord_unit is '3'; expected px or um"),
    (GRID * 512, {"unit": "px", "coord_unit": "um"}, "attributes coord_unit and unit contradict one another; expected"),
    (np.zeros((2, 2)), {"patch_size_level0": 512}, "2 tiles have only 1 position in a grid"),
    (GRID / 12, {}, "expected coordinates in level-0 pixels"),
    (
        np.concatenate([GRID, GRID]) * 512,
        {"patch_size_level0": 512},
        f"check patch_size_level0; {len(GRID)} of .* tiles have the coord",
    ),
    (GRID[:1], {}, "no two tiles side by side, and no attribute patch_size_level0"),
]
WARNED = [
    (GRID, {}, "its tiles are 1 px apart: coordinates seem to be columns and rows"),
    (GRID * 256.5, {}, "fractional, without an attribute unit, and are taken as level-0 pixels"),
    (
        GRID * 256.0,
        STAMP,
        "in um: the grid is right, but to export it in pixels give the slide's mpp in the column mpp",
    ),
    (
        np.vstack([GRID, GRID[:2]]) * 512,
        {"patch_size_level0": 512},
        f"2 of {len(GRID) + 2} tiles have the coordinates of",
    ),
    (GRID[:3] * 512, {"patch_size_level0": 256}, "no two tiles side by side are 256 px apart"),  # too few to refuse
]
# STAMP reads k x k tiles at once, whose common side is rounded up to pixels
TILE_UM, MPP, K = 57.6, 0.5, 32
WHOLE = np.argwhere(np.random.default_rng(2).random((600, 8)) < 0.5)
SUPERTILES = WHOLE // K * K * np.ceil(TILE_UM / MPP) * MPP + WHOLE % K * TILE_UM


@pytest.mark.parametrize(("coords", "attributes", "sheet_mpp", "base_px", "first", "kept"), UNITS)
def test_coordinates_become_level_0_pixels_where_the_mpp_is_known(coords, attributes, sheet_mpp, base_px, first, kept):
    placed = place_tiles(coords, attributes, sheet_mpp)
    assert np.array_equal(placed.grid, GRID) and (placed.base_px, placed.attributes) == (base_px, kept)
    assert [placed.coords[GRID[:, 0] == k, 0][0] for k in range(3)] == first
    assert any("in um" in warning for warning in placed.warnings) == ("unit" in kept)


@pytest.mark.parametrize("stated", STATED)
def test_the_stated_distance_may_be_of_any_type_or_shape(stated):
    placed = place_tiles(GRID * 512, {"patch_size_level0": stated}, None)
    assert placed.base_px == 512 and np.array_equal(placed.grid, GRID) and not placed.warnings


@pytest.mark.parametrize(("coords", "attributes", "message"), REFUSED)
def test_coordinates_that_are_no_grid_on_a_slide_are_refused(coords, attributes, message):
    with raises_slide_error("unreadable", message):
        place_tiles(coords, attributes, None)


@pytest.mark.parametrize(("coords", "attributes", "message"), WARNED)
def test_odd_coordinates_are_warned_of(coords, attributes, message):
    (warning,) = place_tiles(coords, attributes, None).warnings
    assert message in warning


@pytest.mark.parametrize("origin", [(0, 0), (511, 3), (5137, 17)])
@pytest.mark.parametrize("stated", [512, None])
def test_a_tile_is_in_the_column_of_its_coordinates_divided_by_base_px(origin, stated):
    """For a grid of any origin. Where coordinates are a pixel off, all may be one column further."""
    coords = GRID * 512.0 + origin
    assert np.array_equal(fit_grid(coords, stated)[0], coords // 512)
    assert len(np.unique(fit_grid(coords + JITTER, stated)[0] - GRID, axis=0)) == 1


@pytest.mark.parametrize(
    "coords", [SUPERTILES, WHOLE * 115.3, np.round(WHOLE * 115.3)], ids=["stamp", "drift", "rounded"]
)
def test_distances_in_the_grid_are_right_where_the_stated_one_adds_up_to_more_than_a_tile(coords):
    grid, distance, _ = fit_grid(coords, TILE_UM if coords is SUPERTILES else 115.0)
    assert np.array_equal(grid, WHOLE) and distance in (TILE_UM, 115)


@pytest.mark.parametrize(("keep", "jitter"), [(1, 0), (0.6, 3), (0.03, 0)])
def test_the_distance_between_adjacent_tiles_is_found(keep, jitter):
    rng = np.random.default_rng(0)
    tiles = np.argwhere(rng.random((90, 110)) < keep) * 512.0
    coords = tiles + rng.integers(-jitter, jitter + 1, tiles.shape)
    assert round(tile_distance(neighbour_distances(coords))) == 512


def test_a_separate_grid_for_each_piece_of_tissue_is_one_within_half_a_tile():
    """As CLAM lays them. The larger piece is as it would be alone."""
    large, small = (
        COARSE + 912,
        COARSE[:60] + np.array([6314, 572]),
    )  # 10.55 tiles to the right of the other, 0.66 above
    placed = place_tiles(np.concatenate([large, small]), {}, None)
    assert placed.base_px == 512 and np.array_equal(placed.grid[:100], large // 512)
    assert np.abs(placed.grid[100:] - placed.grid[:60] - (small - large[:60]) / 512).max() <= 0.5


def test_tiles_that_overlap_keep_their_side_for_an_export():
    placed = place_tiles(COARSE // 2, {"patch_size_level0": 512, "overlap": 128}, None)  # TRIDENT: not the distance
    assert placed.base_px == 256 and placed.attributes == {"mpp": None, "patch_size_level0": 512, "overlap": 128}

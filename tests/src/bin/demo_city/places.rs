//! Where the city lies: its colonias as polygons side by side, their sectors and blocks.
//!
//! The outlines are invented; the ground they cover is the city's.

use manzana_engine::ids::CatalogId;
use manzana_engine::record::Position;
use serde_json::{Value, json};

use super::catalog::{self, NEIGHBORHOODS};
use super::dice::Dice;

/// West, south, east and north of the city, 10⁻⁷ degrees.
const BOUNDS: [i32; 4] = [-944_900_000, 181_150_000, -944_150_000, 181_480_000];
/// Colonias from west to east, and from south to north.
const COLUMNS: usize = 6;
const ROWS: usize = NEIGHBORHOODS.len() / COLUMNS;
/// Block of the first colonia; the others follow.
pub(crate) const FIRST_BLOCK: CatalogId = 1098;
/// How far a corner may lie from its place in the grid, in parts of a cell.
const JITTER: f64 = 0.28;

/// Longitude and latitude, 10⁻⁷ degrees.
type Point = [f64; 2];

/// The sector of the colonia at this place of the catalog.
pub(crate) fn sector(neighborhood: usize) -> CatalogId {
    catalog::id(neighborhood / COLUMNS)
}

/// The block of it that has a captain.
pub(crate) fn block(neighborhood: usize) -> CatalogId {
    FIRST_BLOCK + CatalogId::try_from(neighborhood).unwrap_or_default()
}

/// Somewhere in the colonia, by a phone that knows it to some metres.
pub(crate) fn position(neighborhood: usize, dice: &mut Dice) -> Position {
    let share = |dice: &mut Dice| (dice.below(9_000) + 500) as f64 / 10_000.0;
    let (across, up) = (share(dice), share(dice));
    let [south_west, south_east, north_east, north_west] = outline(neighborhood);
    let south = between(south_west, south_east, across);
    let [lon, lat] = between(south, between(north_west, north_east, across), up);
    Position {
        lat_e7: lat as i32,
        lon_e7: lon as i32,
        accuracy_m: 4 + u32::try_from(dice.below(60)).unwrap_or(0),
    }
}

fn between(from: Point, to: Point, share: f64) -> Point {
    [0, 1].map(|axis| from[axis] + (to[axis] - from[axis]) * share)
}

/// The corners of a colonia; neighbours share them.
fn outline(neighborhood: usize) -> [Point; 4] {
    let (column, row) = (neighborhood % COLUMNS, neighborhood / COLUMNS);
    [(0, 0), (1, 0), (1, 1), (0, 1)].map(|(x, y)| corner(column + x, row + y))
}

fn corner(column: usize, row: usize) -> Point {
    let mut dice = Dice::new((column * 31 + row) as u64);
    let [west, south, east, north] = BOUNDS.map(f64::from);
    let mut along = |from: f64, to: f64, place: usize, cells: usize| {
        let cell = (to - from) / cells as f64;
        let aside = (dice.below(2_001) as f64 / 1_000.0 - 1.0) * JITTER;
        // The city's edge is straight.
        let aside = if place == 0 || place == cells {
            0.0
        } else {
            aside
        };
        from + cell * (place as f64 + aside)
    };
    let lon = along(west, east, column, COLUMNS);
    [lon, along(south, north, row, ROWS)]
}

/// All colonias, as GeoJSON.
pub(crate) fn map() -> Value {
    let feature = |(place, name): (usize, &&str)| {
        let mut ring = outline(place).to_vec();
        ring.push(ring[0]);
        let ring: Vec<[f64; 2]> = ring.iter().map(|p| p.map(|axis| axis / 1e7)).collect();
        json!({
            "type": "Feature",
            "properties": {
                "id": catalog::id(place),
                "name": name,
                "sector": sector(place),
                "blocks": [block(place)],
            },
            "geometry": { "type": "Polygon", "coordinates": [ring] },
        })
    };
    let features: Vec<Value> = NEIGHBORHOODS.iter().enumerate().map(feature).collect();
    json!({ "type": "FeatureCollection", "features": features })
}

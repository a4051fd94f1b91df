//! Blood and irrigation on the exposed surface: where they run, pool, and are taken away.
//!
//! What is poured runs down along gravity through open voxels, leaves a film on the walls that it passes,
//! and fills the lowest places it can reach, like communicating vessels. Water that runs through a film
//! mixes with it and so washes it off; suction empties the voxels near its tip, nearest first. A pool whose
//! floor is cut away runs on. **Units:** mm, mm³, seconds; places at rest. **Allocation:** 12 MB at the
//! start, and lists that grow with what is wet. **Invariant:** poured = held + sucked + spilled.
//! **Not modelled:** clots, inertia, surface tension, brain that swells or sinks under the pool.

use crate::truth::SOLID;
use bregma_core::grid::Grid;
use nalgebra::{Point3, Vector3};
use std::collections::BinaryHeap;

/// What a voxel's walls keep of what runs past, mm³.
const FILM_MM3: f32 = 0.12;
/// Room of a voxel.
const ROOM_MM3: f32 = 1.0;
/// Less than that counts as dry.
const DRY_MM3: f32 = 1e-3;
/// Thickness of blood that lets 1/e of the light through, mm (an expert's estimate, for both lights).
const OPAQUE_MM: f32 = 0.08;
/// The same for the shine of water.
const SHINY_MM: f32 = 0.2;
/// Longest way down in one pour, voxels: three times the grid's edge.
const WAY_MAX: usize = 336;
/// Most voxels of a pool that one pour looks through.
const POOL_MAX: usize = 60_000;

/// Something that bleeds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Source {
    /// Where, at rest.
    pub at: Point3<f64>,
    pub rate_mm3_s: f64,
}

/// Water, or suction, at the instrument's tip.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Flow {
    /// Where, at rest.
    pub at: Point3<f64>,
    pub rate_mm3_s: f64,
    /// How far it reaches.
    pub reach_mm: f64,
}

/// What covers one solid voxel that is wet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Film {
    pub voxel: u32,
    /// How much blood hides, of 255.
    pub blood: u8,
    /// How much fluid of any kind shines, of 255.
    pub wet: u8,
}

/// What the renderer takes over: every wet solid voxel, in the grid's order, and a number that rises when they
/// change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Films {
    pub films: Vec<Film>,
    pub version: u64,
}

/// A neighbour and how far down it lies a millimetre.
#[derive(Debug, Clone, Copy)]
struct Step {
    by: [i8; 3],
    fall: f32,
}

/// All fluid.
pub(crate) struct BloodMap {
    grid: Grid,
    down: Vector3<f64>,
    /// All 26 neighbours, steepest down first.
    steps: Vec<Step>,
    blood: Vec<f32>,
    water: Vec<f32>,
    /// Voxels that are or were wet.
    wet: Vec<u32>,
    listed: Vec<bool>,
    films: Films,
    /// The list before, to see what has changed.
    before: Vec<Film>,
    sucked: [f64; 2],
    spilled: [f64; 2],
    /// Marks of the last search, and its number.
    mark: Vec<u32>,
    search: u32,
}

impl BloodMap {
    /// Dry. `down` is where gravity points, in the patient's axes; without a
    /// direction it is +y, the back of a patient who lies on it.
    pub(crate) fn new(grid: Grid, down: Vector3<f64>) -> Self {
        let down = down.try_normalize(1e-9).unwrap_or_else(Vector3::y);
        let mut steps = Vec::with_capacity(26);
        for k in -1..=1_i8 {
            for j in -1..=1_i8 {
                for i in -1..=1_i8 {
                    let off = Vector3::new(f64::from(i), f64::from(j), f64::from(k));
                    if off.norm_squared() > 0.0 {
                        steps.push(Step { by: [i, j, k], fall: (off.dot(&down) / off.norm()) as f32 });
                    }
                }
            }
        }
        steps.sort_by(|a, b| b.fall.total_cmp(&a.fall).then(a.by.cmp(&b.by)));
        let n = grid.len();
        Self {
            grid,
            down,
            steps,
            blood: vec![0.0; n],
            water: vec![0.0; n],
            wet: Vec::new(),
            listed: vec![false; n],
            films: Films::default(),
            before: Vec::new(),
            sucked: [0.0; 2],
            spilled: [0.0; 2],
            mark: vec![0; n],
            search: 0,
        }
    }

    /// What covers the surface, for the renderer to copy.
    pub(crate) const fn films(&self) -> &Films {
        &self.films
    }

    /// How much blood hides a solid voxel, 0 to 1.
    pub(crate) fn covered(&self, voxel: usize) -> f32 {
        let blood = self.around(voxel).map(|n| self.blood[n]).fold(0.0, f32::max);
        hidden(blood, OPAQUE_MM)
    }

    /// Blood within a distance of a place, mm³; what a blind tip stands in.
    #[cfg(test)]
    pub(crate) fn blood_near(&self, at: &Point3<f64>, reach_mm: f64) -> f64 {
        self.within(at, reach_mm).iter().map(|(_, n)| f64::from(self.blood[*n as usize])).sum()
    }

    /// Blood and water held now, mm³.
    #[cfg(test)]
    pub(crate) fn held(&self) -> [f64; 2] {
        let sum = |of: &[f32]| self.wet.iter().map(|n| f64::from(of[*n as usize])).sum();
        [sum(&self.blood), sum(&self.water)]
    }

    /// Blood and water taken by suction so far, mm³.
    #[cfg(test)]
    pub(crate) const fn sucked(&self) -> [f64; 2] {
        self.sucked
    }

    /// Blood and water that left the grid so far, mm³.
    #[cfg(test)]
    pub(crate) const fn spilled(&self) -> [f64; 2] {
        self.spilled
    }

    /// Lets time pass; 0.04 to 0.2 s at a time. `state` says which truth voxels are solid.
    pub(crate) fn step(
        &mut self,
        dt_s: f64,
        state: &[u8],
        sources: &[Source],
        irrigation: Option<Flow>,
        suction: Option<Flow>,
    ) {
        let busy = !sources.is_empty() || irrigation.is_some() || suction.is_some();
        if !busy && self.wet.is_empty() {
            return;
        }
        for source in sources {
            if let Some(from) = self.open_near(state, &source.at) {
                self.pour(state, from, [(source.rate_mm3_s * dt_s) as f32, 0.0]);
            }
        }
        if let Some(flow) = irrigation {
            self.irrigate(state, &flow, dt_s);
        }
        if let Some(flow) = suction {
            self.suck(&flow, dt_s);
        }
        self.run_on(state);
        self.list_films(state);
    }

    /// The jet wets the open voxels around it evenly, and what was in them runs on with it.
    fn irrigate(&mut self, state: &[u8], flow: &Flow, dt_s: f64) {
        let open: Vec<u32> = self
            .within(&flow.at, flow.reach_mm)
            .into_iter()
            .map(|(_, n)| n)
            .filter(|n| state[*n as usize] != SOLID && self.around(*n as usize).any(|m| state[m] == SOLID))
            .collect();
        let share = (flow.rate_mm3_s * dt_s / open.len().max(1) as f64) as f32;
        for n in open {
            let n = n as usize;
            let loose = [std::mem::take(&mut self.blood[n]), std::mem::take(&mut self.water[n]) + share];
            self.pour(state, n, loose);
        }
    }

    fn suck(&mut self, flow: &Flow, dt_s: f64) {
        let mut left = (flow.rate_mm3_s * dt_s) as f32;
        for (_, n) in self.within(&flow.at, flow.reach_mm) {
            let n = n as usize;
            let here = self.blood[n] + self.water[n];
            if left <= 0.0 || here <= 0.0 {
                continue;
            }
            let share = (left / here).min(1.0);
            let taken = [self.blood[n] * share, self.water[n] * share];
            self.blood[n] -= taken[0];
            self.water[n] -= taken[1];
            left -= here * share;
            (0..2).for_each(|f| self.sucked[f] += f64::from(taken[f]));
        }
    }

    /// What stands above open room runs on, the lowest first; the films stay.
    fn run_on(&mut self, state: &[u8]) {
        let mut loose: Vec<u32> = self.wet.iter().copied().filter(|n| self.can_run(state, *n as usize)).collect();
        loose.sort_by(|a, b| self.height(*a as usize).total_cmp(&self.height(*b as usize)).then(a.cmp(b)));
        for n in loose {
            let n = n as usize;
            let here = self.blood[n] + self.water[n];
            let share = 1.0 - FILM_MM3 / here.max(FILM_MM3);
            let moved = [self.blood[n] * share, self.water[n] * share];
            self.blood[n] -= moved[0];
            self.water[n] -= moved[1];
            self.pour(state, n, moved);
        }
    }

    fn can_run(&self, state: &[u8], n: usize) -> bool {
        self.blood[n] + self.water[n] > FILM_MM3 + DRY_MM3 && self.below(state, n).is_some()
    }

    /// Against gravity, voxels.
    fn height(&self, n: usize) -> f64 {
        let v = self.grid.voxel(n);
        -(0..3).map(|a| self.down[a] * v[a] as f64).sum::<f64>()
    }

    /// Pours blood and water in at an open voxel.
    fn pour(&mut self, state: &[u8], from: usize, mut what: [f32; 2]) {
        let mut at = from;
        for _ in 0..WAY_MAX {
            if what[0] + what[1] <= 0.0 {
                return;
            }
            let Some(next) = self.below(state, at) else { break };
            what = self.pass(state, at, what);
            match next {
                Some(next) => at = next,
                None => return self.spill(what),
            }
        }
        self.fill(state, at, what);
    }

    /// The steepest neighbour below that has room; `Some(None)` where the way leads out of the grid.
    fn below(&self, state: &[u8], n: usize) -> Option<Option<usize>> {
        let v = self.grid.voxel(n);
        for step in self.steps.iter().take_while(|s| s.fall > 1e-3) {
            match self.beside(v, step.by) {
                None => return Some(None),
                Some(m) if state[m] != SOLID && self.blood[m] + self.water[m] < ROOM_MM3 - DRY_MM3 => {
                    return Some(Some(m));
                }
                Some(_) => {}
            }
        }
        None
    }

    /// What runs past mixes with the film on the walls; as much as the film holds stays.
    fn pass(&mut self, state: &[u8], n: usize, what: [f32; 2]) -> [f32; 2] {
        if !self.around(n).any(|m| state[m] == SOLID) {
            return what;
        }
        self.list(n);
        let all = [self.blood[n] + what[0], self.water[n] + what[1]];
        let total = all[0] + all[1];
        // Never less than what was there: a pool that is passed over keeps what it has.
        let stays = (self.blood[n] + self.water[n]).max(FILM_MM3).min(total);
        let share = stays / total.max(1e-9);
        (self.blood[n], self.water[n]) = (all[0] * share, all[1] * share);
        [all[0] * (1.0 - share), all[1] * (1.0 - share)]
    }

    /// Fills the lowest places that the full voxels around here lead to.
    fn fill(&mut self, state: &[u8], from: usize, mut what: [f32; 2]) {
        self.search += 1;
        let mut reach = BinaryHeap::new();
        let rank = |map: &Self, n: usize| std::cmp::Reverse(((map.height(n) * 1024.0) as i64, n));
        self.mark[from] = self.search;
        reach.push(rank(self, from));
        let mut looked = 0;
        while let Some(std::cmp::Reverse((_, n))) = reach.pop() {
            looked += 1;
            if looked > POOL_MAX {
                break;
            }
            what = self.stay(n, what);
            if what[0] + what[1] <= 0.0 {
                return;
            }
            let v = self.grid.voxel(n);
            for step in 0..self.steps.len() {
                let Some(m) = self.beside(v, self.steps[step].by) else { return self.spill(what) };
                if state[m] != SOLID && self.mark[m] != self.search {
                    self.mark[m] = self.search;
                    reach.push(rank(self, m));
                }
            }
        }
        self.spill(what);
    }

    /// Puts as much into a voxel as it has room for, mixing; gives the rest back.
    fn stay(&mut self, n: usize, what: [f32; 2]) -> [f32; 2] {
        let room = (ROOM_MM3 - self.blood[n] - self.water[n]).max(0.0);
        let total = what[0] + what[1];
        let share = if total > room { room / total } else { 1.0 };
        self.list(n);
        self.blood[n] += what[0] * share;
        self.water[n] += what[1] * share;
        if share < 1.0 { what.map(|w| w * (1.0 - share)) } else { [0.0; 2] }
    }

    fn spill(&mut self, what: [f32; 2]) {
        (0..2).for_each(|f| self.spilled[f] += f64::from(what[f]));
    }

    fn list(&mut self, n: usize) {
        if !self.listed[n] {
            self.listed[n] = true;
            self.wet.push(n as u32);
        }
    }

    /// Finds what is covered, and forgets what is dry.
    fn list_films(&mut self, state: &[u8]) {
        let mut wet = std::mem::take(&mut self.wet);
        wet.retain(|n| {
            let n = *n as usize;
            self.listed[n] = self.blood[n] + self.water[n] > 0.0;
            self.listed[n]
        });
        wet.sort_unstable();
        self.search += 1;
        let mut films = std::mem::take(&mut self.before);
        films.clear();
        for n in &wet {
            let v = self.grid.voxel(*n as usize);
            for step in 0..self.steps.len() {
                let Some(m) = self.beside(v, self.steps[step].by) else { continue };
                if state[m] != SOLID || self.mark[m] == self.search {
                    continue;
                }
                self.mark[m] = self.search;
                let (mut blood, mut all) = (0.0_f32, 0.0_f32);
                for o in self.around(m) {
                    blood = blood.max(self.blood[o]);
                    all = all.max(self.blood[o] + self.water[o]);
                }
                let film = Film {
                    voxel: m as u32,
                    blood: (hidden(blood, OPAQUE_MM) * 255.0) as u8,
                    wet: (hidden(all, SHINY_MM) * 255.0) as u8,
                };
                if film.blood > 0 || film.wet > 0 {
                    films.push(film);
                }
            }
        }
        films.sort_unstable_by_key(|film| film.voxel);
        self.wet = wet;
        let changed = films != self.films.films;
        self.before = std::mem::replace(&mut self.films.films, films);
        self.films.version += u64::from(changed);
    }

    /// Takes everything away by suction, as after a treatment.
    pub(crate) fn dry(&mut self) {
        for n in std::mem::take(&mut self.wet) {
            let n = n as usize;
            self.listed[n] = false;
            for (sucked, fluid) in self.sucked.iter_mut().zip([&mut self.blood, &mut self.water]) {
                *sucked += f64::from(std::mem::take(&mut fluid[n]));
            }
        }
        self.films.films.clear();
        self.films.version += 1;
    }

    /// The open voxel at or next to a place, the highest of them.
    fn open_near(&self, state: &[u8], at: &Point3<f64>) -> Option<usize> {
        let near = self.within(at, 2.0);
        near.into_iter().map(|(_, n)| n as usize).find(|n| state[*n] != SOLID)
    }

    /// Voxels within a distance, nearest first.
    fn within(&self, at: &Point3<f64>, reach_mm: f64) -> Vec<(f64, u32)> {
        let mut near = Vec::new();
        let [xs, ys, zs] = self.grid.around(at, reach_mm);
        for k in zs {
            for j in ys.clone() {
                for i in xs.clone() {
                    let far = nalgebra::distance(&self.grid.centre([i, j, k]), at);
                    if far <= reach_mm {
                        near.push((far, self.grid.index([i, j, k]) as u32));
                    }
                }
            }
        }
        near.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        near
    }

    /// The 26 neighbours that lie in the grid.
    fn around(&self, n: usize) -> impl Iterator<Item = usize> + '_ {
        let v = self.grid.voxel(n);
        self.steps.iter().filter_map(move |s| self.beside(v, s.by))
    }

    fn beside(&self, v: [usize; 3], by: [i8; 3]) -> Option<usize> {
        let mut w = v;
        for a in 0..3 {
            w[a] = v[a].checked_add_signed(isize::from(by[a])).filter(|c| *c < self.grid.dims[a])?;
        }
        Some(self.grid.index(w))
    }
}

fn hidden(mm: f32, length_mm: f32) -> f32 {
    1.0 - libm::expf(-mm / length_mm)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::truth::{OPEN, REMOVED};

    const EDGE: usize = 24;

    /// A block of tissue with a pit: 8 × 8 wide from z = 6 to its floor at z = 17; gravity along +z.
    fn pit() -> (Grid, Vec<u8>, BloodMap) {
        let grid = Grid { dims: [EDGE; 3], spacing_mm: 1.0, origin: [0.0; 3] };
        let inside = |c: usize| (8..16).contains(&c);
        let open = |[x, y, z]: [usize; 3]| z < 6 || (inside(x) && inside(y) && z < 18);
        let state = (0..grid.len()).map(|i| if open(grid.voxel(i)) { OPEN } else { SOLID }).collect();
        (grid, state, BloodMap::new(grid, Vector3::z()))
    }

    fn balance(map: &BloodMap, poured: [f64; 2]) {
        for (f, poured) in poured.into_iter().enumerate() {
            let found = map.held()[f] + map.sucked()[f] + map.spilled()[f];
            assert!((found - poured).abs() < 1e-2 * poured.max(0.1), "{f}: {found} of {poured}");
        }
    }

    #[test]
    fn blood_pools_at_the_lowest_place_and_the_pool_is_level() {
        let (grid, state, mut map) = pit();
        let sources = [Source { at: Point3::new(7.0, 12.0, 9.0), rate_mm3_s: 40.0 }];
        for _ in 0..40 {
            map.step(0.1, &state, &sources, None, None);
        }
        balance(&map, [160.0, 0.0]);
        // 160 mm³ on 64 mm² of floor: two layers and a half, less the films.
        let layer = |z: usize| {
            (0..64)
                .map(|n| map.blood[grid.index([8 + n % 8, 8 + n / 8, z])])
                .fold([f32::INFINITY, 0.0], |[l, h], b| [l.min(b), h.max(b)])
        };
        assert!(layer(17)[0] > 0.99 && layer(16)[0] > 0.99, "{:?} {:?}", layer(17), layer(16));
        assert!(layer(13)[1] <= FILM_MM3 + 1e-3);
        assert!(map.covered(grid.index([11, 11, 18])) > 0.99, "the floor is hidden");
        assert!(map.covered(grid.index([16, 12, 10])) < 0.01, "the far wall is dry");
        assert!(map.covered(grid.index([7, 12, 12])) > 0.3, "where it ran there is a film");
        assert!(map.films().films.iter().all(|f| state[f.voxel as usize] == SOLID));
    }

    #[test]
    fn suction_empties_the_pool_and_irrigation_washes_the_film() {
        let (grid, state, mut map) = pit();
        let sources = [Source { at: Point3::new(7.0, 12.0, 9.0), rate_mm3_s: 40.0 }];
        for _ in 0..20 {
            map.step(0.1, &state, &sources, None, None);
        }
        let (floor, wall) = (grid.index([12, 12, 18]), grid.index([7, 12, 12]));
        let (hidden, filmed) = (map.covered(floor), map.covered(wall));
        let rinse = Flow { at: Point3::new(8.0, 12.0, 10.0), rate_mm3_s: 120.0, reach_mm: 3.0 };
        let suck = Flow { at: Point3::new(12.0, 12.0, 17.0), rate_mm3_s: 400.0, reach_mm: 4.0 };
        for _ in 0..60 {
            map.step(0.1, &state, &[], Some(rinse), Some(suck));
        }
        balance(&map, [80.0, 720.0]);
        assert!(hidden > 0.99 && map.covered(floor) < 0.3, "{hidden} to {}", map.covered(floor));
        assert!(filmed > 0.3 && map.covered(wall) < 0.1, "{filmed} to {}", map.covered(wall));
        assert!(map.sucked()[0] > 40.0);
    }

    #[test]
    fn a_pool_runs_on_when_its_floor_is_cut_and_over_the_edge_when_it_is_full() {
        let (grid, mut state, mut map) = pit();
        let source = |rate| [Source { at: Point3::new(12.0, 12.0, 17.0), rate_mm3_s: rate }];
        map.step(0.1, &state, &source(500.0), None, None);
        assert!(map.blood[grid.index([12, 12, 17])] > 0.7);
        for z in 18..21 {
            state[grid.index([12, 12, z])] = REMOVED;
        }
        map.step(0.1, &state, &[], None, None);
        assert!((18..21).all(|z| map.blood[grid.index([12, 12, z])] > 0.99));
        // 768 mm³ of pit and what lies open above it: far more than that spills out of the grid.
        for _ in 0..60 {
            map.step(0.1, &state, &source(900.0), None, None);
        }
        assert!(map.spilled()[0] > 500.0);
        balance(&map, [50.0 + 5400.0, 0.0]);
    }

    #[test]
    fn a_dry_map_stays_as_it_is() {
        let (grid, state, mut map) = pit();
        map.step(0.1, &state, &[], None, None);
        assert_eq!(map.films(), &Films::default());
        assert!(map.blood_near(&Point3::new(12.0, 12.0, 17.0), 4.0).abs() < 1e-12);
        assert!(map.covered(grid.index([12, 12, 18])).abs() < 1e-12);
    }
}

//! The microscope's picture: kept between frames, brought up to date as the world moves.
//!
//! ```text
//! settings, seed ─► lens ─► rays ─► surface ─► shade ─► base ─► focus ─► shown ─► tool, cotton, noise ─► frame
//!                             ▲        ▲          ▲
//!                    shift field   removed    light, blood, bleaching
//! ```
//! Each pixel keeps what it sees. When a voxel goes, the pixels that saw it or its neighbourhood look again
//! at once; when tissue has moved, all of them do, a band of rows a frame, so that the whole picture is new
//! within [`CYCLE`]: like a rolling shutter of that length. **Units:** depth is mm along the camera's z.
//! **Invariant:** pixels depend on the world only, not on the way there: once a cycle has passed without a
//! change, the picture is the one made anew.

use super::ahead::{Ahead, MARGIN_MM};
use super::blood::Films;
use super::effects::{self, Focus, Sensor};
use super::glow::{Bleaching, fluorescence};
use super::occlusion::{Kind, Occlusion};
use super::ranging::{self, Ranging};
use super::rays::{DRAPE, End, Entry, NOTHING, RIM, Rays};
use super::settings::{Drawn, Look, MicroscopeSettings};
use super::shade::{Cover, NORMAL_REACH, Plain, Seen, Shader, on_tissue};
use super::surface::{CORNER, Stain, Surface};
use super::texture::Noise;
use super::tool;
use super::window::Window;
use crate::patient::Patient;
use crate::random::{Draws, Purpose};
use crate::shift::field::Field;
use crate::truth::{REMOVED, SOLID, TRUTH_EDGE};
use crate::world::TipInPatient;
use bregma_core::flow::{CameraCalibration, Light, RangeImage, VideoFrame};
use bregma_core::time::{Duration, Instant};
use nalgebra::Vector3;
use std::sync::Arc;

/// The whole picture is brought up to date within that time.
pub(crate) const CYCLE: Duration = Duration::from_millis(400);
/// Pixels at most four apart that are no further from each other in the tissue see the same smooth surface.
const SMOOTH_MM: f32 = 0.8;
/// Bleaching is repainted when it has gone on by that.
const FADED: f64 = 0.004;

/// What the picture shows beside the patient: the world at the time of the picture.
pub(crate) struct Surroundings<'a> {
    pub time: Instant,
    pub light: Light,
    /// Where tissue is.
    pub field: &'a Field,
    /// What covers it.
    pub blood: &'a Films,
    /// Where gravity points.
    pub down: Vector3<f64>,
}

/// What smooth wet tissue needs.
struct Wet {
    surface: Surface,
    shader: Shader,
    focus: Focus,
    occlusion: Occlusion,
    cotton: Noise,
    /// Where each pixel's ray ends, at rest.
    place: Vec<Vector3<f32>>,
    /// Fluid over each voxel, of 255.
    blood: Vec<u8>,
    film: Vec<u8>,
    covered: Vec<u32>,
    /// The picture behind the lens, before what is in the way.
    shown: Vec<u8>,
}

/// Rows that are still to be brought up to date, from `next` on.
#[derive(Debug, Clone, Copy, Default)]
struct Sweep {
    next: usize,
    /// Rays that are to be cast anew.
    look: usize,
    /// Colours only.
    paint: usize,
    /// How many of the rows to look at have moved too far to start where they ended.
    far: usize,
    /// How far anything has moved in this round of the rows and in the one before, mm.
    moved_mm: [f32; 2],
}

pub(crate) struct Renderer {
    /// All that it knows of the truth; voxels below are its own.
    window: Window,
    settings: MicroscopeSettings,
    drawn: Drawn,
    light: Light,
    state: Vec<u8>,
    fluorescence: Vec<u8>,
    rays: Rays,
    depth: Vec<f32>,
    seen: Vec<u32>,
    base: Vec<u8>,
    sensor: Sensor,
    ranging: Option<Ranging>,
    wet: Option<Wet>,
    bleaching: Bleaching,
    ahead: Ahead,
    /// The last voxel's face that was shaded, and its normal.
    face: Option<(u32, Vector3<f64>)>,
    /// The window's voxels of those removed last.
    removed: Vec<u32>,
    queue: Vec<u32>,
    queued: Vec<bool>,
    time: Option<Instant>,
    sweep: Sweep,
    films: u64,
    painted_dose: f64,
}

impl Renderer {
    /// A plain picture through an ideal lens.
    #[cfg(test)]
    pub(crate) fn new(patient: Arc<Patient>, camera: CameraCalibration, light: Light, state: Vec<u8>) -> Self {
        Self::with(patient, camera, light, state, &MicroscopeSettings::plain())
    }

    /// Renders the first picture, of tissue at rest.
    pub(crate) fn with(
        patient: Arc<Patient>,
        camera: CameraCalibration,
        light: Light,
        state: Vec<u8>,
        settings: &MicroscopeSettings,
    ) -> Self {
        let size = camera.size_px;
        let n = size[0] * size[1];
        let drawn = settings.drawn(patient.seed());
        let window = Window::of(&patient);
        let state = window.take(&state);
        let fluorescence = fluorescence(patient.seed(), &window.labels, &window.take(&patient.truth.density));
        let rays = Rays::new(camera, drawn.distortion, patient.craniotomy, &window.grid);
        let seed = Draws::new(patient.seed(), Purpose::Picture).bits();
        let wet = (settings.look != Look::Plain)
            .then(|| Wet::new(&patient, &window, &rays, settings, light, &state, &fluorescence));
        let mut renderer = Self {
            sensor: Sensor::new(seed, size[0], settings.noise_levels),
            ranging: Ranging::new(patient.seed(), settings),
            bleaching: Bleaching::new(state.len()),
            settings: *settings,
            drawn,
            fluorescence,
            rays,
            depth: vec![0.0; n],
            seen: vec![NOTHING; n],
            base: vec![0; n * 3],
            ahead: Ahead::new(size),
            face: None,
            removed: Vec::with_capacity(1 << 15),
            queue: Vec::with_capacity(n),
            queued: vec![false; n],
            window,
            light,
            state,
            wet,
            time: None,
            sweep: Sweep::default(),
            films: 0,
            painted_dose: 0.0,
        };
        for y in 0..size[1] {
            renderer.look_along(y, |_| 0.0);
        }
        renderer.refocus();
        for pixel in 0..n {
            renderer.paint(pixel);
        }
        renderer.defocus(0..size[1]);
        renderer
    }

    pub(crate) const fn size_px(&self) -> [usize; 2] {
        self.rays.lens.camera().size_px
    }

    /// From the scene to the hand-over of its picture.
    pub(crate) const fn lag(&self) -> Duration {
        self.drawn.lag
    }

    /// The window's voxel that a pixel sees.
    #[cfg(test)]
    pub(crate) fn sees(&self, pixel: usize) -> Option<usize> {
        Some(self.seen[pixel]).filter(|s| on_tissue(*s)).map(|s| s as usize)
    }

    /// Where a patient point appears.
    #[cfg(test)]
    pub(crate) fn project(&self, at: &nalgebra::Point3<f64>) -> Option<(f64, f64, f64)> {
        self.rays.lens.project(at)
    }

    /// Opens removed truth voxels and looks again where they could be seen.
    pub(crate) fn open(&mut self, removed: &[u32]) {
        let mut here = std::mem::take(&mut self.removed);
        here.clear();
        here.extend(removed.iter().filter_map(|voxel| self.window.voxel(*voxel)));
        self.open_here(&here);
        self.removed = here;
    }

    fn open_here(&mut self, removed: &[u32]) {
        if removed.is_empty() {
            return;
        }
        self.face = None;
        for index in removed {
            self.state[*index as usize] = REMOVED;
        }
        if let Some(wet) = &mut self.wet {
            wet.surface.open(removed);
            self.sweep.look = self.size_px()[1];
        }
        let [width, height] = self.size_px();
        let grid = self.window.grid;
        for index in removed {
            let v = grid.voxel(*index as usize);
            let Some((u, w, z)) = self.rays.lens.project(&self.place_now(&grid.centre(v))) else { continue };
            // The voxel and those whose normal it is part of: a ball of radius (2 + ½)·√3 voxels.
            let r = self.rays.lens.camera().focal_px[0] / z * (f64::from(NORMAL_REACH) + 0.5) * 1.8;
            let span = |c: f64, n: usize| {
                let low = (c - r).max(0.0) as usize;
                low..((c + r).max(-1.0) + 1.0).min(n as f64) as usize
            };
            for y in span(w, height) {
                for x in span(u, width) {
                    let pixel = y * width + x;
                    let seen = self.seen[pixel];
                    if self.queued[pixel] || !on_tissue(seen) {
                        continue;
                    }
                    let s = grid.voxel(seen as usize);
                    if (0..3).all(|a| s[a].abs_diff(v[a]) <= NORMAL_REACH as usize) {
                        self.queued[pixel] = true;
                        self.queue.push(pixel as u32);
                    }
                }
            }
        }
        let (mut first, mut last) = (height, 0);
        while let Some(pixel) = self.queue.pop() {
            let pixel = pixel as usize;
            (first, last) = (first.min(pixel / width), last.max(pixel / width + 1));
            self.queued[pixel] = false;
            if self.wet.is_some() {
                self.look(pixel, 0.0);
            } else if self.state[self.seen[pixel] as usize] != SOLID {
                let from = f64::from(self.depth[pixel]);
                let ray = self.rays.ray(pixel);
                let end = self.rays.march(&self.state, pixel, &ray, from);
                self.ends(pixel, end);
            }
            self.paint(pixel);
        }
        self.defocus(first..last.max(first));
    }

    /// Where a rest point is now, as the rays know it.
    fn place_now(&self, rest: &nalgebra::Point3<f64>) -> nalgebra::Point3<f64> {
        self.rays.now(rest)
    }

    /// Follows the world: light, movement, blood, bleaching. Call it before [`Renderer::picture`].
    pub(crate) fn follow(&mut self, world: &Surroundings<'_>) {
        let height = self.size_px()[1];
        let elapsed = self.time.and_then(|t| world.time.since(t)).unwrap_or(Duration::ZERO);
        let first = self.time.is_none();
        self.time = Some(world.time);
        if self.settings.bleaching {
            self.bleaching.shine(self.light, elapsed.secs_f64());
        }
        if world.light != self.light {
            self.switch(world.light);
        }
        if self.rays.bend.update(&self.rays.lens, world.field) {
            self.sweep.look = height;
            self.sweep.moved_mm[0] += self.rays.bend.jump_mm;
            if self.sweep.moved_mm.iter().sum::<f32>() > MARGIN_MM {
                self.sweep.far = height;
            }
        }
        if let Some(wet) = &mut self.wet {
            wet.shader.turn(&world.down);
            if world.blood.version != self.films {
                self.films = world.blood.version;
                wet.cover(world.blood, &self.window);
                self.sweep.paint = height;
            }
        }
        if self.bleaching.dose() - self.painted_dose > FADED {
            self.painted_dose = self.bleaching.dose();
            self.sweep.paint = height;
        }
        if self.refocus() {
            self.sweep.paint = height;
        }
        let share = if first { 1.0 } else { (elapsed.secs_f64() / CYCLE.secs_f64()).min(1.0) };
        self.run(((height as f64 * share).ceil() as usize).min(height));
    }

    /// Brings rows up to date, as far as there are any to do.
    fn run(&mut self, rows: usize) {
        let [width, height] = self.size_px();
        let rows = rows.min(self.sweep.look.max(self.sweep.paint));
        let start = self.sweep.next;
        let wrapped = (start + rows).saturating_sub(height);
        self.ahead.measure(&self.depth, width, start..(start + rows).min(height));
        self.ahead.measure(&self.depth, width, 0..wrapped);
        for n in 0..rows {
            let y = (start + n) % height;
            let (look, far) = (self.sweep.look > 0, self.sweep.far > 0);
            if look {
                let ahead = std::mem::take(&mut self.ahead);
                self.look_along(y, |x| if far { 0.0 } else { ahead.from(x, y) });
                self.ahead = ahead;
            }
            for pixel in y * width..(y + 1) * width {
                if on_tissue_or_open(self.seen[pixel]) {
                    self.paint(pixel);
                }
            }
            self.sweep.look = self.sweep.look.saturating_sub(1);
            self.sweep.far = self.sweep.far.saturating_sub(1);
            self.sweep.paint = self.sweep.paint.saturating_sub(1);
        }
        self.sweep.next = (start + rows) % height;
        if start + rows >= height {
            self.sweep.moved_mm = [0.0, self.sweep.moved_mm[0]];
        }
        self.defocus(start..(start + rows).min(height));
        self.defocus(0..wrapped);
    }

    fn switch(&mut self, light: Light) {
        self.light = light;
        if let Some(wet) = &mut self.wet {
            wet.shader.switch(self.settings.look, light);
            let (labels, shader, glow) = (&self.window.labels, &wet.shader, &self.fluorescence);
            wet.surface.stain(|i| Stain { colour: shader.stain(labels[i]), glow: glow[i] });
        }
        for pixel in 0..self.seen.len() {
            self.paint(pixel);
        }
        self.defocus(0..self.size_px()[1]);
    }

    /// Focuses on the middle of the picture where that has left what is sharp.
    fn refocus(&mut self) -> bool {
        let [width, height] = self.size_px();
        let Some(wet) = &mut self.wet else { return false };
        let (mut sum, mut n) = (0.0_f64, 0_u32);
        for y in (height * 3 / 8..height * 5 / 8).step_by(4) {
            for x in (width * 3 / 8..width * 5 / 8).step_by(4) {
                if on_tissue(self.seen[y * width + x]) {
                    (sum, n) = (sum + f64::from(self.depth[y * width + x]), n + 1);
                }
            }
        }
        n > 0 && wet.focus.refocus((sum / f64::from(n)) as f32)
    }

    fn defocus(&mut self, rows: std::ops::Range<usize>) {
        let [width, height] = self.size_px();
        if let (Some(wet), false) = (&mut self.wet, rows.is_empty()) {
            let rows = wet.focus.reach(rows, height);
            wet.focus.defocus(&self.base, &self.depth, width, rows, &mut wet.shown);
        }
    }

    /// Writes the picture with the instrument in it.
    pub(crate) fn picture(&self, tip: &TipInPatient, captured: Instant, frame: &mut VideoFrame) {
        let [width, height] = self.size_px();
        (frame.width, frame.height, frame.light, frame.captured) = (width, height, self.light, captured);
        frame.rgb.resize(width * height * 3, 0);
        let Some(wet) = &self.wet else {
            self.sensor.read(captured, width, &self.base, &mut frame.rgb);
            tool::draw_plain(&self.rays, &self.depth, self.light, tip, &mut frame.rgb);
            return;
        };
        frame.rgb.copy_from_slice(&wet.shown);
        let things = wet.occlusion.now(captured.nanos() as f64 * 1e-9);
        let palette = wet.shader.palette;
        let hide = |kind: Kind, rgb: &mut [u8]| {
            for thing in things.iter().filter(|t| t.kind == kind) {
                effects::hide(thing, palette, &wet.cotton, [width, height], rgb);
            }
        };
        hide(Kind::Cotton, &mut frame.rgb);
        let scene = tool::Scene {
            rays: &self.rays,
            depth: &self.depth,
            palette,
            lamp: wet.shader.lamp(),
            gloss: self.settings.gloss as f32,
            blur_px: &|depth| wet.focus.blur_px(depth),
        };
        tool::draw(&scene, tip, &mut frame.rgb);
        hide(Kind::Hand, &mut frame.rgb);
        self.sensor.add(captured, width, &mut frame.rgb);
    }

    /// How far away what the picture shows is, where the microscope has two lenses. Whether it has.
    pub(crate) fn ranges(&self, tip: &TipInPatient, captured: Instant, to: &mut RangeImage) -> bool {
        let Some(ranging) = &self.ranging else { return false };
        let things = self.wet.as_ref().map_or_else(Vec::new, |w| w.occlusion.now(captured.nanos() as f64 * 1e-9));
        let sight = ranging::Sight {
            rays: &self.rays,
            depth: &self.depth,
            seen: &self.seen,
            shown: self.wet.as_ref().map_or(&self.base, |w| &w.shown),
            blood: self.wet.as_ref().map_or(&[], |w| &w.blood),
            things: &things,
        };
        ranging.measure(&sight, tip, captured, to);
        true
    }

    fn ends(&mut self, pixel: usize, end: End) {
        self.seen[pixel] = end.seen;
        self.depth[pixel] = end.depth as f32;
    }

    /// Looks along a row. Where tissue is smooth three of four pixels are found between their neighbours, which
    /// are at most a third of a voxel apart.
    fn look_along(&mut self, y: usize, from: impl Fn(usize) -> f64) {
        let width = self.size_px()[0];
        let first = y * width;
        let cast = |x: usize, renderer: &mut Self| {
            if on_tissue_or_open(renderer.seen[first + x]) {
                renderer.look(first + x, from(x));
            }
        };
        if self.wet.is_none() {
            (0..width).for_each(|x| cast(x, self));
            return;
        }
        (0..width).step_by(4).for_each(|x| cast(x, self));
        for step in [2, 1] {
            for x in (step..width).step_by(2 * step) {
                if x + step >= width || !self.between(first + x, step) {
                    cast(x, self);
                }
            }
        }
    }

    /// Puts a pixel between two others of its row, where both see the same smooth tissue.
    fn between(&mut self, pixel: usize, step: usize) -> bool {
        let Some(wet) = &mut self.wet else { return false };
        if !on_tissue(self.seen[pixel - step]) || !on_tissue(self.seen[pixel + step]) {
            return false;
        }
        let (a, b) = (wet.place[pixel - step], wet.place[pixel + step]);
        if (a - b).norm_squared() > SMOOTH_MM * SMOOTH_MM {
            return false;
        }
        let place = (a + b) * 0.5;
        let Some(voxel) = wet.surface.nearest(&place) else { return false };
        wet.place[pixel] = place;
        self.seen[pixel] = voxel;
        self.depth[pixel] = 0.5 * (self.depth[pixel - step] + self.depth[pixel + step]);
        true
    }

    /// Casts a pixel's ray: down to the plane of the craniotomy, and through it where it is open, from
    /// `from` on.
    fn look(&mut self, pixel: usize, from: f64) {
        let ray = self.rays.ray(pixel);
        let depth = match self.rays.enter(&ray) {
            Entry::Drape(depth) => return self.ends(pixel, End { seen: DRAPE, depth }),
            Entry::Rim(depth) => return self.ends(pixel, End { seen: RIM, depth }),
            Entry::Open(depth) => depth.max(from),
        };
        self.depth[pixel] = depth as f32;
        let Some(wet) = &mut self.wet else {
            let end = self.rays.march(&self.state, pixel, &ray, depth);
            return self.ends(pixel, end);
        };
        let width = self.rays.lens.camera().size_px[0];
        let hit = wet.surface.meet(&self.rays, [pixel % width, pixel / width], &ray, depth);
        let end = hit.and_then(|hit| {
            let voxel = wet.surface.nearest(&hit.place)?;
            wet.place[pixel] = hit.place;
            Some(End { seen: voxel, depth: f64::from(hit.depth) })
        });
        self.ends(pixel, end.unwrap_or(End { seen: NOTHING, depth: depth + TRUTH_EDGE as f64 }));
    }

    /// Colour of what the pixel sees.
    fn paint(&mut self, pixel: usize) {
        let colour = match &self.wet {
            Some(_) => self.wet_colour(pixel),
            None => self.plain_colour(pixel),
        };
        for (to, c) in self.base[pixel * 3..pixel * 3 + 3].iter_mut().zip(colour) {
            *to = c.clamp(0.0, 255.0) as u8;
        }
    }

    fn plain_colour(&mut self, pixel: usize) -> [f32; 3] {
        match self.seen[pixel] {
            DRAPE => Plain::drape(self.light),
            RIM => Plain::rim(self.light),
            NOTHING => Plain::NOTHING,
            seen => {
                let index = seen as usize;
                let ray = self.rays.ray(pixel).normalize();
                let back = || -self.rays.turn.column(2).into_owned();
                let normal = match self.face {
                    Some((face, normal)) if face == seen => normal,
                    _ => Plain::normal(&self.state, &self.window, index).unwrap_or_else(back),
                };
                self.face = Some((seen, normal));
                let facing = -normal.dot(&ray);
                let shade = 0.3 + 0.7 * facing.clamp(0.0, 1.0);
                let mut glow = f32::from(self.fluorescence[index]) / 255.0;
                if self.settings.bleaching {
                    glow *= self.bleaching.left(index);
                }
                let glow = (glow * self.drawn.glow_gain).min(1.0);
                Plain::tissue(&self.window, self.light, index, glow).map(|c| c * shade as f32)
            }
        }
    }

    fn wet_colour(&mut self, pixel: usize) -> [f32; 3] {
        let [width, height] = self.size_px();
        let Some(wet) = &self.wet else { return Plain::NOTHING };
        let ray = self.rays.ray(pixel);
        let light = effects::vignette([pixel % width, pixel / width], [width, height]);
        let unit = ray.normalize().cast::<f32>();
        let colour = match self.seen[pixel] {
            NOTHING => Shader::nothing(),
            DRAPE | RIM => {
                let place = self.rays.eye + ray * f64::from(self.depth[pixel]);
                wet.shader.surroundings(&place.cast(), &unit)
            }
            _ => {
                let place = wet.place[pixel];
                let Some(spot) = wet.surface.spot(&place) else { return Shader::nothing() };
                let below = self.rays.below(f64::from(self.depth[pixel]), &ray);
                let left = if self.settings.bleaching { self.bleaching.left(spot.voxel as usize) } else { 1.0 };
                let seen = Seen {
                    label: self.window.labels[spot.voxel as usize],
                    place,
                    ray: unit,
                    below_mm: below as f32,
                    open: wet.surface.openness(&place, &spot.normal),
                    cover: wet.cover_at(spot.first as usize, &spot.weights),
                    glow: left * self.drawn.glow_gain,
                    pixel_mm: self.depth[pixel] / self.rays.lens.camera().focal_px[0] as f32,
                    spot: &spot,
                };
                wet.shader.tissue(&seen)
            }
        };
        colour.map(|c| c * light)
    }
}

/// Pixels whose ray may change: all but those on the rim and the drape.
const fn on_tissue_or_open(seen: u32) -> bool {
    seen <= NOTHING
}

impl Wet {
    fn new(
        patient: &Patient,
        window: &Window,
        rays: &Rays,
        settings: &MicroscopeSettings,
        light: Light,
        state: &[u8],
        glow: &[u8],
    ) -> Self {
        let camera = rays.lens.camera();
        let n = camera.size_px[0] * camera.size_px[1];
        let axes = [rays.turn.column(2).into_owned(), rays.turn.column(1).into_owned()];
        let down = -patient.craniotomy.outward;
        let shader = Shader::new(patient, &window.grid, settings.look, light, settings.gloss, axes, &down);
        let labels = &window.labels;
        let iso = camera.patient_from_camera.isometry();
        Self {
            surface: Surface::new(state, |i| Stain { colour: shader.stain(labels[i]), glow: glow[i] }),
            focus: Focus::new(settings, camera.size_px, iso.inverse_transform_point(&patient.corridor.entry).z),
            occlusion: Occlusion::new(patient.seed(), *settings),
            cotton: Noise::new(patient.seed() ^ 0xc0),
            place: vec![Vector3::zeros(); n],
            blood: vec![0; state.len()],
            film: vec![0; state.len()],
            covered: Vec::new(),
            shown: vec![0; n * 3],
            shader,
        }
    }

    /// Takes over what is wet.
    fn cover(&mut self, films: &Films, window: &Window) {
        for voxel in self.covered.drain(..) {
            (self.blood[voxel as usize], self.film[voxel as usize]) = (0, 0);
        }
        for film in &films.films {
            if let Some(voxel) = window.voxel(film.voxel) {
                (self.blood[voxel as usize], self.film[voxel as usize]) = (film.blood, film.wet);
                self.covered.push(voxel);
            }
        }
    }

    fn cover_at(&self, first: usize, weights: &[f32; 8]) -> Cover {
        if self.covered.is_empty() {
            return Cover::default();
        }
        let mut cover = Cover::default();
        for (n, weight) in weights.iter().enumerate() {
            let index = first + CORNER[n];
            cover.blood += weight * f32::from(self.blood[index]) / 255.0;
            cover.wet += weight * f32::from(self.film[index]) / 255.0;
        }
        cover
    }
}

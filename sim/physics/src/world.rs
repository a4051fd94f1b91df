//! The second look: the same motion once more, stepped through a rapier3d world.
//!
//! Links, handle, shaft and tip are kinematic bodies that follow the joint path at [`RATE_HZ`]; skull,
//! forbidden voxels, vessels and tissue are sensors, so that the engine tests exact intersection and not
//! its own contact skin. Touching skull, forbidden voxels or a vessel rejects the motion; steps in which the
//! tip touches tissue are counted. Nothing here shares a line with the distance fields of [`crate::cubes`].
//!
//! **Units:** mm. **Precision:** f32; 0.1 µm at 1 m. **Frames:** patient.
//! **Allocation:** when obstacles appear; voxel colliders are edited by difference. They have no mass:
//! an edited voxel collider with a density would have its mass summed anew each time.
//! **Invariant:** intersections are read as states after each step, so the result does not depend on
//! what was stepped before.

use crate::cubes::Cubes;
use crate::obstacles::{Obstacles, Vessel};
use crate::posture::Mounted;
use bregma_core::arm::{JOINTS_MAX, Joints};
use bregma_core::flow::{Capsule, JointPath};
use bregma_core::grid::Grid;
use bregma_core::time::Duration;
use nalgebra::{Isometry3, Point3, Vector3};
use rapier3d::prelude::{
    ActiveCollisionTypes, ColliderBuilder, ColliderHandle, Group, IVector, InteractionGroups, InteractionTestMode,
    PhysicsWorld, Pose, RigidBodyBuilder, RigidBodyHandle, Rotation, Vector,
};

/// Steps a second.
pub const RATE_HZ: u64 = 100;
/// Longest capsule: longer ones are cut, so that their boxes stay small and few voxels are tested.
const PIECE_MM: f64 = 15.0;
const STEP: Duration = Duration::from_nanos(1_000_000_000 / RATE_HZ);

const ARM: Group = Group::GROUP_1;
const TOOL: Group = Group::GROUP_2;
const TIP: Group = Group::GROUP_3;
const BONE: Group = Group::GROUP_4;
const SOFT: Group = Group::GROUP_5;
const TISSUE: Group = Group::GROUP_6;

/// What was touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Touched {
    Skull = 1,
    Forbidden = 2,
    Vessel = 3,
    Tissue = 4,
}

impl Touched {
    const fn from_user_data(data: u128) -> Option<Self> {
        match data {
            1 => Some(Self::Skull),
            2 => Some(Self::Forbidden),
            3 => Some(Self::Vessel),
            4 => Some(Self::Tissue),
            _ => None,
        }
    }
}

/// What the second look saw.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct SecondLook {
    /// First touch of something that must not be touched: what, when, and where the tip was.
    pub touched: Option<(Touched, Duration, Point3<f64>)>,
    /// Steps in which the tip touched tissue.
    pub tissue_steps: usize,
}

/// One voxel collider and what it holds.
struct Voxels {
    handle: ColliderHandle,
    grid: Grid,
    filled: Vec<bool>,
}

/// The world.
pub(crate) struct World {
    world: PhysicsWorld,
    links: [RigidBodyHandle; JOINTS_MAX],
    tool: RigidBodyHandle,
    voxels: [Option<Voxels>; 3],
    vessels: Vec<ColliderHandle>,
    shown: Vec<Capsule>,
    /// Steps that the engine has taken.
    pub steps: u64,
    /// The tip's own pose when the motion began is where its bodies begin.
    mounted: Mounted,
}

fn vector(p: &Point3<f64>) -> Vector {
    Vector::new(p.x as f32, p.y as f32, p.z as f32)
}

fn pose(iso: &Isometry3<f64>) -> Pose {
    let (t, q) = (iso.translation.vector, iso.rotation.coords);
    let rotation = Rotation::from_xyzw(q.x as f32, q.y as f32, q.z as f32, q.w as f32).normalize();
    Pose::from_parts(vector(&t.into()), rotation)
}

const fn groups(of: Group, with: Group) -> InteractionGroups {
    InteractionGroups::new(of, with, InteractionTestMode::And)
}

impl World {
    pub(crate) fn new(mounted: &Mounted, handle_radius_mm: f64) -> Self {
        let mut world = PhysicsWorld::new();
        world.gravity = Vector::ZERO;
        world.integration_parameters.dt = 1.0 / RATE_HZ as f32;
        // A metre would be 1000, but the broad phase fattens every box by 4 % of this unit: 40 mm around each piece
        // of a shaft makes pairs of it and every vessel nearby. Nothing here is solved, only tested for intersection.
        world.integration_parameters.length_unit = 10.0;
        let body = || RigidBodyBuilder::kinematic_position_based().can_sleep(false);
        let tool = world.insert_body(body());
        let mut links = [tool; JOINTS_MAX];

        // A link is rigid in the frame of the joint that ends it.
        let rest = mounted.frames(&mounted.arm.rest());
        for i in 0..mounted.arm.count() {
            links[i] = world.insert_body(body());
            let start = rest[i + 1].inverse() * Point3::from(rest[i].translation.vector);
            capsules(&mut world, links[i], &start, &Point3::origin(), mounted.arm.link_radius_mm(), groups(ARM, BONE));
        }
        let radius = mounted.mount.shaft_radius_mm;
        let top = Point3::new(0.0, 0.0, -mounted.mount.shaft_length_mm);
        capsules(&mut world, tool, &Point3::origin(), &top, radius, groups(TOOL, BONE | SOFT));
        let flange = mounted.mount.flange_from_tip.isometry().inverse() * Point3::origin();
        if nalgebra::distance(&flange, &top) > 1.0 {
            capsules(&mut world, tool, &top, &flange, handle_radius_mm, groups(TOOL, BONE));
        }
        capsules(&mut world, tool, &Point3::origin(), &Point3::origin(), radius, groups(TIP, BONE | SOFT | TISSUE));
        Self {
            world,
            links,
            tool,
            voxels: [None, None, None],
            vessels: Vec::new(),
            shown: Vec::new(),
            steps: 0,
            mounted: mounted.clone(),
        }
    }

    /// Takes new obstacles, by difference where the grid is the same.
    pub(crate) fn take(&mut self, obstacles: &Obstacles) {
        let sets = [
            (&obstacles.skull, Touched::Skull, BONE),
            (&obstacles.forbidden, Touched::Forbidden, SOFT),
            (obstacles.tissue.solid(), Touched::Tissue, TISSUE),
        ];
        for (slot, (cubes, what, group)) in sets.into_iter().enumerate() {
            self.take_voxels(slot, cubes, what, group);
        }
        if !self.shown.iter().eq(obstacles.vessels.iter().map(|v| &v.capsule)) {
            for handle in self.vessels.drain(..) {
                self.world.remove_collider(handle);
            }
            for Vessel { capsule: vessel, .. } in &obstacles.vessels {
                let shape = if nalgebra::distance(&vessel.start, &vessel.end) > 1e-3 {
                    ColliderBuilder::capsule_from_endpoints(
                        vector(&vessel.start),
                        vector(&vessel.end),
                        vessel.radius_mm as f32,
                    )
                } else {
                    ColliderBuilder::ball(vessel.radius_mm as f32).translation(vector(&vessel.start))
                };
                let collider = shape
                    .density(0.0)
                    .sensor(true)
                    .user_data(Touched::Vessel as u128)
                    .collision_groups(groups(SOFT, TOOL | TIP));
                self.vessels.push(self.world.insert_collider(collider, None));
            }
            self.shown.clear();
            self.shown.extend(obstacles.vessels.iter().map(|v| v.capsule.clone()));
        }
    }

    fn take_voxels(&mut self, slot: usize, cubes: &Cubes, what: Touched, group: Group) {
        let key = |grid: &Grid, index: usize| {
            let v = grid.voxel(index);
            IVector::new(v[0] as i32, v[1] as i32, v[2] as i32)
        };
        if let Some(held) = &mut self.voxels[slot]
            && held.grid == *cubes.grid()
        {
            if held.filled != cubes.filled()
                && let Some(shape) =
                    self.world.colliders.get_mut(held.handle).and_then(|c| c.shape_mut().as_voxels_mut())
            {
                for (index, (was, is)) in held.filled.iter_mut().zip(cubes.filled()).enumerate() {
                    if *was != *is {
                        shape.set_voxel(key(cubes.grid(), index), *is);
                        *was = *is;
                    }
                }
            }
            return;
        }
        if let Some(old) = self.voxels[slot].take() {
            self.world.remove_collider(old.handle);
        }
        let grid = *cubes.grid();
        let keys: Vec<IVector> = (0..grid.len()).filter(|i| cubes.filled()[*i]).map(|i| key(&grid, i)).collect();
        let edge = grid.spacing_mm;
        // The engine's voxel [i, j, k] begins at i·edge; ours is centred on its coordinate.
        let corner = Point3::from(grid.origin.map(|o| o - 0.5 * edge));
        let with = match group {
            BONE => ARM | TOOL | TIP,
            TISSUE => TIP,
            _ => TOOL | TIP,
        };
        let collider = ColliderBuilder::voxels(Vector::splat(edge as f32), &keys)
            .density(0.0)
            .sensor(true)
            .translation(vector(&corner))
            .user_data(what as u128)
            .collision_groups(groups(group, with));
        let handle = self.world.insert_collider(collider, None);
        self.voxels[slot] = Some(Voxels { handle, grid, filled: cubes.filled().to_vec() });
    }

    fn put(&mut self, joints: &Joints, jump: bool) -> Point3<f64> {
        let frames = self.mounted.frames(joints);
        let count = joints.count();
        let tip = frames[count] * self.mounted.mount.flange_from_tip.isometry();
        let parts = (0..count).map(|i| (self.links[i], frames[i + 1])).chain([(self.tool, tip)]);
        for (handle, iso) in parts {
            let Some(body) = self.world.bodies.get_mut(handle) else { continue };
            if jump {
                body.set_position(pose(&iso), true);
            }
            body.set_next_kinematic_position(pose(&iso));
        }
        tip.translation.vector.into()
    }

    /// Steps the whole path; stops at the first touch.
    pub(crate) fn play(&mut self, path: &JointPath) -> SecondLook {
        let mut seen = SecondLook::default();
        let steps = path.length().nanos().div_ceil(STEP.nanos());
        let mut last: Option<Joints> = None;
        let mut in_tissue = false;
        for step in 0..=steps {
            let when = Duration::from_nanos(step * STEP.nanos());
            let Some((joints, _)) = path.at(when) else { return seen };
            // At rest the world stays as it is.
            if last != Some(joints) {
                let tip = self.put(&joints, last.is_none());
                self.world.step();
                self.steps += 1;
                in_tissue = false;
                let mut worst = None;
                for (_, a, _, b, meets) in self.world.intersection_pairs() {
                    let what = Touched::from_user_data(a.user_data).or(Touched::from_user_data(b.user_data));
                    match what.filter(|_| meets) {
                        Some(Touched::Tissue) => in_tissue = true,
                        Some(what) => worst = Some(worst.map_or(what, |w: Touched| w.min(what))),
                        None => {}
                    }
                }
                if let Some(what) = worst {
                    seen.touched = Some((what, when, tip));
                    return seen;
                }
                last = Some(joints);
            }
            seen.tissue_steps += usize::from(in_tissue);
        }
        seen
    }
}

/// A capsule as a row of shorter ones on one body. One without length is given a hundredth of a
/// millimetre: the engine tests a ball against voxels by looking for the nearest of all voxels, a capsule
/// by looking at those in its box, which takes a tenth of the time.
fn capsules(
    world: &mut PhysicsWorld,
    body: RigidBodyHandle,
    start: &Point3<f64>,
    end: &Point3<f64>,
    radius_mm: f64,
    with: InteractionGroups,
) {
    const LEAST_MM: f64 = 0.01;
    let way = end - start;
    let way = if way.norm() < LEAST_MM { Vector3::z() * LEAST_MM } else { way };
    let pieces = (way.norm() / PIECE_MM.max(radius_mm)).ceil().max(1.0) as usize;
    for n in 0..pieces {
        let (a, b) = (start + way * (n as f64 / pieces as f64), start + way * ((n + 1) as f64 / pieces as f64));
        let collider = ColliderBuilder::capsule_from_endpoints(vector(&a), vector(&b), radius_mm as f32)
            .density(0.0)
            .collision_groups(with)
            .active_collision_types(ActiveCollisionTypes::KINEMATIC_FIXED);
        world.insert_collider(collider, Some(body));
    }
}

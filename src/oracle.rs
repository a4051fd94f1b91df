//! The oracle: a planner that knows the truth, to say what could have been done.
//!
//! It plans as the greedy planner does, on a scene whose residual core is the true one, certain and where it
//! is now. Everything else is as the runtime believes it: forbidden regions with the room that the error
//! budget asks for, and the validator, which judges its motions by the scene that it got itself. So what the
//! oracle leaves behind was not lost by the estimate of the margin. **For simulated cases only:** no stage of
//! the runtime may read it. **Not protected against:** the greedy search's own shortcomings; it is no upper
//! bound.

use bregma_core::digest::{Digest, Digester};
use bregma_core::flow::{Proposal, Scene, voxel};
use bregma_patient::SharedWorld;
use bregma_planning::{Greedy, Planner, View};

/// The greedy planner on the truth.
pub struct Oracle {
    greedy: Greedy,
    world: SharedWorld,
}

impl Oracle {
    /// Plans in a simulated world.
    #[must_use]
    pub const fn new(greedy: Greedy, world: SharedWorld) -> Self {
        Self { greedy, world }
    }

    /// [`Planner::model`] of the oracle over a greedy planner.
    #[must_use]
    pub fn model_over(greedy: &Greedy) -> Digest {
        Digester::new("bregma oracle 1").digest(&greedy.model()).finish()
    }

    /// The scene as it would be if the estimate were right.
    fn corrected(&self, scene: &Scene) -> Scene {
        let mut scene = scene.clone();
        scene.residual = self.world.true_residual(&scene.grid);
        scene.coarse_residual = self.world.true_residual(&scene.coarse_grid);
        for (state, residual) in scene.state.iter_mut().zip(&mut scene.residual) {
            // A voxel with any residual core in it is worth a cut, and cannot have been removed.
            if *residual > 0 {
                *residual = 255;
                *state &= !voxel::CAVITY;
            }
        }
        let full = scene.coarse_residual.iter().map(|share| f64::from(*share) / 255.0).sum::<f64>();
        scene.residual_ml = full * scene.coarse_grid.voxel_ml();
        scene
    }
}

impl Planner for Oracle {
    fn name(&self) -> &'static str {
        "oracle"
    }

    fn model(&self) -> Digest {
        Self::model_over(&self.greedy)
    }

    fn propose(&mut self, view: &View<'_>) -> Proposal {
        let scene = self.corrected(view.scene);
        self.greedy.propose(&View { scene: &scene, ..*view })
    }
}

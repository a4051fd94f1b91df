//! When errors forbid too much of what is left: what to ask for before going on.
//!
//! Of the residual core, [`Scene::doubtful_ml`] could be cut if nothing erred. Once that is more than [`SHARE_MAX`] of it, a new MRI or
//! registration gains more than cutting does, and the surgeon is asked. Silence is an answer: after
//! [`PlanSettings::answer`](crate::PlanSettings::answer) the planner goes on, around what is forbidden. **Asked again** once the doubtful
//! part has grown by half, or had become small meanwhile. **Units:** mL.

use bregma_core::flow::Scene;

/// Doubtful share of the residual core that is borne.
pub const SHARE_MAX: f64 = 0.1;
/// Less than that is no reason to stop, mL: what the surgeon is asked about at the end, too.
pub const LEAST_ML: f64 = 0.2;
/// The doubtful part has grown when it is so many times what it was.
const GROWN: f64 = 1.5;

/// What was asked.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Anchor {
    /// Doubtful when the surgeon was asked last, mL.
    asked_ml: Option<f64>,
}

impl Anchor {
    /// Whether to ask now; it counts as asked then.
    pub(crate) fn asks(&mut self, scene: &Scene) -> bool {
        let doubtful_ml = scene.doubtful_ml;
        if doubtful_ml < LEAST_ML.max(SHARE_MAX * scene.residual_ml) {
            // Only what was put right is asked about anew, not what hovers about the limit.
            self.asked_ml = self.asked_ml.filter(|asked| doubtful_ml > 0.5 * asked);
            return false;
        }
        let asks = self.asked_ml.is_none_or(|asked| doubtful_ml > GROWN * asked);
        if asks {
            self.asked_ml = Some(doubtful_ml);
        }
        asks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_asks_once_again_when_it_has_grown_and_anew_when_it_was_put_right() {
        let mut anchor = Anchor::default();
        let mut asks = |doubtful_ml, residual_ml| {
            let mut scene = Scene::empty();
            (scene.doubtful_ml, scene.residual_ml) = (doubtful_ml, residual_ml);
            anchor.asks(&scene)
        };
        assert!(!asks(0.9, 10.0) && asks(1.1, 10.0));
        assert!(!asks(1.1, 5.0) && !asks(1.5, 5.0) && asks(1.7, 5.0));
        // A little less is no news; less than half is.
        assert!(!asks(0.9, 10.0) && !asks(1.7, 5.0));
        assert!(!asks(0.1, 5.0) && asks(0.6, 5.0));
        assert!(!asks(0.19, 0.3), "too little to stop for");
    }
}

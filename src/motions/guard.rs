//! A gate with everything around it that lets an approval start: a person, a clock, an arm that stands.

use super::belief::{Believed, NOW};
use crate::config::Config;
use bregma_bridge::{Command, CommandIn, CommandOut, Refusal, SceneStamp};
use bregma_core::arm::Joints;
use bregma_core::digest::Digest;
use bregma_core::flow::{ArmState, Consent, Energy, GateState, Heartbeat, InstrumentState, Order, Sequence};
use bregma_core::stage::Stage;
use bregma_core::time::{Duration, Instant};
use bregma_core::topic::Numbered;
use bregma_physics::Approved;
use std::sync::Arc;

/// Time between two steps.
const PERIOD: Duration = Duration::from_millis(4);
/// Steps from one scene to the next.
const SCENE_EVERY: u64 = 25;

/// The gate.
pub struct Guard {
    command: Command,
    input: CommandIn,
    out: CommandOut,
    now: Instant,
    count: u64,
    joints: Joints,
}

impl Guard {
    /// Armed, with the arm standing there, knowing one scene.
    ///
    /// # Errors
    /// When a setting is refused.
    pub fn armed(config: &Config, believed: &Believed, joints: &Joints, stamp: SceneStamp) -> anyhow::Result<Self> {
        let settings = config.gate.settings(believed.arm.clone(), believed.limits.digest(), vec![believed.model])?;
        let mut guard = Self {
            command: Command::new(settings)?,
            input: CommandIn::default(),
            out: CommandOut::default(),
            now: NOW,
            count: 0,
            joints: *joints,
        };
        guard.step(Some(stamp), None, None);
        guard.step(None, Some(Order::Arm), None);
        Ok(guard)
    }

    /// Whether it stands ready.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.out.sent.is_some_and(|sent| sent.state == GateState::Armed)
    }

    /// Offers an approval: whether the arm sets off, and why not.
    pub fn offer(&mut self, approved: &Arc<Approved>) -> (bool, Option<Refusal>) {
        self.step(None, None, Some(approved));
        let active = self.out.sent.is_some_and(|sent| sent.state == GateState::Active);
        (active, self.out.refused.map(|refused| refused.what))
    }

    /// Lets time pass.
    pub fn waits(&mut self, seconds: f64) {
        let steps = (seconds / PERIOD.secs_f64()).ceil() as usize;
        (0..steps).for_each(|_| self.step(None, None, None));
    }

    /// Lets a motion be played to its end.
    pub fn plays_out(&mut self) {
        // The longest motion and then some.
        for _ in 0..30_000 {
            self.step(None, None, None);
            if self.out.sent.is_none_or(|sent| sent.state != GateState::Active) {
                return;
            }
        }
    }

    fn step(&mut self, stamp: Option<SceneStamp>, order: Option<Order>, approved: Option<&Arc<Approved>>) {
        self.now = self.now + PERIOD;
        self.count += 1;
        let (n, now) = (self.count, self.now);
        let numbered = |value| Numbered { number: n, value };
        self.input.consent.set(n, Consent { channels: [true; 2], captured: now });
        self.input.heartbeat.set(n, Heartbeat { count: n, captured: now });
        let speeds = Joints::zeros(self.joints.count());
        self.input.arm.set(n, ArmState { joints: self.joints, speeds, ready: true, captured: now });
        let energy = self.out.sent.map_or(Energy::OFF, |sent| sent.energy);
        self.input.instrument.set(n, InstrumentState { energy, captured: now });
        // Scenes go on coming, so that the newest is never stale; approvals rest on the first.
        let later =
            || (n % SCENE_EVERY == 0).then(|| SceneStamp { id: Sequence(n), digest: Digest::default(), captured: now });
        self.input.stamps.set(stamp.or_else(later).map(|value| Numbered { number: n, value }));
        self.input.orders.set(order.map(|value| Numbered { number: n, value }));
        self.input.approved.set(approved.map(|a| numbered(Arc::clone(a))));
        // A gate has no fault that it could end with.
        let Ok(()) = self.command.step(now, &self.input, &mut self.out);
        if let Some(sent) = self.out.sent {
            self.joints = sent.joints;
        }
    }
}

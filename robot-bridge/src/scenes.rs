//! Which scenes the gate knows: number, digest and capture, and no more.
//!
//! The gate never sees a scene's voxels. The program publishes a [`SceneStamp`] *before* each scene, with
//! a digest that it computes from the scene's bytes itself; an approval is bound to that digest.
//! **Allocation:** none, a fixed ring. **Not protected against:** a stamp made from other bytes than those
//! that the validator read; both hold the same shared scene.

use bregma_core::Instant;
use bregma_core::digest::Digest;
use bregma_core::flow::{Scene, Sequence};

/// How many scenes are remembered: 3.2 s at 20 scenes a second, longer than any approval may wait.
pub const SCENES_KEPT: usize = 64;

/// What the gate must know of a scene.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SceneStamp {
    /// The scene's number.
    pub id: Sequence,
    /// Digest of its bytes, computed for the gate.
    pub digest: Digest,
    /// Capture of the camera frame that it was made from.
    pub captured: Instant,
}

impl SceneStamp {
    /// Of a scene, hashing its bytes (about 1.8 MB). The scene's own `digest` field is not believed.
    #[must_use]
    pub fn of(scene: &Scene) -> Self {
        Self { id: scene.id, digest: scene.digest_of_bytes(), captured: scene.captured }
    }
}

/// The last scenes, newest last written.
#[derive(Debug, Clone)]
pub(crate) struct Scenes {
    ring: [Option<SceneStamp>; SCENES_KEPT],
    next: usize,
    newest: Option<SceneStamp>,
}

/// What is known of a scene that an approval names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// Its digest.
    Digest(Digest),
    /// It is older than all that are remembered.
    Forgotten,
    /// It was never seen.
    Never,
}

impl Scenes {
    pub(crate) const fn new() -> Self {
        Self { ring: [None; SCENES_KEPT], next: 0, newest: None }
    }

    /// Takes note of a scene. Numbers grow; one that does not grow is ignored, so that what was seen
    /// under a number cannot be changed afterwards.
    pub(crate) fn see(&mut self, stamp: SceneStamp) {
        if self.newest.is_some_and(|newest| stamp.id <= newest.id) {
            return;
        }
        self.newest = Some(stamp);
        self.ring[self.next] = Some(stamp);
        self.next = (self.next + 1) % SCENES_KEPT;
    }

    pub(crate) const fn newest(&self) -> Option<&SceneStamp> {
        self.newest.as_ref()
    }

    pub(crate) fn known(&self, id: Sequence) -> Known {
        let kept = || self.ring.iter().flatten();
        match (kept().find(|stamp| stamp.id == id), kept().map(|stamp| stamp.id).min()) {
            (Some(stamp), _) => Known::Digest(stamp.digest),
            (None, Some(oldest)) if id < oldest => Known::Forgotten,
            (None, Some(_) | None) => Known::Never,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(id: u64, word: &str) -> SceneStamp {
        SceneStamp { id: Sequence(id), digest: Digest::of(word.as_bytes()), captured: Instant::from_nanos(id) }
    }

    #[test]
    fn sixty_four_scenes_are_remembered_and_none_can_be_changed() {
        let mut scenes = Scenes::new();
        assert_eq!(scenes.known(Sequence(1)), Known::Never);
        for id in 1..=70 {
            scenes.see(stamp(id, "a"));
            scenes.see(stamp(id, "b"));
        }
        assert_eq!(scenes.known(Sequence(70)), Known::Digest(Digest::of(b"a")));
        assert_eq!(scenes.known(Sequence(7)), Known::Digest(Digest::of(b"a")));
        assert_eq!(scenes.known(Sequence(6)), Known::Forgotten);
        assert_eq!(scenes.known(Sequence(71)), Known::Never);
        assert_eq!(scenes.newest().map(|s| s.id), Some(Sequence(70)));
    }

    #[test]
    fn a_scenes_own_word_for_its_digest_is_not_believed() {
        let mut scene = Scene::empty();
        scene.digest = Digest::of(b"claimed");
        assert_eq!(SceneStamp::of(&scene).digest, scene.digest_of_bytes());
        assert_ne!(SceneStamp::of(&scene).digest, scene.digest);
    }
}

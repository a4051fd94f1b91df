//! A session played again: the same to the byte, and where it is not, named.

use crate::made::{items, plan, recorded};
use bregma_core::flow::{Proposal, Request};
use bregma_core::runner::StepRecord;
use bregma_core::stage::{All, Latest, SawAll};
use bregma_core::time::Instant;
use bregma_core::topic::Numbered;
use bregma_recordings::{
    Difference, Item, Message, ReadError, Recording, Replayed, SCENES_HELD, Session, Step, Topic, VerifyReport, verify,
};
use std::io::Cursor;
use std::sync::Arc;

type Bytes = Cursor<Vec<u8>>;

fn session(items: &[Item]) -> Session<Bytes> {
    session_of(recorded(items))
}

fn session_of(bytes: Vec<u8>) -> Session<Bytes> {
    Session::of(Recording::read_from(Cursor::new(bytes)).expect("opens")).expect("reads")
}

/// The plan stage of the made session; `off_at` makes one step differ.
#[derive(Default)]
struct Planner {
    scene: Latest<Arc<bregma_core::flow::Scene>>,
    published: u64,
    off_at: Option<u64>,
    panics_at: Option<u64>,
}

impl Replayed<Bytes> for Planner {
    fn stage(&self) -> &'static str {
        "plan"
    }
    fn publishes(&self) -> &'static [Topic] {
        &[Topic::Plans]
    }
    fn step(&mut self, session: &Session<Bytes>, step: &StepRecord) -> Result<Vec<Message>, ReadError> {
        assert_ne!(Some(step.index), self.panics_at, "as it was told to");
        let saw = step.saw.as_slice()[0];
        if let Some(Message::Scene(scene)) = session.latest(Topic::Scenes, saw.last)? {
            self.scene.set(saw.last, scene);
        }
        let Some(scene) = self.scene.get() else { return Ok(Vec::new()) };
        if step.overrun {
            return Ok(Vec::new());
        }
        self.published += 1;
        let mut plan = plan(self.published, step.now, scene);
        if self.off_at == Some(step.index) {
            Arc::make_mut(&mut plan).proposal = Proposal::Request(Request::AskSurgeon("0 voxels are left".to_owned()));
        }
        Ok(vec![Message::Plan(plan)])
    }
}

fn verified(session: &Session<Bytes>, mut planner: Planner) -> VerifyReport {
    verify(session, &mut [&mut planner])
}

/// The items with one step changed.
fn with_step(index: u64, change: impl Fn(&mut StepRecord)) -> Vec<Item> {
    let mut items = items();
    for item in &mut items {
        if let Message::Step(step) = &item.message
            && item.number == index
        {
            let mut record = step.record();
            change(&mut record);
            item.message = Message::Step(Step::of(&record));
        }
    }
    items
}

#[test]
fn the_same_stage_says_the_same_bytes() {
    let report = verified(&session(&items()), Planner::default());
    assert!(report.holds(), "{:?}", report.kept);
    assert_eq!((report.steps, report.compared, report.unfinished), (25, 25, 0));
}

#[test]
fn one_byte_off_is_named() {
    let report = verified(&session(&items()), Planner { off_at: Some(8), ..Planner::default() });
    assert_eq!((report.mismatches, report.compared, report.holds()), (1, 25, false));
    let first = &report.kept[0];
    assert_eq!((first.stage, first.step, first.topic, first.message), ("plan", 8, Some(Topic::Plans), 8));
    let Difference::Bytes { recorded, recomputed, .. } = &first.difference else { panic!("{first}") };
    assert_eq!((recorded.as_str(), recomputed.as_str()), ("\"80 voxels are left\"", "\"0 voxels are left\""));
    assert!(first.to_string().starts_with("plan step 8, plans 8: byte 43 differs"), "{first}");
}

#[test]
fn what_was_not_recorded_or_not_recomputed_is_named() {
    let mut fewer = items();
    fewer.retain(|item| item.message.topic() != Topic::Plans || item.number != 25);
    let report = verified(&session(&fewer), Planner::default());
    assert_eq!((report.mismatches, &report.kept[0].difference), (1, &Difference::NotRecorded));

    let mut fewer = items();
    fewer.retain(|item| item.message.topic() != Topic::Steps || item.number != 25);
    let report = verified(&session(&fewer), Planner::default());
    assert_eq!((report.mismatches, &report.kept[0].difference), (1, &Difference::NotRecomputed));
    assert_eq!(report.kept[0].message, 25);

    let mut fewer = items();
    fewer.retain(|item| item.message.topic() != Topic::Scenes || item.number != 25);
    let report = verified(&session(&fewer), Planner::default());
    assert_eq!(report.kept[0].difference, Difference::Input("scenes 25 is not in the recording".to_owned()));
}

#[test]
fn a_step_that_panicked_or_took_back_what_it_wrote_publishes_nothing() {
    // The last step, so that no plan after it is numbered differently.
    for change in [|s: &mut StepRecord| s.panicked = true, |s: &mut StepRecord| s.overrun = true] {
        let mut items = with_step(25, change);
        items.retain(|item| item.message.topic() != Topic::Plans || item.number != 25);
        let panicked = items.iter().any(|i| matches!(&i.message, Message::Step(s) if s.record().panicked));
        let panics_at = panicked.then_some(25);
        let report = verified(&session(&items), Planner { panics_at, ..Planner::default() });
        assert!(report.holds(), "{:?}", report.kept);
        assert_eq!((report.steps, report.compared), (25, 24));
    }
}

#[test]
fn a_panic_on_replay_alone_is_named() {
    let report = verified(&session(&items()), Planner { panics_at: Some(25), ..Planner::default() });
    assert_eq!(report.kept[0].difference, Difference::Panic { recorded: false });
    assert!(!report.holds());
}

#[test]
fn a_recording_that_was_cut_off_verifies_up_to_its_cut() {
    let mut bytes = recorded(&items());
    bytes.truncate(bytes.len() / 3);
    let session = session_of(bytes);
    let report = verified(&session, Planner::default());
    assert!(report.holds() && report.compared < 25, "{report:?}");
}

#[test]
fn stages_that_are_not_given_are_counted_and_nothing_holds() {
    let report = verify(&session(&items()), &mut []);
    assert_eq!((report.steps_skipped, report.holds()), (25, false));
}

#[test]
fn inputs_are_found_by_what_a_step_saw() {
    let session = session(&items());
    assert_eq!(session.steps_of("plan").count(), 25);
    assert!(matches!(session.latest(Topic::Scenes, 0), Ok(None)));
    let range = session.range(Topic::Sent, 11, 20).expect("recorded");
    let mut all = All::with_capacity(16);
    all.set(range.into_iter().map(|(number, value)| Numbered { number, value }));
    assert_eq!(all.iter().count(), 10);
    assert!(session.range(Topic::Sent, 245, u64::MAX).is_err());
    assert!(session.range(Topic::Sent, 0, 0).expect("none").is_empty());
    // Scenes can be asked for in any order, again, and further back than they are kept.
    const { assert!(SCENES_HELD > 25) };
    for number in [25, 1, 13, 13, 2, 25] {
        assert_eq!(*session.scene(number).expect("recorded"), *crate::made::scene(number));
    }
    let why = session.scene(26).expect_err("not recorded");
    assert_eq!(why.to_string(), "scenes 26 is not in the recording");
}

#[test]
fn a_step_reads_back_as_it_was_taken() {
    let session = session(&with_step(3, |step| step.overrun = true));
    let step = session.steps()[2];
    assert_eq!((step.stage, step.index, step.overrun, step.now), ("plan", 3, true, Instant::from_nanos(601_000_000)));
    assert_eq!(step.saw.as_slice()[0].last, 3);
    assert_eq!(step.saw.latched, SawAll::default().latched);
}

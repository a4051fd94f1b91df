//! The gate's transitions: a total, pure function.
//!
//! Every pair of state and event is answered, the impossible ones too. What an event asks for is granted
//! only where its [`Guard`] is clear; guards are worked out by the gate, before.
//!
//! ```text
//! event            Disarmed    Armed           Active            Hold           Fault
//! Arm clear        Armed       – refuse        – refuse          – refuse       – refuse
//! Arm stands       – refuse    – refuse        – refuse          – refuse       – refuse
//! Disarm           –           Disarmed brake  Disarmed brake    Disarmed brake – refuse
//! Resume clear     – refuse    – refuse        – refuse          Armed          – refuse
//! Resume stands    – refuse    – refuse        – refuse          – refuse       – refuse
//! Retract clear    – refuse    Active leave    Active leave      Active leave   – refuse
//! Retract stands   – refuse    – refuse        – refuse          – refuse       – refuse
//! ClearFault clear – refuse    – refuse        – refuse          – refuse       Hold
//! ClearFault stands– refuse    – refuse        – refuse          – refuse       – refuse
//! Accepted         – refuse    Active start    – refuse          – refuse       – refuse
//! Finished         –           –               Armed             –              –
//! React Hold       –           Hold brake      Hold brake        –              –
//! React Retract    –           Hold brake      Hold brake        –              –
//! React Stop       Fault brake Fault brake     Fault brake       Fault brake    –
//! ```
//! `–` keeps the state. `refuse` tells the person; `brake` takes the path clock to zero; energy is off in
//! every state but Active, and there while leaving.
//!
//! A retract is never begun by itself: that reaction holds, and the retract is offered. A cleared fault
//! becomes a Hold, not Disarmed, so that the way out of the head stays open.

use bregma_core::faults::Reaction;
use bregma_core::flow::GateState;

/// Whether what an event asks for may be granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    /// Nothing stands against it.
    Clear,
    /// A reason stands against it.
    Stands,
}

/// What the gate's states answer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A person orders to allow motions.
    Arm(Guard),
    /// A person orders to allow none.
    Disarm,
    /// A person orders to go on after a hold.
    Resume(Guard),
    /// A person orders to bring the tip out.
    Retract(Guard),
    /// A person orders to forget a fault.
    ClearFault(Guard),
    /// An approval passed every look.
    Accepted,
    /// The end of what is played was reached.
    Finished,
    /// A reason calls for this reaction.
    React(Reaction),
}

/// What a transition does beside changing the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Nothing.
    Keep,
    /// The event is refused.
    Refuse,
    /// The accepted path is played from its start.
    Start,
    /// The path clock goes to zero within the brake's time.
    Brake,
    /// The way out is played.
    Leave,
}

/// The answer to an event.
#[must_use]
pub const fn next(state: GateState, event: Event) -> (GateState, Act) {
    use Event::{Accepted, Arm, ClearFault, Disarm, Finished, React, Resume, Retract};
    use GateState::{Active, Armed, Disarmed, Fault, Hold};
    use Guard::{Clear, Stands};
    use Reaction as R;

    match (state, event) {
        (Disarmed, Arm(Clear)) => (Armed, Act::Keep),
        (Disarmed, Arm(Stands)) => (state, Act::Refuse),
        (Armed | Active | Hold | Fault, Arm(Clear | Stands)) => (state, Act::Refuse),

        (Disarmed, Disarm) => (state, Act::Keep),
        (Armed | Active | Hold, Disarm) => (Disarmed, Act::Brake),
        (Fault, Disarm) => (state, Act::Refuse),

        (Hold, Resume(Clear)) => (Armed, Act::Keep),
        (Hold, Resume(Stands)) => (state, Act::Refuse),
        (Disarmed | Armed | Active | Fault, Resume(Clear | Stands)) => (state, Act::Refuse),

        (Armed | Active | Hold, Retract(Clear)) => (Active, Act::Leave),
        (Armed | Active | Hold, Retract(Stands)) => (state, Act::Refuse),
        (Disarmed | Fault, Retract(Clear | Stands)) => (state, Act::Refuse),

        (Fault, ClearFault(Clear)) => (Hold, Act::Keep),
        (Fault, ClearFault(Stands)) => (state, Act::Refuse),
        (Disarmed | Armed | Active | Hold, ClearFault(Clear | Stands)) => (state, Act::Refuse),

        (Armed, Accepted) => (Active, Act::Start),
        (Disarmed | Active | Hold | Fault, Accepted) => (state, Act::Refuse),

        (Active, Finished) => (Armed, Act::Keep),
        (Disarmed | Armed | Hold | Fault, Finished) => (state, Act::Keep),

        (Armed | Active, React(R::Hold | R::Retract)) => (Hold, Act::Brake),
        (Disarmed | Hold | Fault, React(R::Hold | R::Retract)) => (state, Act::Keep),
        (Disarmed | Armed | Active | Hold, React(R::Stop)) => (Fault, Act::Brake),
        (Fault, React(R::Stop)) => (state, Act::Keep),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use GateState::{Active, Armed, Disarmed, Fault, Hold};
    use Guard::{Clear, Stands};

    const STATES: [GateState; 5] = [Disarmed, Armed, Active, Hold, Fault];
    const EVENTS: [Event; 14] = [
        Event::Arm(Clear),
        Event::Arm(Stands),
        Event::Disarm,
        Event::Resume(Clear),
        Event::Resume(Stands),
        Event::Retract(Clear),
        Event::Retract(Stands),
        Event::ClearFault(Clear),
        Event::ClearFault(Stands),
        Event::Accepted,
        Event::Finished,
        Event::React(Reaction::Hold),
        Event::React(Reaction::Retract),
        Event::React(Reaction::Stop),
    ];

    /// A cell of the table: the new state, none where it is kept, and the act.
    type Cell = (Option<GateState>, Act);

    /// The table of the module's documentation, read from there: what stands in it is what is tested.
    fn table() -> Vec<(Event, Vec<Cell>)> {
        let rows: Vec<&str> = include_str!("states.rs")
            .lines()
            .skip_while(|line| !line.starts_with("//! event "))
            .skip(1)
            .take(EVENTS.len())
            .collect();
        let starts = [17, 29, 45, 63, 78];
        EVENTS
            .iter()
            .zip(rows)
            .map(|(event, row)| {
                let row: Vec<char> = row.trim_start_matches("//! ").chars().collect();
                let cells = (0..5).map(|i| {
                    let end = starts.get(i + 1).map_or(row.len(), |end| (*end).min(row.len()));
                    let cell: String = row[starts[i]..end].iter().collect();
                    let mut words = cell.split_whitespace();
                    let state = match words.next() {
                        Some("–") => None,
                        Some("Disarmed") => Some(Disarmed),
                        Some("Armed") => Some(Armed),
                        Some("Active") => Some(Active),
                        Some("Hold") => Some(Hold),
                        Some("Fault") => Some(Fault),
                        other => panic!("the table says {other:?} of {event:?}"),
                    };
                    let act = match words.next() {
                        None => Act::Keep,
                        Some("refuse") => Act::Refuse,
                        Some("start") => Act::Start,
                        Some("brake") => Act::Brake,
                        Some("leave") => Act::Leave,
                        other => panic!("the table says {other:?} of {event:?}"),
                    };
                    (state, act)
                });
                (*event, cells.collect())
            })
            .collect()
    }

    #[test]
    fn the_function_is_the_documented_table() {
        let table = table();
        assert_eq!(table.len() * STATES.len(), 70);
        for (event, cells) in table {
            for (state, (to, act)) in STATES.into_iter().zip(cells) {
                assert_eq!(next(state, event), (to.unwrap_or(state), act), "{state:?} {event:?}");
            }
        }
    }

    #[test]
    fn motion_begins_only_from_where_it_may() {
        for state in STATES {
            for event in EVENTS {
                let (to, act) = next(state, event);
                if to == Active && state != Active {
                    assert!(matches!((state, event), (Armed, Event::Accepted) | (Armed | Hold, Event::Retract(Clear))));
                }
                if matches!(act, Act::Start | Act::Leave) {
                    assert_eq!(to, Active);
                }
                if state == Fault && to != Fault {
                    assert_eq!((event, to), (Event::ClearFault(Clear), Hold));
                }
                if state == Active && to != Active && event != Event::Finished {
                    assert_eq!(act, Act::Brake, "{event:?}");
                }
            }
        }
    }
}

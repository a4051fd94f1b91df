//! Where things stand on the screen: margins and slices on the left, the microscope and the scene in three
//! dimensions in the middle, figures and words below.

use rerun::blueprint::components::{PanelState, PlayState};
use rerun::blueprint::{
    Blueprint, BlueprintPanel, Horizontal, SelectionPanel, Spatial2DView, Spatial3DView, TextDocumentView, TextLogView,
    TimePanel, TimeSeriesView, Vertical,
};

/// Entity paths, written once.
pub mod path {
    /// The microscope's picture and what is projected into it.
    pub const MICROSCOPE: &str = "microscope";
    /// The patient, LPS mm.
    pub const PATIENT: &str = "patient";
    /// The three slices through the target.
    pub const SLICES: [&str; 3] = ["slices/axial", "slices/coronal", "slices/sagittal"];
    /// State, margin, alarms in words.
    pub const STATE: &str = "state";
    /// Events.
    pub const EVENTS: &str = "events";
    /// Margin and residual over time.
    pub const MARGIN: &str = "figures/margin";
    /// Latency over time.
    pub const LATENCY: &str = "figures/latency";
}

/// The blueprint that the viewer opens with.
pub fn blueprint() -> Blueprint {
    let slice = |name: &str, path: &str| Spatial2DView::new(name).with_origin(path);
    let views = Vertical::new([
        Horizontal::new([
            Vertical::new([
                slice("Axial", path::SLICES[0]).into(),
                slice("Coronal", path::SLICES[1]).into(),
                slice("Sagittal", path::SLICES[2]).into(),
            ])
            .into(),
            Vertical::new([
                Spatial3DView::new("Residual core by clearance, cavity, instrument, plan")
                    .with_origin(path::PATIENT)
                    .with_contents(["$origin/**", "- $origin/arm/**"])
                    .into(),
                Spatial3DView::new("Arm").with_origin(path::PATIENT).into(),
            ])
            .with_row_shares([3.0, 1.0])
            .into(),
            Vertical::new([
                Spatial2DView::new("Microscope").with_origin(path::MICROSCOPE).into(),
                TextDocumentView::new("State").with_origin(path::STATE).into(),
            ])
            .into(),
        ])
        .with_column_shares([1.0, 2.4, 1.8])
        .into(),
        Horizontal::new([
            TimeSeriesView::new("Margin at the tip (mm), residual core (mL)").with_origin(path::MARGIN).into(),
            TimeSeriesView::new("Latency, age of the scene (ms)").with_origin(path::LATENCY).into(),
            TextLogView::new("Events").with_origin(path::EVENTS).into(),
        ])
        .into(),
    ])
    .with_row_shares([3.0, 1.0]);
    Blueprint::new(views)
        .with_blueprint_panel(BlueprintPanel::from_state(PanelState::Hidden))
        .with_selection_panel(SelectionPanel::from_state(PanelState::Hidden))
        .with_time_panel(
            TimePanel::new()
                .with_state(PanelState::Collapsed)
                .with_timeline("session")
                .with_play_state(PlayState::Following),
        )
}

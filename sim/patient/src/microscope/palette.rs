//! Colours of everything in the view, in both lights, of both makes of microscope.
//!
//! **Units:** grey levels of the picture before lighting, RGB. Chosen by eye after the look of operating
//! microscopes in white light and under their violet filter (an expert's estimate): what carries meaning
//! is their order, not their values.

use super::settings::Look;
use crate::truth::Label;
use bregma_core::flow::Light;

pub(super) type Rgb = [f32; 3];

/// One make's colours in one light.
#[derive(Debug, PartialEq)]
pub(super) struct Palette {
    pub bone: Rgb,
    pub csf: Rgb,
    pub grey: Rgb,
    pub white: Rgb,
    pub infiltrated: Rgb,
    pub enhancing: Rgb,
    pub necrosis: Rgb,
    pub artery: Rgb,
    pub vein: Rgb,
    pub blood: Rgb,
    /// Thin blood on tissue, and the smallest vessels.
    pub stain: Rgb,
    /// Full fluorescence.
    pub glow: Rgb,
    /// Highlights.
    pub shine: Rgb,
    pub dura: Rgb,
    pub drape: Rgb,
    pub cotton: Rgb,
    pub glove: Rgb,
    pub metal: Rgb,
    pub sleeve: Rgb,
}

impl Palette {
    pub(super) const fn of(look: Look, light: Light) -> &'static Self {
        match (look, light) {
            (Look::Plain | Look::Home, Light::White) => &HOME_WHITE,
            (Look::Plain | Look::Home, Light::Violet) => &HOME_VIOLET,
            (Look::Foreign, Light::White) => &FOREIGN_WHITE,
            (Look::Foreign, Light::Violet) => &FOREIGN_VIOLET,
        }
    }

    pub(super) const fn tissue(&self, label: Label) -> Rgb {
        match label {
            Label::Outside | Label::Skull => self.bone,
            Label::Csf => self.csf,
            Label::Grey => self.grey,
            Label::White => self.white,
            Label::Infiltrated => self.infiltrated,
            Label::Enhancing => self.enhancing,
            Label::Necrosis => self.necrosis,
        }
    }
}

static HOME_WHITE: Palette = Palette {
    bone: [226.0, 206.0, 170.0],
    csf: [204.0, 148.0, 138.0],
    grey: [218.0, 166.0, 152.0],
    white: [240.0, 218.0, 196.0],
    infiltrated: [226.0, 186.0, 162.0],
    enhancing: [168.0, 112.0, 118.0],
    necrosis: [204.0, 178.0, 104.0],
    artery: [186.0, 42.0, 38.0],
    vein: [84.0, 26.0, 60.0],
    blood: [118.0, 8.0, 10.0],
    stain: [186.0, 62.0, 52.0],
    glow: [206.0, 96.0, 96.0],
    shine: [255.0, 250.0, 240.0],
    dura: [206.0, 176.0, 164.0],
    drape: [30.0, 96.0, 98.0],
    cotton: [244.0, 242.0, 232.0],
    glove: [226.0, 216.0, 196.0],
    metal: [176.0, 180.0, 188.0],
    sleeve: [196.0, 204.0, 206.0],
};

static HOME_VIOLET: Palette = Palette {
    bone: [52.0, 58.0, 150.0],
    csf: [24.0, 28.0, 88.0],
    grey: [30.0, 34.0, 102.0],
    white: [40.0, 46.0, 126.0],
    infiltrated: [36.0, 38.0, 110.0],
    enhancing: [30.0, 28.0, 84.0],
    necrosis: [34.0, 36.0, 78.0],
    artery: [22.0, 10.0, 40.0],
    vein: [14.0, 8.0, 34.0],
    blood: [12.0, 7.0, 20.0],
    stain: [24.0, 16.0, 62.0],
    glow: [250.0, 56.0, 78.0],
    shine: [120.0, 96.0, 240.0],
    dura: [44.0, 50.0, 132.0],
    drape: [6.0, 16.0, 52.0],
    cotton: [92.0, 104.0, 232.0],
    glove: [40.0, 44.0, 120.0],
    metal: [40.0, 42.0, 116.0],
    sleeve: [50.0, 54.0, 140.0],
};

static FOREIGN_WHITE: Palette = Palette {
    bone: [214.0, 212.0, 190.0],
    csf: [188.0, 150.0, 146.0],
    grey: [206.0, 166.0, 158.0],
    white: [226.0, 220.0, 212.0],
    infiltrated: [214.0, 192.0, 182.0],
    enhancing: [156.0, 122.0, 136.0],
    necrosis: [190.0, 182.0, 132.0],
    artery: [172.0, 50.0, 56.0],
    vein: [74.0, 40.0, 78.0],
    blood: [96.0, 8.0, 20.0],
    stain: [168.0, 74.0, 74.0],
    glow: [186.0, 112.0, 116.0],
    shine: [240.0, 250.0, 255.0],
    dura: [198.0, 186.0, 184.0],
    drape: [34.0, 62.0, 112.0],
    cotton: [232.0, 238.0, 242.0],
    glove: [214.0, 206.0, 178.0],
    metal: [158.0, 166.0, 180.0],
    sleeve: [120.0, 132.0, 140.0],
};

static FOREIGN_VIOLET: Palette = Palette {
    bone: [62.0, 52.0, 158.0],
    csf: [32.0, 24.0, 92.0],
    grey: [40.0, 30.0, 110.0],
    white: [52.0, 42.0, 138.0],
    infiltrated: [46.0, 36.0, 120.0],
    enhancing: [38.0, 26.0, 92.0],
    necrosis: [44.0, 34.0, 88.0],
    artery: [26.0, 10.0, 48.0],
    vein: [18.0, 8.0, 42.0],
    blood: [14.0, 6.0, 26.0],
    stain: [30.0, 16.0, 70.0],
    glow: [232.0, 82.0, 58.0],
    shine: [150.0, 110.0, 250.0],
    dura: [52.0, 44.0, 140.0],
    drape: [10.0, 12.0, 60.0],
    cotton: [110.0, 100.0, 240.0],
    glove: [50.0, 40.0, 126.0],
    metal: [50.0, 40.0, 124.0],
    sleeve: [58.0, 50.0, 146.0],
};

//! What a model must be before anything is made of it: a shape within bounds, every layer in its place with as
//! many numbers as it says, all of them finite.
//!
//! **Not protected against:** numbers that are finite and wrong. What a model is worth, tests on patients say.

use super::{LayerShape, Model, Shape};

/// Channels of the input or the output, at most: far beyond what align sees.
pub const CHANNELS_MAX: usize = 64;
/// Channels of the finest level, at most.
pub const BASE_MAX: usize = 64;
/// Levels, at most: 2^5 divides the edge of the region of interest, 64.
pub const LEVELS_MAX: usize = 6;
/// Weights of a whole network, at most: 256 MB in f32, fifty times the default network.
pub const WEIGHTS_MAX: usize = 1 << 26;

/// Why a model is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelFault {
    /// A dimension out of bounds.
    #[error("the network's {what} is {value}; 1 to {max} is right")]
    Dimension {
        /// Which.
        what: &'static str,
        /// Its value.
        value: usize,
        /// The largest that is taken.
        max: usize,
    },
    /// Each dimension is in bounds, all together are not.
    #[error("the network has {value} weights; at most {max} is right")]
    Large {
        /// Weights of all layers.
        value: usize,
        /// The most that is taken.
        max: usize,
    },
    /// Layers are missing, or there are more than the shape has.
    #[error("the network has {found} layers; its shape has {expected}")]
    Layers {
        /// What there is.
        found: usize,
        /// What is right.
        expected: usize,
    },
    /// Another layer than the shape has there.
    #[error("layer {index} is {found:?}; {expected:?} is right")]
    Place {
        /// In the order of computation.
        index: usize,
        /// What there is.
        found: Box<LayerShape>,
        /// What is right.
        expected: Box<LayerShape>,
    },
    /// A layer with too few or too many numbers.
    #[error("layer {layer} has {found} {what}; {expected} is right")]
    Length {
        /// Its name.
        layer: String,
        /// `weights` or `biases`.
        what: &'static str,
        /// What there is.
        found: usize,
        /// What is right.
        expected: usize,
    },
    /// A number that is none.
    #[error("number {index} of the {what} of layer {layer} is not finite")]
    NotFinite {
        /// Its name.
        layer: String,
        /// `weights` or `biases`.
        what: &'static str,
        /// Where, from 0.
        index: usize,
    },
}

impl Shape {
    /// Whether networks of this shape are made at all.
    ///
    /// # Errors
    /// [`ModelFault::Dimension`] and [`ModelFault::Large`].
    pub fn check(&self) -> Result<(), ModelFault> {
        let bounds = [
            ("inputs", self.inputs, CHANNELS_MAX),
            ("outputs", self.outputs, CHANNELS_MAX),
            ("base", self.base, BASE_MAX),
            ("levels", self.levels, LEVELS_MAX),
        ];
        for (what, value, max) in bounds {
            if !(1..=max).contains(&value) {
                return Err(ModelFault::Dimension { what, value, max });
            }
        }
        let value = self.layers().iter().map(LayerShape::weights).sum();
        if value > WEIGHTS_MAX { Err(ModelFault::Large { value, max: WEIGHTS_MAX }) } else { Ok(()) }
    }
}

impl Model {
    /// Whether the layers are those of the shape, with as many numbers, all finite.
    ///
    /// # Errors
    /// The first [`ModelFault`] in the order of computation.
    pub fn check(&self) -> Result<(), ModelFault> {
        self.shape.check()?;
        let places = self.shape.layers();
        if places.len() != self.layers.len() {
            return Err(ModelFault::Layers { found: self.layers.len(), expected: places.len() });
        }
        for (index, (layer, place)) in self.layers.iter().zip(&places).enumerate() {
            if layer.shape != *place {
                let (found, expected) = (Box::new(layer.shape.clone()), Box::new(place.clone()));
                return Err(ModelFault::Place { index, found, expected });
            }
            let numbers = [("weights", &layer.weight, place.weights()), ("biases", &layer.bias, place.outputs)];
            for (what, values, expected) in numbers {
                let (layer, found) = (place.name.clone(), values.len());
                if found != expected {
                    return Err(ModelFault::Length { layer, what, found, expected });
                }
                if let Some(index) = values.iter().position(|v| !v.is_finite()) {
                    return Err(ModelFault::NotFinite { layer, what, index });
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Layer;

    fn model() -> Model {
        let shape = Shape { inputs: 2, outputs: 1, base: 2, levels: 2 };
        let layer =
            |shape: LayerShape| Layer { weight: vec![0.5; shape.weights()], bias: vec![0.25; shape.outputs], shape };
        Model { shape, layers: shape.layers().into_iter().map(layer).collect() }
    }

    #[test]
    fn a_whole_model_passes_and_each_fault_is_named() {
        assert_eq!(model().check(), Ok(()));
        let refused = |change: fn(&mut Model)| {
            let mut changed = model();
            change(&mut changed);
            changed.check().expect_err("a fault").to_string()
        };
        assert_eq!(refused(|m| m.shape.levels = 7), "the network's levels is 7; 1 to 6 is right");
        assert_eq!(refused(|m| m.shape.base = 0), "the network's base is 0; 1 to 64 is right");
        assert_eq!(refused(|m| drop(m.layers.pop())), "the network has 11 layers; its shape has 12");
        assert!(refused(|m| m.layers.swap(0, 1)).starts_with("layer 0 is LayerShape { name: \"enc0.conv2\""));
        assert_eq!(refused(|m| m.layers[0].weight.push(0.0)), "layer enc0.conv1 has 109 weights; 108 is right");
        assert_eq!(refused(|m| m.layers[2].bias.clear()), "layer enc0.skip has 0 biases; 2 is right");
        let refusal = refused(|m| m.layers[3].weight[7] = f32::NAN);
        assert_eq!(refusal, "number 7 of the weights of layer down1 is not finite");
        let large = Shape { inputs: 5, outputs: 1, base: 64, levels: 6 };
        assert!(matches!(large.check(), Err(ModelFault::Large { .. })));
    }
}

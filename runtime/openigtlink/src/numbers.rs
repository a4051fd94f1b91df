//! NDARRAY and SENSOR: arrays of numbers, and readings with their unit.

use crate::error::{DecodeError, EncodeError};
use crate::fields::{Reader, Writer, within};
use crate::list::List;
use crate::scalar::ScalarType;

/// NDARRAY: an array of any rank up to 255.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NdArray<'a> {
    /// Elements along each axis; their product is the number of elements.
    pub size: List<'a, u16>,
    /// The elements, in the sender's order.
    pub values: Values<'a>,
}

/// Numbers of one type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Values<'a> {
    /// 8 bits, signed.
    I8(List<'a, i8>),
    /// 8 bits.
    U8(List<'a, u8>),
    /// 16 bits, signed.
    I16(List<'a, i16>),
    /// 16 bits.
    U16(List<'a, u16>),
    /// 32 bits, signed.
    I32(List<'a, i32>),
    /// 32 bits.
    U32(List<'a, u32>),
    /// Single precision.
    F32(List<'a, f32>),
    /// Double precision.
    F64(List<'a, f64>),
    /// Real and imaginary part.
    Complex(List<'a, [f64; 2]>),
}

/// The same for whichever list it is.
macro_rules! each {
    ($values:expr, $list:ident => $what:expr) => {
        match $values {
            Values::I8($list) => $what,
            Values::U8($list) => $what,
            Values::I16($list) => $what,
            Values::U16($list) => $what,
            Values::I32($list) => $what,
            Values::U32($list) => $what,
            Values::F32($list) => $what,
            Values::F64($list) => $what,
            Values::Complex($list) => $what,
        }
    };
}

impl<'a> Values<'a> {
    /// What they are.
    #[must_use]
    pub const fn scalar(&self) -> ScalarType {
        match self {
            Self::I8(_) => ScalarType::I8,
            Self::U8(_) => ScalarType::U8,
            Self::I16(_) => ScalarType::I16,
            Self::U16(_) => ScalarType::U16,
            Self::I32(_) => ScalarType::I32,
            Self::U32(_) => ScalarType::U32,
            Self::F32(_) => ScalarType::F32,
            Self::F64(_) => ScalarType::F64,
            Self::Complex(_) => ScalarType::Complex,
        }
    }

    /// How many they are.
    #[must_use]
    pub const fn len(&self) -> usize {
        each!(self, list => list.len())
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    const fn wire(scalar: ScalarType, bytes: &'a [u8]) -> Self {
        match scalar {
            ScalarType::I8 => Self::I8(List::wire(bytes)),
            ScalarType::U8 => Self::U8(List::wire(bytes)),
            ScalarType::I16 => Self::I16(List::wire(bytes)),
            ScalarType::U16 => Self::U16(List::wire(bytes)),
            ScalarType::I32 => Self::I32(List::wire(bytes)),
            ScalarType::U32 => Self::U32(List::wire(bytes)),
            ScalarType::F32 => Self::F32(List::wire(bytes)),
            ScalarType::F64 => Self::F64(List::wire(bytes)),
            ScalarType::Complex => Self::Complex(List::wire(bytes)),
        }
    }
}

/// The number of elements, if 64 bits can hold it.
fn product(size: &List<'_, u16>) -> Option<u64> {
    size.iter().try_fold(1_u64, |product, n| product.checked_mul(n.into()))
}

impl<'a> NdArray<'a> {
    pub(crate) fn size(&self) -> Result<usize, EncodeError> {
        within("NDARRAY's number of axes", self.size.len(), u8::MAX.into())?;
        let (value, expected) = (self.values.len() as u64, product(&self.size).unwrap_or(u64::MAX));
        if value != expected {
            let (what, right) = ("the number of NDARRAY's elements", "the product of the sizes along its axes");
            return Err(EncodeError::Differs { what, value, right, expected });
        }
        Ok((2 + self.size.size()).saturating_add(each!(&self.values, list => list.size())))
    }

    pub(crate) fn decode(mut fields: Reader<'a>) -> Result<Self, DecodeError> {
        let offset = fields.offset;
        let [scalar, axes] = *fields.array("NDARRAY's TYPE and DIM")?;
        let Some(scalar) = ScalarType::from_wire(scalar) else {
            let right = "2 to 7 (integers), 10, 11 (single, double precision) or 13 (complex) is needed";
            return Err(DecodeError::Value { field: "NDARRAY's TYPE", offset, value: scalar.into(), right });
        };
        let room = fields.left() / 2;
        if usize::from(axes) > room {
            return Err(DecodeError::Length {
                field: "NDARRAY's DIM",
                offset: offset + 1,
                value: axes.into(),
                right: "the number of sizes there is room for",
                expected: room as u64,
            });
        }
        let size = fields.list(axes.into(), "NDARRAY's SIZE")?;
        let bytes = fields.rest();
        let need = product(&size).and_then(|elements| elements.checked_mul(scalar.size() as u64)).unwrap_or(u64::MAX);
        if need != bytes.len() as u64 {
            return Err(DecodeError::Length {
                field: "NDARRAY's SIZE",
                offset: offset + 2,
                value: need,
                right: "the number of bytes behind it",
                expected: bytes.len() as u64,
            });
        }
        Ok(Self { size, values: Values::wire(scalar, bytes) })
    }

    pub(crate) fn encode(&self, out: &mut Writer<'_>) {
        out.put(&[self.values.scalar() as u8, self.size.len() as u8]);
        self.size.write(out);
        each!(&self.values, list => list.write(out));
    }
}

/// SENSOR: up to 255 readings in one unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sensor<'a> {
    /// Reserved by the protocol; comes through as it is.
    pub status: u8,
    /// Of the readings.
    pub unit: Unit,
    /// The readings.
    pub values: List<'a, f64>,
}

impl<'a> Sensor<'a> {
    pub(crate) fn size(&self) -> Result<usize, EncodeError> {
        within("the number of SENSOR's readings", self.values.len(), u8::MAX.into())?;
        Ok(2 + 8 + self.values.size())
    }

    pub(crate) fn decode(mut fields: Reader<'a>) -> Result<Self, DecodeError> {
        let offset = fields.offset;
        let [length, status] = *fields.array("SENSOR's LARRAY and STATUS")?;
        let unit = Unit(fields.u64("SENSOR's UNIT")?);
        if usize::from(length) * 8 != fields.left() {
            return Err(DecodeError::Length {
                field: "SENSOR's LARRAY",
                offset,
                value: length.into(),
                right: "the number of bytes behind UNIT, of which each reading takes 8,",
                expected: fields.left() as u64,
            });
        }
        Ok(Self { status, unit, values: fields.list(length.into(), "SENSOR's DATA")? })
    }

    pub(crate) fn encode(&self, out: &mut Writer<'_>) {
        out.put(&[self.values.len() as u8, self.status]);
        out.item(&self.unit.0);
        self.values.write(out);
    }
}

/// A unit of measurement: 4 bits of a prefix, then six times 6 bits of an SI unit and 4 of its exponent.
///
/// Prefixes: 1 deca, 2 hecto, 3 kilo, 4 mega, 5 giga, 6 tera, 7 peta, 9 deci, 10 centi, 11 milli, 12 micro, 13 nano,
/// 14 pico, 15 femto. Units: 1 metre, 2 gram, 3 second, 4 ampere, 5 kelvin, 6 mole, 7 candela, 8 radian, 9 steradian,
/// 10 hertz, 11 newton, 12 pascal, 13 joule, 14 watt, 15 coulomb, 16 volt, 17 farad, 18 ohm, 19 siemens, 20 weber,
/// 21 tesla, 22 henry, 23 lumen, 24 lux, 25 becquerel, 26 gray, 27 sievert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Unit(pub u64);

impl Unit {
    /// Units of a product at most.
    pub const FACTORS: usize = 6;

    /// From a prefix and pairs of a unit and its exponent, −8 to 7; `None` where something does not fit its bits.
    #[must_use]
    pub fn new(prefix: u8, factors: &[(u8, i8)]) -> Option<Self> {
        if prefix > 15 || factors.len() > Self::FACTORS {
            return None;
        }
        let mut bits = u64::from(prefix) << 60;
        for ((unit, exponent), place) in factors.iter().zip((0..Self::FACTORS).rev()) {
            if *unit > 63 || !(-8..8).contains(exponent) {
                return None;
            }
            let factor = u64::from(*unit) << 4 | u64::from(exponent.cast_unsigned() & 0xF);
            bits |= factor << (10 * place);
        }
        Some(Self(bits))
    }

    /// The number of the prefix; 0 for none.
    #[must_use]
    pub const fn prefix(self) -> u8 {
        (self.0 >> 60) as u8
    }

    /// Units and exponents, up to the first place that holds no unit.
    pub fn factors(self) -> impl Iterator<Item = (u8, i8)> {
        (0..Self::FACTORS).rev().map_while(move |place| {
            let factor = self.0 >> (10 * place);
            let (unit, exponent) = ((factor >> 4 & 0x3F) as u8, (factor & 0xF) as u8);
            // Four bits of two's complement.
            (unit != 0).then_some((unit, (exponent << 4).cast_signed() >> 4))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metres_per_second_squared() {
        let unit = Unit::new(0, &[(1, 1), (3, -2)]).expect("fits");
        assert_eq!(unit, Unit(0x0044_3E00_0000_0000), "as in the protocol's own example");
        assert_eq!(unit.factors().collect::<Vec<_>>(), [(1, 1), (3, -2)]);
        let full = [(27, 7), (1, -8), (2, 0), (63, -1), (5, 1), (6, 3)];
        let unit = Unit::new(11, &full).expect("fits");
        assert_eq!((unit.prefix(), unit.factors().collect::<Vec<_>>()), (11, full.to_vec()));
        assert_eq!(Unit::new(16, &[]), None);
        assert_eq!(Unit::new(0, &[(64, 1)]), None);
        assert_eq!(Unit::new(0, &[(1, 8)]), None);
        assert_eq!(Unit::new(0, &[(1, 1); 7]), None);
    }
}

//! What least squares need of statistics.

/// A sum of squared standardised residuals that chance exceeds once in a thousand, by Wilson and Hilferty's
/// approximation of the χ² distribution (PNAS 17, 1931): within 2 % from one degree of freedom on.
pub(super) fn once_in_a_thousand(degrees: usize) -> f64 {
    const Z: f64 = 3.090_232_306_167_813;
    let k = degrees as f64;
    let spread = 2.0 / (9.0 * k);
    k * (1.0 - spread + Z * spread.sqrt()).powi(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_tables() {
        for (degrees, table) in [(3, 16.266), (6, 22.458), (30, 59.703), (100, 149.449)] {
            let found = once_in_a_thousand(degrees);
            assert!((found / table - 1.0).abs() < 0.02, "{degrees}: {found} beside {table}");
        }
    }
}

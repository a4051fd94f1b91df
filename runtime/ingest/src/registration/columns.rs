//! Comma-separated values with a heading that names the columns.
//!
//! **Status:** where a file must have the column `status`, lines that do not say `valid` there do not count. Lines that begin with
//! `#` and empty ones are passed over.

use super::{ENTRIES_MAX, RegistrationFileError, number};

/// Numbers of the columns that were asked for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Columns {
    /// Line of the file, counted from 1, and its numbers.
    pub(super) rows: Vec<(usize, Vec<f64>)>,
    /// How many lines did not say that they are valid.
    pub(super) passed_over: usize,
}

/// Reads columns by their names.
pub(super) fn of_text(text: &str, names: &[String], with_status: bool) -> Result<Columns, RegistrationFileError> {
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    let Some((_, heading)) = lines.next() else {
        return Err(RegistrationFileError::Whole("it is empty; a heading that names the columns is needed".into()));
    };
    let heading: Vec<&str> = heading.split(',').map(str::trim).collect();
    let column = |name: &str| {
        heading.iter().position(|c| *c == name).ok_or_else(|| {
            RegistrationFileError::Whole(format!("no column `{name}`; the columns are {}", heading.join(", ")))
        })
    };
    let places = names.iter().map(|name| column(name)).collect::<Result<Vec<_>, _>>()?;
    let status = with_status.then(|| column("status")).transpose()?;
    let mut found = Columns { rows: Vec::new(), passed_over: 0 };
    for (index, line) in lines {
        let words: Vec<&str> = line.split(',').map(str::trim).collect();
        if words.len() != heading.len() {
            let what = format!("{} values; the heading has {}", words.len(), heading.len());
            return Err(RegistrationFileError::line(index + 1, what));
        }
        if status.is_some_and(|at| words[at] != "valid") {
            found.passed_over += 1;
            continue;
        }
        let values = places.iter().zip(names).map(|(at, name)| number(index + 1, name, words[*at]));
        found.rows.push((index + 1, values.collect::<Result<_, _>>()?));
        if found.rows.len() > ENTRIES_MAX {
            return Err(RegistrationFileError::Whole(format!("more than {ENTRIES_MAX} lines")));
        }
    }
    Ok(found)
}

//! A registration that another program writes: `bregma register` makes it, `bregma register check --keep` says in it whether a
//! landmark that was touched again still fits. `bregma run` reads it whenever it has changed, so that nothing is restarted.
//!
//! **Nothing held is lost:** a file that is gone or wrong is told, and what was read before goes on; but a check that failed
//! ends it.

use super::Keeper;
use crate::config::{self, Kept};
use bregma_core::flow::Registration;
use bregma_core::frame::FrameId;
use bregma_core::time::{Duration, Instant};
use std::path::{Path, PathBuf};

/// The file, and what was last read from it.
#[derive(Debug)]
pub struct RegistrationFile {
    path: PathBuf,
    must_be_checked: bool,
    frame: FrameId,
    read: Option<Result<String, String>>,
}

impl RegistrationFile {
    /// Not read yet. `frame`: the scan's, whose coordinates it speaks of.
    #[must_use]
    pub fn new(path: &Path, must_be_checked: bool, frame: FrameId) -> Self {
        Self { path: path.to_path_buf(), must_be_checked, frame, read: None }
    }

    /// Reads it if it has changed, and tells the keeper. Says what happened; `None` where nothing did.
    pub fn look(&mut self, now: Instant, keeper: &Keeper) -> Option<String> {
        let read = std::fs::read_to_string(&self.path).map_err(|why| why.to_string());
        if self.read.as_ref() == Some(&read) {
            return None;
        }
        let path = self.path.display().to_string();
        let taken = read.clone().map_err(anyhow::Error::msg).and_then(|text| self.take(now, &text, keeper));
        self.read = Some(read);
        Some(match taken {
            Ok(words) => format!("{path}: {words}"),
            Err(why) => format!("{path} is not taken, and what was held before is: {why:#}"),
        })
    }

    fn take(&self, now: Instant, text: &str, keeper: &Keeper) -> anyhow::Result<String> {
        let Kept { registration, check, .. } = config::registration_of(text)?;
        match check {
            Some(check) if !check.passed => {
                let why = format!(
                    "a landmark was touched {:.1} mm from where it should be; at most {} mm is right",
                    check.worst_mm, check.limit_mm
                );
                keeper.withdraw(now, &why);
                return Ok(why);
            }
            None if self.must_be_checked => anyhow::bail!(
                "no landmark was touched since it was made: `bregma register check --keep` does so, and the configuration asks for it"
            ),
            Some(_) | None => {}
        }
        let expires = registration.expires.since(registration.registered).unwrap_or(Duration::ZERO);
        let patient_from_reference = registration.patient_from_reference.claimed_between(self.frame, FrameId::SOLE);
        keeper.register(Registration {
            patient_from_reference,
            registered: now,
            expires: now + expires,
            ..registration
        });
        Ok(format!(
            "registered, {:.2} mm predicted at the target{}",
            registration.predicted_tre.get(),
            check.map_or_else(String::new, |c| format!(
                ", {} landmarks touched within {:.1} mm",
                c.landmarks, c.worst_mm
            ))
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Events;
    use bregma_core::faults::Reason;
    use bregma_core::lane::Overflow;
    use bregma_core::runner::Latches;
    use bregma_core::topic::Publisher;

    const REGISTRATION: &str = "[source.registration]\ntranslation_mm = [1.0, 2.0, 3.0]\nquaternion_xyzw = [0.0, 0.0, 0.0, 1.0]\n\
         fre_mm = 0.5\npredicted_tre_mm = 0.8\nexpires_h = 6.0\n";

    fn check(worst_mm: f64, passed: bool) -> String {
        format!(
            "\n[source.registration.check]\nlandmarks = 2\nworst_mm = {worst_mm:?}\nlimit_mm = 2.0\npassed = {passed}\n"
        )
    }

    #[test]
    fn a_file_is_taken_up_when_it_is_checked_dropped_when_the_check_fails_and_kept_when_it_is_broken() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("registration.toml");
        let mut out = Publisher::new(5, "registration");
        let mut registrations = out.subscribe("test", 8, Overflow::Refuse);
        let latches = Latches::default();
        let keeper = Keeper::new(out, latches.clone(), Events::default()).expect("usual");
        let frame = FrameId::of_uid("1.2.3");
        let mut file = RegistrationFile::new(&path, true, frame);
        let at = |s: u64| Instant::START + Duration::from_secs(s);
        let said = file.look(at(1), &keeper).expect("there is no file");
        assert!(said.contains("is not taken"), "{said}");
        assert!(file.look(at(2), &keeper).is_none(), "said once");

        std::fs::write(&path, REGISTRATION).expect("written");
        let said = file.look(at(3), &keeper).expect("it has changed");
        assert!(said.contains("no landmark was touched") && registrations.take().is_none(), "{said}");

        std::fs::write(&path, REGISTRATION.to_owned() + &check(0.7, true)).expect("written");
        let said = file.look(at(4), &keeper).expect("it has changed");
        assert!(said.contains("0.80 mm predicted") && said.contains("2 landmarks touched within 0.7 mm"), "{said}");
        let taken = registrations.take().expect("published").value;
        assert_eq!((taken.registered, taken.expires), (at(4), at(4 + 6 * 3600)));
        assert_eq!(taken.patient_from_reference.to, frame);

        std::fs::write(&path, "[source.registration]\ntranslation_mm = [1.0").expect("written");
        let said = file.look(at(5), &keeper).expect("it has changed");
        assert!(said.contains("what was held before is") && registrations.take().is_none() && !keeper.lost(), "{said}");
        // A check that says that it passed though it did not.
        std::fs::write(&path, REGISTRATION.to_owned() + &check(3.1, true)).expect("written");
        assert!(file.look(at(6), &keeper).is_some_and(|said| said.contains("is not taken")) && !keeper.lost());

        std::fs::write(&path, REGISTRATION.to_owned() + &check(3.1, false)).expect("written");
        let said = file.look(at(7), &keeper).expect("it has changed");
        assert!(said.contains("3.1 mm") && keeper.lost() && latches.read().has(Reason::RegistrationLost), "{said}");
        assert_eq!(registrations.take().map(|r| r.value.expires), Some(at(7)));

        std::fs::write(&path, REGISTRATION.replace("[1.0, 2.0", "[4.0, 2.0") + &check(0.4, true)).expect("written");
        assert!(file.look(at(8), &keeper).is_some() && !keeper.lost() && !latches.read().has(Reason::RegistrationLost));
        assert_eq!(registrations.take().map(|r| r.value.registered), Some(at(8)));
    }
}

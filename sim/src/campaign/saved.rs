//! A campaign's standing in a file, so that a stopped one goes on where it was.
//!
//! Invariants: the file is replaced whole and durably, so that whenever the process ends there is
//! a standing in it; a file of another campaign, of another build or that cannot be read is
//! refused, and never taken for the beginning of a campaign.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Range, Standing, Totals};
use crate::world::digest;

/// Where the standing of one campaign is kept.
#[derive(Clone, Debug)]
pub struct Saved {
    path: PathBuf,
    build: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    /// A digest of the simulator: a seed means something in one build only.
    build: String,
    start: u64,
    mutants: Vec<String>,
    spent_ns: u64,
    totals: Totals,
}

#[expect(clippy::disallowed_methods, reason = "a campaign's own file, outside every universe")]
#[expect(clippy::disallowed_types, reason = "a campaign's own file, outside every universe")]
impl Saved {
    /// The file at `path`.
    ///
    /// # Errors
    /// If the running program cannot be read.
    pub fn at(path: &Path) -> io::Result<Self> {
        let program = std::fs::read(std::env::current_exe()?)?;
        Ok(Self { path: path.to_owned(), build: format!("{:016x}", digest(&program)) })
    }

    /// Where the campaign `range` was; at its beginning if there is no file.
    ///
    /// # Errors
    /// If the file cannot be read, or is another campaign's or another build's.
    pub fn load(&self, range: &Range) -> io::Result<Standing> {
        let text = match std::fs::read_to_string(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Standing::default()),
            Err(error) => return Err(self.refused(&error.to_string())),
            Ok(text) => text,
        };
        let content: Content =
            serde_json::from_str(&text).map_err(|error| self.refused(&error.to_string()))?;
        if content.build != self.build {
            return Err(self.refused("it is of another build of the simulator"));
        }
        if content.start != range.start || content.mutants != range.mutants {
            return Err(self.refused("its campaign has another --start or other mutants"));
        }
        if content.totals.covered() > range.seeds {
            return Err(self.refused("its campaign has more seeds"));
        }
        Ok(Standing { totals: content.totals, spent: content.spent_ns })
    }

    /// Replaces the file.
    ///
    /// # Errors
    /// What the file system returns.
    pub fn keep(&self, range: &Range, standing: &Standing) -> io::Result<()> {
        let content = Content {
            build: self.build.clone(),
            start: range.start,
            mutants: range.mutants.clone(),
            spent_ns: standing.spent,
            totals: standing.totals.clone(),
        };
        let text = serde_json::to_string(&content).map_err(io::Error::other)?;
        self.replace(&text).map_err(|error| {
            let text = format!("cannot write {}: {error}", self.path.display());
            io::Error::new(error.kind(), text)
        })
    }

    fn replace(&self, text: &str) -> io::Result<()> {
        let mut aside = self.path.clone().into_os_string();
        aside.push(".new");
        let mut file = std::fs::File::create(&aside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&aside, &self.path)
    }

    fn refused(&self, why: &str) -> io::Error {
        let text = format!("cannot resume {}: {why}", self.path.display());
        io::Error::new(io::ErrorKind::InvalidInput, text)
    }
}

//! Which disk becomes the state disk, and whether it may be written to.
//!
//! Takes what was observed on the disks and what the seed says, gives one decision. A disk is taken only with consent:
//! it is blank, or it carries our state partition, or the seed names its serial number and a wipe word that was not
//! used before. Touches nothing.

mod signature;

pub use signature::found_on;

use nodeimg_contract::seed;

/// Disks smaller than this are never taken (bytes).
pub const SMALLEST: u64 = 1 << 30;

/// One disk, as it was observed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskFacts {
    /// Kernel name (`vda`).
    pub name: String,
    /// Serial number.
    pub serial: Option<String>,
    /// Bytes.
    pub size: u64,
    /// What is on it.
    pub content: Content,
    /// Why it is out of the question whatever it holds, if it is.
    pub excluded: Option<Exclusion>,
}

/// What is on a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// First and last MiB are zero.
    Blank,
    /// Our state partition, by kernel name (`vda1`).
    State {
        /// The partition.
        partition: String,
    },
    /// Somebody's data, in words.
    Foreign {
        /// What was seen.
        found: String,
    },
    /// It could not be read.
    Unreadable,
}

/// Why a disk is never a state disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exclusion {
    /// The root lies on it.
    Root,
    /// The kernel says read-only.
    ReadOnly,
    /// A stick, a card, a drive for discs; taken only when the seed names its serial number.
    Removable,
    /// A seed lies on it.
    Seed,
    /// Too small.
    Small,
}

impl std::fmt::Display for Exclusion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Exclusion::Root => "holds the root",
            Exclusion::ReadOnly => "is read-only",
            Exclusion::Removable => "is removable",
            Exclusion::Seed => "holds the seed",
            Exclusion::Small => "is smaller than 1 GiB",
        })
    }
}

/// Why a disk may be formatted. Only [`decide`] and [`wipe_of_ours`] make one: it is the token that formatting asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consent {
    disk: String,
    wipe: Option<String>,
}

impl Consent {
    /// Kernel name of the disk that may be formatted, no other.
    pub fn disk(&self) -> &str {
        &self.disk
    }
    /// The wipe word that this uses up; none for a blank disk.
    pub fn wipe(&self) -> Option<&str> {
        self.wipe.as_deref()
    }
}

/// What to do about the state disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Mount this partition (kernel names).
    Use {
        /// `vda`.
        disk: String,
        /// `vda1`.
        partition: String,
    },
    /// Partition and format.
    Prepare(Consent),
    /// Nothing suits; more may appear.
    None {
        /// What was seen, for a person.
        seen: String,
    },
    /// Only disks of others.
    Foreign {
        /// `vda`.
        disk: String,
        /// Its serial number.
        serial: Option<String>,
        /// What it holds.
        found: String,
    },
    /// More than one would do, and a guess could destroy something.
    Ambiguous {
        /// The disks with their serial numbers, for a person.
        disks: String,
    },
}

/// Decides. `named` is the seed's `disk`.
pub fn decide(disks: &[DiskFacts], named: Option<&seed::Disk>) -> Decision {
    match named {
        Some(named) => decide_named(disks, named),
        None => decide_unnamed(disks),
    }
}

fn decide_named(disks: &[DiskFacts], named: &seed::Disk) -> Decision {
    let mut matching = disks.iter().filter(|d| d.serial.as_deref() == Some(named.serial.as_str()));
    let Some(disk) = matching.next() else {
        return Decision::None {
            seen: format!("no disk has the serial number \"{}\"; {}", named.serial, list(disks)),
        };
    };
    if let Some(other) = matching.next() {
        return Decision::Ambiguous { disks: format!("{}, {}", label(disk), label(other)) };
    }
    if let Some(why) = disk.excluded.filter(|e| *e != Exclusion::Removable) {
        return Decision::None { seen: format!("{} {why}", label(disk)) };
    }
    let foreign = |found: &str| match &named.wipe {
        Some(word) => Decision::Prepare(Consent { disk: disk.name.clone(), wipe: Some(word.clone()) }),
        None => Decision::Foreign {
            disk: disk.name.clone(),
            serial: disk.serial.clone(),
            found: found.to_owned(),
        },
    };
    match &disk.content {
        Content::State { partition } => {
            Decision::Use { disk: disk.name.clone(), partition: partition.clone() }
        }
        Content::Blank => Decision::Prepare(Consent { disk: disk.name.clone(), wipe: named.wipe.clone() }),
        Content::Foreign { found } => foreign(found),
        Content::Unreadable => Decision::None { seen: format!("{} cannot be read", label(disk)) },
    }
}

fn decide_unnamed(disks: &[DiskFacts]) -> Decision {
    let candidates: Vec<&DiskFacts> = disks.iter().filter(|d| d.excluded.is_none()).collect();
    let ours: Vec<(&DiskFacts, &String)> = candidates
        .iter()
        .filter_map(|d| match &d.content {
            Content::State { partition } => Some((*d, partition)),
            _ => None,
        })
        .collect();
    let blank: Vec<&DiskFacts> = candidates.iter().copied().filter(|d| d.content == Content::Blank).collect();
    match (ours.as_slice(), blank.as_slice()) {
        ([(disk, partition)], _) => {
            Decision::Use { disk: disk.name.clone(), partition: (*partition).clone() }
        }
        ([], [disk]) => Decision::Prepare(Consent { disk: disk.name.clone(), wipe: None }),
        ([], []) => candidates
            .iter()
            .find_map(|d| match &d.content {
                Content::Foreign { found } => Some(Decision::Foreign {
                    disk: d.name.clone(),
                    serial: d.serial.clone(),
                    found: found.clone(),
                }),
                _ => None,
            })
            .unwrap_or_else(|| Decision::None { seen: list(disks) }),
        ([], several) => Decision::Ambiguous { disks: labels(several.iter().copied()) },
        (several, _) => Decision::Ambiguous { disks: labels(several.iter().map(|(d, _)| *d)) },
    }
}

/// Leave to wipe our own state disk: the seed names its serial number and a word that its record does not hold.
pub fn wipe_of_ours(disk: &DiskFacts, named: Option<&seed::Disk>, used: &[String]) -> Option<Consent> {
    let named = named?;
    let word = named.wipe.as_ref()?;
    (disk.serial.as_deref() == Some(named.serial.as_str()) && !used.contains(word))
        .then(|| Consent { disk: disk.name.clone(), wipe: Some(word.clone()) })
}

fn label(disk: &DiskFacts) -> String {
    let serial = disk.serial.as_deref().unwrap_or("unknown");
    format!("{} (serial number {serial}, {} MiB)", disk.name, disk.size >> 20)
}

fn labels<'a>(disks: impl Iterator<Item = &'a DiskFacts>) -> String {
    disks.take(16).map(label).collect::<Vec<_>>().join(", ")
}

fn list(disks: &[DiskFacts]) -> String {
    if disks.is_empty() {
        return "no disk was found".to_owned();
    }
    let seen: Vec<String> = disks
        .iter()
        .take(16)
        .map(|d| match (d.excluded, &d.content) {
            (Some(why), _) => format!("{} {why}", d.name),
            (None, Content::Unreadable) => format!("{} cannot be read", d.name),
            (None, Content::Foreign { found }) => format!("{} holds {found}", d.name),
            (None, Content::Blank) => format!("{} is blank", d.name),
            (None, Content::State { .. }) => format!("{} is a state disk", d.name),
        })
        .collect();
    seen.join(", ")
}

#[cfg(test)]
mod tests;

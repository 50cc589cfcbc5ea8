//! Offsets of groups in a file: CSV as `kafka-consumer-groups` writes and reads it.
//!
//! Owns: the two forms of a line, `topic,partition,offset` for one group and
//! `group,topic,partition,offset` for several. Invariants: what is written here is read here; a file
//! is taken whole or not at all, and the line that is wrong is named. Source: KIP-122, KIP-222.

use std::collections::BTreeMap;
use std::path::Path;

use super::change::Place;
use crate::failure::Failure;

const OF_ONE: &str = "topic,partition,offset";
const OF_SEVERAL: &str = "group,topic,partition,offset";

/// Where each partition of each group is to go.
#[derive(Debug, PartialEq, Eq)]
pub struct Plan {
    /// The file, as it was named.
    shown: String,
    groups: BTreeMap<String, BTreeMap<Place, i64>>,
}

/// A line that is none.
#[derive(Debug, PartialEq, Eq)]
struct BadLine {
    /// The first is 1.
    number: usize,
    expected: &'static str,
    found: String,
}

impl Plan {
    /// Reads a file that is asked for of these groups.
    ///
    /// # Errors
    /// [`Failure::Read`], and [`Failure::Advised`] for a line that is none.
    pub fn read(path: &Path, asked: &[String]) -> Result<Self, Failure> {
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|source| Failure::Read { path: shown.clone(), source })?;
        match parsed(&text, asked) {
            Ok(groups) => Ok(Self { shown, groups }),
            Err(BadLine { number, expected, found }) => Err(Failure::Advised {
                what: format!("{shown} line {number}: expected {expected}, found '{found}'"),
                hint: "--export in place of --execute prints such lines".to_owned(),
            }),
        }
    }

    /// Where the partitions of a group go.
    ///
    /// # Errors
    /// [`Failure::Advised`] if the file has nothing of it.
    pub fn of(&self, group: &str) -> Result<&BTreeMap<Place, i64>, Failure> {
        self.groups.get(group).ok_or_else(|| Failure::Advised {
            what: format!("{} has no offset of group '{group}'", self.shown),
            hint: format!("its lines read {OF_SEVERAL}, or of a single group {OF_ONE}"),
        })
    }
}

/// A line of a file; with the group if the file is of several.
pub fn line(group: Option<&str>, (topic, partition): (&str, i32), offset: i64) -> String {
    let group = group.map(|group| quoted(group) + ",").unwrap_or_default();
    format!("{group}{},{partition},{offset}", quoted(topic))
}

/// The lines of a file. As in Kafka, the first line says whether the group is named, a file that
/// names none is of one group, and of two lines of a partition the later one counts.
fn parsed(text: &str, asked: &[String]) -> Result<BTreeMap<String, BTreeMap<Place, i64>>, BadLine> {
    let lines = || text.trim_end().lines();
    let names_none = lines().next().and_then(fields).is_none_or(|first| first.len() != 4);
    let only = match asked {
        [only] if names_none => Some(only),
        _ => None,
    };
    let expected = if only.is_some() { OF_ONE } else { OF_SEVERAL };
    let mut groups: BTreeMap<String, BTreeMap<Place, i64>> = BTreeMap::new();
    for (number, line) in (1..).zip(lines()) {
        let bad = || BadLine { number, expected, found: line.chars().take(256).collect() };
        let fields = fields(line).ok_or_else(bad)?;
        let (group, topic, partition, offset) = match (only, fields.as_slice()) {
            (Some(group), [topic, partition, offset]) => (group, topic, partition, offset),
            (None, [group, topic, partition, offset]) => (group, topic, partition, offset),
            _ => return Err(bad()),
        };
        let partition = partition.parse().ok().filter(|index: &i32| *index >= 0);
        let offset = offset.parse().ok().filter(|offset: &i64| *offset >= 0);
        let (Some(partition), Some(offset)) = (partition, offset) else { return Err(bad()) };
        if topic.is_empty() || group.is_empty() {
            return Err(bad());
        }
        let of_group = groups.entry(group.clone()).or_default();
        of_group.insert((topic.clone(), partition), offset);
    }
    Ok(groups)
}

/// The fields of a line. One in quotes may hold commas, and quotes twice.
fn fields(line: &str) -> Option<Vec<String>> {
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let Some(mut quoted) = rest.trim_start().strip_prefix('"') else {
            let (field, behind) = rest.split_once(',').map_or((rest, None), |(f, b)| (f, Some(b)));
            fields.push(field.trim().to_owned());
            match behind {
                Some(behind) => rest = behind,
                None => return Some(fields),
            }
            continue;
        };
        let mut field = String::new();
        loop {
            let (part, behind) = quoted.split_once('"')?;
            field.push_str(part);
            match behind.strip_prefix('"') {
                Some(more) => {
                    field.push('"');
                    quoted = more;
                },
                None => {
                    quoted = behind.trim();
                    break;
                },
            }
        }
        fields.push(field);
        if quoted.is_empty() {
            return Some(fields);
        }
        rest = quoted.strip_prefix(',')?;
    }
}

/// In quotes, if it could be taken for more than one field or for less.
fn quoted(field: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-');
    if !field.is_empty() && field.chars().all(is_plain) {
        return field.to_owned();
    }
    format!("\"{}\"", field.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(groups: &[&str]) -> Vec<String> {
        groups.iter().map(|group| (*group).to_owned()).collect()
    }

    /// Group, topic, partition, offset.
    type Line<'a> = (&'a str, &'a str, i32, i64);

    /// The offsets, or what is wrong in which line.
    fn check(text: &str, groups: &[&str], expected: Result<&[Line<'_>], (usize, &str)>) {
        let found = parsed(text, &asked(groups)).map_err(|bad| (bad.number, bad.expected));
        let found = found.map(|groups| {
            let each = |(group, places): (String, BTreeMap<Place, i64>)| {
                places.into_iter().map(move |((t, p), offset)| (group.clone(), t, p, offset))
            };
            groups.into_iter().flat_map(each).collect::<Vec<_>>()
        });
        let owned = |(g, t, p, o): &Line<'_>| ((*g).into(), (*t).into(), *p, *o);
        let expected = expected.map(|all| all.iter().map(owned).collect::<Vec<_>>());
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn a_file_of_one_group_need_not_name_it_and_one_of_several_does() {
        check("t,0,5\nt,1,7\n", &["g"], Ok(&[("g", "t", 0, 5), ("g", "t", 1, 7)]));
        let both = "g,t,0,5\r\nh,t,0,7\r\n\r\n";
        check(both, &["g"], Ok(&[("g", "t", 0, 5), ("h", "t", 0, 7)]));
        check(both, &["g", "h"], Ok(&[("g", "t", 0, 5), ("h", "t", 0, 7)]));
        check("t,0,5\nt, 0 ,6", &["g"], Ok(&[("g", "t", 0, 6)]));
        check("", &["g"], Ok(&[]));
    }

    #[test]
    fn a_line_that_is_none_is_named_and_what_it_should_be() {
        check("t,0,5\nt,one,5", &["g"], Err((2, OF_ONE)));
        check("t,0,5\ng,t,0,5", &["g"], Err((2, OF_ONE)));
        check("topic,partition,offset\nt,0,5", &["g"], Err((1, OF_ONE)));
        check("g,t,0,5\n\ng,t,1,5", &["g"], Err((2, OF_SEVERAL)));
        check("t,0,5", &["g", "h"], Err((1, OF_SEVERAL)));
        for bad in ["t,0,-1", "t,-1,0", ",0,5", "t,0", "\"t,0,5", "\"t\"x,0,5", "t,0,5,"] {
            let of = if bad.ends_with(',') { OF_SEVERAL } else { OF_ONE };
            check(bad, &["g"], Err((1, of)));
        }
    }

    #[test]
    fn what_is_written_is_read_again_and_so_are_kafkas_quotes() {
        let group = "of \"us\", all";
        let written = line(Some(group), ("orders", 3), 9);
        assert_eq!(written, "\"of \"\"us\"\", all\",orders,3,9");
        check(&written, &["g"], Ok(&[(group, "orders", 3, 9)]));

        assert_eq!(line(None, ("orders", 3), 9), "orders,3,9");
        // Kafka's writer puts every text of more than 24 characters in quotes.
        let long = "a-topic-with-a-name-that-is-long";
        check(&format!("\"{long}\",3,9"), &["g"], Ok(&[("g", long, 3, 9)]));
    }
}

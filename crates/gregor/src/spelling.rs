//! What was perhaps meant by a name that is not known.
//!
//! Pure: the same name and table give the same guess.

/// Edits between a name and the one that was meant, at most.
const EDITS_MAX: usize = 2;

/// The known name nearest to `name`: one with the same letters and digits, or one that a few edits
/// lead to.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    let same = known.clone().find(|other| bare(other) == bare(name));
    let edited = || {
        let near = known.map(|other| (edits(name, other), other));
        let near = near.filter(|(count, other)| *count <= EDITS_MAX && count * 3 < other.len());
        near.min_by_key(|(count, _)| *count).map(|(_, other)| other)
    };
    same.or_else(edited)
}

fn bare(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// Characters to insert, remove or change: Levenshtein's distance, row by row.
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (line, char) in from.chars().enumerate() {
        let mut left = line + 1;
        let mut fresh = vec![left];
        for (other, above) in to.iter().zip(row.windows(2)) {
            let [diagonal, above] = above else { continue };
            let changed = diagonal + usize::from(*other != char);
            left = changed.min(left + 1).min(above + 1);
            fresh.push(left);
        }
        row = fresh;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_the_name_and_something_else_finds_none() {
        let known = ["log.dirs", "num.partitions", "node.id"];
        let guess = |name| nearest(name, known.iter().copied());
        assert_eq!(guess("num_partitions"), Some("num.partitions"));
        assert_eq!(guess("num.partition"), Some("num.partitions"));
        assert_eq!(guess("num.partitoins"), Some("num.partitions"));
        assert_eq!(guess("LOG.DIR"), None);
        assert_eq!(guess("log.dir"), Some("log.dirs"));
        assert_eq!(guess("x"), None);
        assert_eq!((edits("", "abc"), edits("kitten", "sitting"), edits("a", "a")), (3, 3, 0));
    }
}

//! What a request asks for, partition by partition.
//!
//! Invariant: a partition that is named twice is asked for once, where it was named first and as it
//! was named last. Pure.

use std::sync::Arc;

use base::TopicId;
use broker::api::ClusterView;
use protocol::views::{Elements, FetchForgottenView, FetchPartitionView, FetchTopicView};

use super::TOPIC_ID_VERSION_MIN;
use crate::sessions::{Asked, Key, TopicKey, Wish};

/// Up to so many partitions, each is held against each.
const FEW: usize = 16;

/// Everything that is named, in order.
pub(super) fn all_of<'a>(
    version: i16,
    view: &'a ClusterView,
    topics: &Elements<'a, FetchTopicView<'a>>,
) -> impl Iterator<Item = Asked> {
    topics.clone().flat_map(move |topic| {
        let (key, name) = if version >= TOPIC_ID_VERSION_MIN {
            let known = view.by_id.get(&TopicId(topic.topic_id));
            (TopicKey::Id(topic.topic_id), known.map(|known| Arc::clone(&known.name)))
        } else {
            let known = view.topics.get_key_value(topic.topic);
            let name = known.map_or_else(|| Arc::from(topic.topic), |(name, _)| Arc::clone(name));
            (TopicKey::Name(name), None)
        };
        topic.partitions.map(move |part| {
            let key = Key { topic: key.clone(), index: part.partition };
            Asked::new(key, name.clone(), wish(part))
        })
    })
}

/// Everything that is to be forgotten.
pub(super) fn forgotten_of<'a>(
    version: i16,
    topics: &Elements<'a, FetchForgottenView<'a>>,
) -> impl Iterator<Item = Key> {
    topics.clone().flat_map(move |topic| {
        let key = match version {
            TOPIC_ID_VERSION_MIN.. => TopicKey::Id(topic.topic_id),
            _ => TopicKey::Name(Arc::from(topic.topic)),
        };
        topic.partitions.map(move |index| Key { topic: key.clone(), index })
    })
}

fn wish(part: FetchPartitionView) -> Wish {
    Wish {
        offset: part.fetch_offset,
        max_bytes: part.partition_max_bytes,
        current_leader_epoch: part.current_leader_epoch,
        last_fetched_epoch: part.last_fetched_epoch,
    }
}

/// Leaves each partition once. Allocates only if there are many and they do not come in order.
pub(super) fn distinct(asked: &mut Vec<Asked>) {
    let is_rising = asked.is_sorted_by(|a, b| a.key < b.key);
    if is_rising || (asked.len() <= FEW && !repeats(asked)) {
        return;
    }
    // Sorting keeps what is equal in order.
    let mut order: Vec<usize> = (0..asked.len()).collect();
    order.sort_by(|a, b| asked[*a].key.cmp(&asked[*b].key));
    let mut again: Vec<usize> = Vec::new();
    let mut last_of = Vec::new();
    for same in order.chunk_by(|a, b| asked[*a].key == asked[*b].key) {
        if let [first, later @ .., last] = same {
            last_of.push((*first, *last));
            again.extend(later.iter().chain([last]));
        }
    }
    if again.is_empty() {
        return;
    }
    for (first, last) in last_of {
        asked[first].wish = asked[last].wish;
    }
    again.sort_unstable();
    let (mut at, mut again) = (0_usize, again.into_iter().peekable());
    asked.retain(|_| {
        let goes = again.next_if_eq(&at).is_some();
        at = at.saturating_add(1);
        !goes
    });
    asked.shrink_to_fit();
}

fn repeats(asked: &[Asked]) -> bool {
    let mut rest = asked;
    while let [first, others @ ..] = rest {
        if others.iter().any(|other| other.key == first.key) {
            return true;
        }
        rest = others;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(index: i32, offset: i64) -> Asked {
        let key = Key { topic: TopicKey::Name(Arc::from("t")), index };
        let wish = Wish { offset, max_bytes: 1, current_leader_epoch: -1, last_fetched_epoch: -1 };
        Asked::new(key, None, wish)
    }

    fn left(named: &[(i32, i64)]) -> Vec<(i32, i64)> {
        let mut all: Vec<Asked> = named.iter().map(|(index, at)| asked(*index, *at)).collect();
        distinct(&mut all);
        all.iter().map(|part| (part.key.index, part.wish.offset)).collect()
    }

    #[test]
    fn a_partition_named_twice_stays_where_it_was_and_is_what_was_said_last() {
        assert_eq!(left(&[(2, 0), (1, 0), (2, 5), (0, 0), (2, 9)]), [(2, 9), (1, 0), (0, 0)]);
        assert_eq!(left(&[(1, 0), (0, 0)]), [(1, 0), (0, 0)]);
        assert_eq!(left(&[]), []);
    }

    #[test]
    fn many_partitions_are_told_apart_as_few_are() {
        let falling: Vec<(i32, i64)> = (0..40).map(|index| (40 - index, 0)).collect();
        assert_eq!(left(&falling), falling);

        let twice: Vec<(i32, i64)> = [&falling[..], &[(7, 3), (40, 4)]].concat();
        let last = |(index, at): &(i32, i64)| match index {
            7 => (7, 3),
            40 => (40, 4),
            _ => (*index, *at),
        };
        assert_eq!(left(&twice), falling.iter().map(last).collect::<Vec<_>>());
    }
}

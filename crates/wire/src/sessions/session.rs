//! One incremental fetch session: what its client wants, in which order, and what it was told.
//!
//! Owns: the partitions of a session, their order and its epoch. Invariants: each partition is there
//! once; what was answered with records goes to the end, so that every partition with records is
//! served before any is served twice; a partition is left out of an answer only if nothing about it
//! has changed since the client was told; an epoch is accepted once. Pure: no clock, no lock.
//! Source: KIP-227, KIP-516.

use std::collections::BTreeMap;
use std::sync::Arc;

use base::Uuid;

/// The first epoch after the one in which a session is made.
const EPOCH_FIRST: i32 = 1;
/// No slot.
const NONE: u32 = u32::MAX;
/// Memory that one partition takes at most: its slot and its place in the index, each in a container
/// that may be half empty. Names come on top.
const PARTITION_BYTES: usize = 2 * (size_of::<Slot>() + size_of::<Key>() + size_of::<u32>());

/// A topic as the client names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TopicKey {
    /// From version 13 on.
    Id(Uuid),
    /// Before.
    Name(Arc<str>),
}

/// A partition as the client names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) topic: TopicKey,
    pub(crate) index: i32,
}

/// What a client wants of a partition, in the numbers of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) offset: i64,
    pub(crate) max_bytes: i32,
    /// −1 for unknown.
    pub(crate) current_leader_epoch: i32,
    /// −1 for unknown.
    pub(crate) last_fetched_epoch: i32,
}

/// What an answer says of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct News {
    /// −1 with an error.
    pub(crate) high_watermark: i64,
    /// −1 with an error.
    pub(crate) log_start: i64,
    pub(crate) has_records: bool,
    pub(crate) is_error: bool,
    /// What the client has read is not what is here.
    pub(crate) is_diverging: bool,
}

/// One partition that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) key: Key,
    /// The name that the topic's id has, or had when it was last known.
    pub(crate) name: Option<Arc<str>>,
    pub(crate) wish: Wish,
    /// Its slot in the session, if there is one.
    pub(crate) slot: u32,
}

impl Asked {
    pub(crate) fn new(key: Key, name: Option<Arc<str>>, wish: Wish) -> Self {
        Self { key, name, wish, slot: NONE }
    }
}

/// Why a request does not fit its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// There is no such session (any more).
    Unknown,
    /// It is not this session's turn: the request was sent before, or one before it was lost.
    Epoch,
    /// The session names topics by id and the request does not, or the other way round.
    TopicIds,
}

/// What became of a session after a request changed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Its answer belongs to this epoch.
    Goes(i32),
    /// Nothing is left in it.
    Emptied,
}

/// What a session weighs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Weight {
    pub(crate) partitions: usize,
    /// An upper bound of its memory.
    pub(crate) bytes: usize,
}

impl Weight {
    /// What a session with these partitions would weigh.
    pub(crate) fn of(asked: &[Asked]) -> Self {
        let bytes = asked.iter().map(|part| bytes_of(&part.key)).sum();
        Self { partitions: asked.len(), bytes }
    }
}

fn bytes_of(key: &Key) -> usize {
    let name = match &key.topic {
        TopicKey::Id(_) => 0,
        TopicKey::Name(name) => name.len(),
    };
    PARTITION_BYTES.saturating_add(name)
}

#[derive(Debug)]
struct Slot {
    key: Key,
    name: Option<Arc<str>>,
    wish: Wish,
    high_watermark: i64,
    log_start: i64,
    before: u32,
    after: u32,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Session {
    by_id: bool,
    epoch: i32,
    index: BTreeMap<Key, u32>,
    /// A list in both directions; free slots are in no list.
    slots: Vec<Slot>,
    free: Vec<u32>,
    first: u32,
    last: u32,
    bytes: usize,
}

impl Session {
    /// An empty session whose requests name topics by id, or by name.
    pub(crate) fn new(by_id: bool) -> Self {
        Self {
            by_id,
            epoch: EPOCH_FIRST,
            index: BTreeMap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            first: NONE,
            last: NONE,
            bytes: 0,
        }
    }

    /// Whether a request may go on with this session.
    ///
    /// # Errors
    /// [`Refusal`], never [`Refusal::Unknown`].
    pub(crate) fn fits(&self, epoch: i32, by_id: bool) -> Result<(), Refusal> {
        if self.epoch != epoch {
            return Err(Refusal::Epoch);
        }
        if self.by_id != by_id {
            return Err(Refusal::TopicIds);
        }
        Ok(())
    }

    /// Whether the answer of this epoch is the next one: nothing has changed since its request.
    pub(crate) fn is_at(&self, epoch: i32) -> bool {
        self.epoch == epoch
    }

    /// Takes a wish in: a new partition comes last, one that is known keeps its place and what its
    /// client was told of it.
    pub(crate) fn want(&mut self, asked: Asked) {
        let known = self.index.get(&asked.key).copied();
        match known.and_then(|at| self.slot_mut(at)) {
            Some(slot) => slot.wish = asked.wish,
            None => self.add(asked, (-1, -1)),
        }
    }

    /// Takes in a partition with what its client is told of it (high watermark, log start).
    pub(crate) fn add(&mut self, asked: Asked, (high_watermark, log_start): (i64, i64)) {
        let Asked { key, name, wish, .. } = asked;
        let bytes = bytes_of(&key);
        let fresh = Slot {
            key: key.clone(),
            name,
            wish,
            high_watermark,
            log_start,
            before: NONE,
            after: NONE,
        };
        let at = match self.free.pop() {
            Some(at) => at,
            // More partitions than numbers have no room in memory either.
            None => u32::try_from(self.slots.len()).unwrap_or(NONE),
        };
        match self.slot_mut(at) {
            Some(slot) => *slot = fresh,
            None => self.slots.push(fresh),
        }
        let known = self.index.insert(key, at);
        base::invariant!(FETCH_SESSION_1, known.is_none(), "a partition is in a session twice");
        self.bytes = self.bytes.saturating_add(bytes);
        self.link_last(at);
    }

    /// Drops a partition, if it is there.
    pub(crate) fn forget(&mut self, key: &Key) {
        let Some(at) = self.index.remove(key) else { return };
        self.unlink(at);
        self.bytes = self.bytes.saturating_sub(bytes_of(key));
        if let Some(slot) = self.slot_mut(at) {
            // Nothing keeps the names alive.
            slot.key = Key { topic: TopicKey::Id(Uuid::ZERO), index: 0 };
            slot.name = None;
        }
        self.free.push(at);
    }

    /// The request is taken in.
    pub(crate) fn advance(&mut self) -> Progress {
        if self.index.is_empty() {
            return Progress::Emptied;
        }
        self.epoch = self.epoch.checked_add(1).unwrap_or(EPOCH_FIRST);
        Progress::Goes(self.epoch)
    }

    /// Everything that is wanted, in order. `name_of` is asked for names that are not known yet.
    pub(crate) fn in_order(&mut self, name_of: impl Fn(Uuid) -> Option<Arc<str>>) -> Vec<Asked> {
        let mut asked = Vec::with_capacity(self.index.len());
        let mut at = self.first;
        while let Some(slot) = self.slot_mut(at) {
            if let (None, TopicKey::Id(id)) = (&slot.name, &slot.key.topic) {
                slot.name = name_of(*id);
            }
            let (key, name) = (slot.key.clone(), slot.name.clone());
            asked.push(Asked { key, name, wish: slot.wish, slot: at });
            at = slot.after;
        }
        asked
    }

    /// Whether an answer has to name a partition, which then counts as told. After an error the
    /// client is told again once it is gone.
    pub(crate) fn tell(&mut self, at: u32, news: News) -> bool {
        let Some(slot) = self.slot_mut(at) else { return true };
        let told = (slot.high_watermark, slot.log_start);
        let has_changed = told != (news.high_watermark, news.log_start);
        slot.high_watermark = if news.is_error { -1 } else { news.high_watermark };
        slot.log_start = news.log_start;
        has_changed || news.has_records || news.is_error || news.is_diverging
    }

    /// Puts a partition behind all others.
    pub(crate) fn move_last(&mut self, at: u32) {
        if self.last != at && self.unlink(at) {
            self.link_last(at);
        }
    }

    pub(crate) fn weight(&self) -> Weight {
        let free = self.free.len().saturating_mul(PARTITION_BYTES);
        Weight { partitions: self.index.len(), bytes: self.bytes.saturating_add(free) }
    }

    fn slot_mut(&mut self, at: u32) -> Option<&mut Slot> {
        self.slots.get_mut(usize::try_from(at).ok()?)
    }

    fn link_last(&mut self, at: u32) {
        let last = std::mem::replace(&mut self.last, at);
        if let Some(slot) = self.slot_mut(at) {
            (slot.before, slot.after) = (last, NONE);
        }
        match self.slot_mut(last) {
            Some(slot) => slot.after = at,
            None => self.first = at,
        }
    }

    fn unlink(&mut self, at: u32) -> bool {
        let Some(slot) = self.slot_mut(at) else { return false };
        let (before, after) = (slot.before, slot.after);
        match self.slot_mut(before) {
            Some(slot) => slot.after = after,
            None => self.first = after,
        }
        match self.slot_mut(after) {
            Some(slot) => slot.before = before,
            None => self.last = before,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const WISH: Wish =
        Wish { offset: 0, max_bytes: 1, current_leader_epoch: -1, last_fetched_epoch: -1 };

    fn key(index: i32) -> Key {
        Key { topic: TopicKey::Name(Arc::from("t")), index }
    }

    fn session(partitions: i32) -> Session {
        let mut session = Session::new(false);
        for index in 0..partitions {
            session.add(Asked::new(key(index), None, WISH), (0, 0));
        }
        session
    }

    fn order(session: &mut Session) -> Vec<i32> {
        session.in_order(|_| None).into_iter().map(|part| part.key.index).collect()
    }

    fn slot_of(session: &mut Session, index: i32) -> u32 {
        session.in_order(|_| None).into_iter().find(|part| part.key.index == index).unwrap().slot
    }

    fn news(high_watermark: i64) -> News {
        News {
            high_watermark,
            log_start: 0,
            has_records: false,
            is_error: false,
            is_diverging: false,
        }
    }

    #[test]
    fn a_partition_is_named_when_something_about_it_changed_and_only_then() {
        let mut session = session(1);
        let slot = slot_of(&mut session, 0);

        assert!(!session.tell(slot, news(0)), "as it was");
        assert!(session.tell(slot, news(5)), "a new high watermark");
        assert!(!session.tell(slot, news(5)), "was told");
        assert!(session.tell(slot, News { has_records: true, ..news(5) }));
        assert!(session.tell(slot, News { log_start: 3, ..news(5) }), "a new log start");
        assert!(!session.tell(slot, News { log_start: 3, ..news(5) }), "was told");
        assert!(session.tell(slot, News { is_diverging: true, log_start: 3, ..news(5) }));
    }

    #[test]
    fn an_error_is_told_each_time_and_its_end_too() {
        let mut session = session(1);
        let slot = slot_of(&mut session, 0);
        let error = News { is_error: true, log_start: 0, ..news(0) };

        assert!(session.tell(slot, error));
        assert!(session.tell(slot, error));
        assert!(session.tell(slot, news(0)), "the error is gone");
        assert!(!session.tell(slot, news(0)));
    }

    #[test]
    fn what_was_served_goes_last_and_what_is_new_comes_behind_it() {
        let mut session = session(3);
        let first = slot_of(&mut session, 0);
        session.move_last(first);
        session.want(Asked::new(key(7), None, WISH));
        assert_eq!(order(&mut session), [1, 2, 0, 7]);

        let middle = slot_of(&mut session, 2);
        session.move_last(middle);
        session.move_last(middle);
        assert_eq!(order(&mut session), [1, 0, 7, 2]);
    }

    #[test]
    fn a_known_partition_keeps_its_place_and_takes_the_new_wish() {
        let mut session = session(2);
        let slot = slot_of(&mut session, 0);
        assert!(session.tell(slot, news(9)));

        session.want(Asked::new(key(0), None, Wish { offset: 9, ..WISH }));

        let asked = session.in_order(|_| None);
        assert_eq!((asked[0].key.index, asked[0].wish.offset), (0, 9));
        assert!(!session.tell(slot, news(9)), "what was told before still counts");
    }

    #[test]
    fn an_epoch_is_accepted_once_and_after_the_last_comes_the_first() {
        let mut session = session(1);
        assert_eq!(session.fits(0, false), Err(Refusal::Epoch));
        assert_eq!(session.fits(1, true), Err(Refusal::TopicIds));
        assert_eq!(session.fits(1, false), Ok(()));
        assert_eq!(session.advance(), Progress::Goes(2));
        assert_eq!(session.fits(1, false), Err(Refusal::Epoch));
        assert!(session.is_at(2) && !session.is_at(1));

        session.epoch = i32::MAX;
        assert_eq!(session.advance(), Progress::Goes(1));
    }

    #[test]
    fn a_session_in_which_nothing_is_left_ends() {
        let mut session = session(2);
        session.forget(&key(0));
        session.forget(&key(9));
        assert_eq!(session.advance(), Progress::Goes(2));
        session.forget(&key(1));

        assert_eq!(session.advance(), Progress::Emptied);
        assert_eq!(session.weight().partitions, 0);
    }

    #[test]
    fn the_name_of_an_id_is_learnt_once_and_outlives_the_topic() {
        let mut session = Session::new(true);
        let key = Key { topic: TopicKey::Id(Uuid([1; 16])), index: 0 };
        session.want(Asked::new(key, None, WISH));

        assert_eq!(session.in_order(|_| None)[0].name, None);
        assert_eq!(session.in_order(|_| Some(Arc::from("t")))[0].name.as_deref(), Some("t"));
        assert_eq!(session.in_order(|_| None)[0].name.as_deref(), Some("t"));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Want(i32),
        Forget(i32),
        Serve(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (0..6).prop_map(Step::Want),
            (0..6).prop_map(Step::Forget),
            (0usize..6).prop_map(Step::Serve),
        ];
        vec(step, 0..60)
    }

    proptest! {
        #[test]
        fn the_order_is_that_of_a_plain_list(steps in steps()) {
            let mut session = session(0);
            let (mut list, mut most): (Vec<i32>, usize) = (Vec::new(), 0);
            for step in steps {
                match step {
                    Step::Want(index) => {
                        session.want(Asked::new(key(index), None, WISH));
                        if !list.contains(&index) {
                            list.push(index);
                        }
                    },
                    Step::Forget(index) => {
                        session.forget(&key(index));
                        list.retain(|other| *other != index);
                    },
                    Step::Serve(at) if at < list.len() => {
                        let index = list.remove(at);
                        let slot = slot_of(&mut session, index);
                        session.move_last(slot);
                        list.push(index);
                    },
                    Step::Serve(_) => {},
                }
                prop_assert_eq!(&order(&mut session), &list);
                // Room that was taken once is kept, and counted.
                most = most.max(list.len());
                let bytes = most * PARTITION_BYTES + list.len();
                prop_assert_eq!(session.weight(), Weight { partitions: list.len(), bytes });
            }
        }
    }
}

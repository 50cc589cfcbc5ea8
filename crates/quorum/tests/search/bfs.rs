//! Breadth-first search over hashed states.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

/// What can be searched.
pub trait Model: Clone {
    type Action: Copy;

    /// Two states with the same one go on alike.
    fn fingerprint(&self) -> u128;

    /// What may happen next.
    fn actions(&self) -> Vec<Self::Action>;
    /// Lets it happen. An error is a property that does not hold.
    fn take(&mut self, action: Self::Action) -> Result<(), String>;
    /// What happened, for people; `self` is before it.
    fn describe(&self, action: Self::Action) -> String;
}

/// How a search ended.
pub struct Found {
    pub states: usize,
    pub depth: usize,
    pub took: Duration,
    /// Every state within the bound was seen.
    pub whole: bool,
    /// The property and the shortest way to break it.
    pub broken: Option<(String, Vec<String>)>,
}

/// Two hashes of 64 bits: that two states are taken for one has a chance of 2^-70 with a billion of them.
pub fn fingerprint(model: &impl Hash) -> u128 {
    let half = |salt: u64| {
        let mut hasher = DefaultHasher::new();
        salt.hash(&mut hasher);
        model.hash(&mut hasher);
        u128::from(hasher.finish())
    };
    half(1) << 64 | half(2)
}

/// Searches from `start`, through at most `states_max` states.
pub fn search<M: Model>(start: &M, states_max: usize) -> Found {
    let begun = Instant::now();
    let mut seen: HashMap<u128, (u128, Option<M::Action>)> = HashMap::new();
    let root = start.fingerprint();
    seen.insert(root, (0, None));
    let mut layer = vec![(root, start.clone())];
    let mut depth = 0;
    while !layer.is_empty() {
        let mut next = Vec::new();
        for (from, state) in &layer {
            for action in state.actions() {
                let mut after = state.clone();
                if let Err(why) = after.take(action) {
                    let mut way = trace(start, &seen, *from);
                    way.push(state.describe(action));
                    let (states, took) = (seen.len(), begun.elapsed());
                    return Found { states, depth, took, whole: false, broken: Some((why, way)) };
                }
                let print = after.fingerprint();
                if let Entry::Vacant(vacant) = seen.entry(print) {
                    vacant.insert((*from, Some(action)));
                    next.push((print, after));
                }
            }
            if seen.len() > states_max {
                println!("{} states, {depth} deep, {} wait", seen.len(), next.len());
                let (states, took) = (seen.len(), begun.elapsed());
                return Found { states, depth, took, whole: false, broken: None };
            }
        }
        layer = next;
        depth += 1;
    }
    Found { states: seen.len(), depth, took: begun.elapsed(), whole: true, broken: None }
}

fn trace<M: Model>(
    start: &M,
    seen: &HashMap<u128, (u128, Option<M::Action>)>,
    mut at: u128,
) -> Vec<String> {
    let mut actions = Vec::new();
    while let Some((before, Some(action))) = seen.get(&at) {
        actions.push(*action);
        at = *before;
    }
    let mut state = start.clone();
    let mut lines = Vec::new();
    for action in actions.into_iter().rev() {
        lines.push(state.describe(action));
        state.take(action).unwrap();
    }
    lines
}

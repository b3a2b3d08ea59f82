//! Where things stand in the lists of a world, so that a world of many thousand VMs answers quickly.
//!
//! Invariants: this is no state. A place is believed only when the thing that stands there has the id that was asked for;
//! everything else is found by looking through the list. Short lists are always looked through. It is not saved, not
//! compared and not copied.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::sync::{Mutex, PoisonError};

use super::Job;
use azmend_arm::id::ResourceId;

/// Lists up to this length are looked through.
const SHORT: usize = 64;

/// The places of all lists that are asked by id.
#[derive(Debug, Default)]
pub(crate) struct Places {
    pub groups: List,
    pub vms: List,
    pub collections: List,
    pub vaults: List,
    pub policies: List,
    pub items: List,
    pub jobs: List,
    /// Answers of Resource Graph that go on.
    pub pages: crate::providers::graph::Pages,
}

impl Clone for Places {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Places {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// The places of one list, by a hash of the id.
#[derive(Debug, Default)]
pub(crate) struct List(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// The length of the list when it was looked through.
    length: usize,
    at: HashMap<u64, Vec<u32>>,
}

fn hash(id: &ResourceId) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

impl Known {
    fn learn<T>(&mut self, list: &[T], of: impl Fn(&T) -> &ResourceId) {
        if self.length == list.len() {
            return;
        }
        self.length = list.len();
        self.at.clear();
        for (place, one) in (0..).zip(list) {
            self.at.entry(hash(of(one))).or_default().push(place);
        }
    }
}

impl List {
    /// The first thing with this id.
    pub fn find<'a, T>(&self, list: &'a [T], id: &ResourceId, of: impl Fn(&T) -> &ResourceId) -> Option<&'a T> {
        if list.len() > SHORT {
            let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            known.learn(list, &of);
            let places = known.at.get(&hash(id)).map(Vec::as_slice).unwrap_or_default();
            let found = places.iter().filter_map(|place| list.get(*place as usize)).find(|one| of(one) == id);
            if found.is_some() {
                return found;
            }
        }
        list.iter().find(|one| of(one) == id)
    }

    /// The jobs of an item, in their order. Jobs are added at the end and never taken away, nor moved to another item.
    pub fn jobs_of<'a>(&self, jobs: &'a [Job], item: &ResourceId) -> Vec<&'a Job> {
        if jobs.len() <= SHORT {
            return jobs.iter().filter(|job| job.item == *item).collect();
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.learn(jobs, |job| &job.item);
        let places = known.at.get(&hash(item)).map(Vec::as_slice).unwrap_or_default();
        places.iter().filter_map(|place| jobs.get(*place as usize)).filter(|job| job.item == *item).collect()
    }
}

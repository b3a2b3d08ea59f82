//! A bulk reading as a stream: VMs come page by page, are looked at, and are let go.
//!
//! Duty: [`Scan::open`] reads what every VM may need (items, policies, jobs, collections, extensions that are not well,
//! groups, locks), and of VMs below a lock already what is read of them alone ([`early`]); [`Scan::run`] reads the VMs and
//! hands them on, those that look suspicious with what was read of them alone. Invariants: each VM is handed on once, unless
//! it goes meanwhile; at the end every VM of the scope is known by its key; single reads are spread over the subscriptions,
//! for each has a quota of its own, and a bounded number is out at once. Kept is what cannot be let go before the last VM:
//! one row for each collection and item, and the suspicious VMs that wait for their reads or for their row.

use std::collections::{HashMap, VecDeque};
use std::future::Future as _;
use std::sync::PoisonError;
use std::task::Poll;

use futures::FutureExt as _;
use futures::future::{Either, select};
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::sync::OnceCell;

use super::graph::scope_of;
use super::single_reads::{self, Reads, Vaults, suspicious, untold};
use super::watch::{Seen, Stage, Watch};
use super::{
    Bulk, CONCURRENCY, Collector, Deep, GraphFailed, Index, Jobs, Kind, Selection, arm, graph, prefetch, read_own,
    take_own,
};
use crate::arm::{Arm, ArmError, GraphRefusal};
use crate::facts::graph::{GraphReader, VmRow};
use crate::facts::inventory::Visible;
use crate::facts::read::Reader;

/// VMs that are handed on together.
const CHUNK: usize = 1000;
/// How many suspicious VMs may wait for their reads.
const WAITING: usize = 10_000;
/// How many VMs are read by themselves at once, and how many of them of one subscription.
const SINGLE: usize = 32;
const EACH: usize = 8;
/// Watchers are told of single reads after this many.
const TELL: usize = 16;

/// Takes VMs with what was read of them alone.
pub type Sink<'a> = dyn FnMut(&Bulk, &Index, Vec<VmRow>, Deep) + Send + 'a;

/// A reading that has begun.
pub struct Scan<'a> {
    reader: Reader<'a>,
    visible: &'a Visible,
    watch: &'a dyn Watch,
    bulk: Bulk,
    index: Index,
    /// Lists of ARM may take the place of Resource Graph.
    may_change: bool,
    seen: Seen,
    vaults: Vaults,
    /// What was read of VMs before they were listed, by their keys.
    early: HashMap<String, Deep>,
}

impl std::fmt::Debug for Scan<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Scan({:?}, {:?})", self.bulk.collector, self.seen)
    }
}

impl<'a> Scan<'a> {
    /// Reads the lists. With `wanted` unset Resource Graph is asked, and lists of ARM where it refuses.
    ///
    /// # Errors
    /// [`GraphFailed`] when Resource Graph was wanted by name and refuses; every other problem is a gap.
    pub async fn open(
        arm: &'a Arm,
        visible: &'a Visible,
        selection: &Selection,
        wanted: Option<Collector>,
        jobs: Jobs,
        watch: &'a dyn Watch,
    ) -> Result<Self, GraphFailed> {
        let reader = Reader::new(arm, CONCURRENCY);
        let mut seen = Seen { subscriptions: visible.chosen.len(), ..Seen::default() };
        tell(&reader, watch, &mut seen);
        let (vaults, early, own) = (Vaults::default(), prefetch::Ready::default(), OnceCell::new());
        // Side by side: Resource Graph and each subscription have quotas of their own.
        let mut lists = Box::pin(lists(&reader, visible, selection, wanted, jobs).fuse());
        let mut others = Box::pin(
            async {
                let read = own.get_or_init(|| read_own(&reader, visible)).await;
                // With a narrower selection it is not known whether they are asked for.
                if !selection.narrows() {
                    prefetch::read(&reader, read, &vaults, &early).await;
                }
            }
            .fuse(),
        );
        // Told whenever an answer moves it on. What is read early goes on as long as the lists take.
        let mut listed = None;
        let read = std::future::poll_fn(|context| {
            if let Poll::Ready(read) = lists.as_mut().poll(context) {
                listed = Some(read);
            }
            let _going_on = others.as_mut().poll(context);
            tell(&reader, watch, &mut seen);
            match own.initialized().then(|| listed.take()).flatten() {
                Some(read) => Poll::Ready(read),
                None => Poll::Pending,
            }
        });
        let read = read.await;
        drop(lists);
        drop(others);
        let mut bulk = read?;
        take_own(&mut bulk, own.into_inner().unwrap_or_default());
        for line in &visible.malformed {
            for kind in [Kind::Vms, Kind::Vaults] {
                bulk.add_gap(kind, None, "a subscription", line);
            }
        }
        bulk.sort();
        let index = Index::of(&bulk);
        let early = early.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(Self { reader, visible, watch, bulk, index, may_change: wanted.is_none(), seen, vaults, early })
    }

    /// What was read so far.
    #[must_use]
    pub const fn bulk(&self) -> &Bulk {
        &self.bulk
    }

    /// Reads the VMs and hands them on; at the end comes what belongs to none of them. Suspicious VMs are read while the
    /// next pages come: Resource Graph and each subscription have quotas of their own.
    ///
    /// # Errors
    /// As [`Scan::open`].
    pub async fn run(self, sink: &mut Sink<'_>) -> Result<(Bulk, Index, Deep), GraphFailed> {
        let Self { reader, visible, watch, mut bulk, index, may_change, mut seen, vaults, mut early } = self;
        let (reader, vaults) = (&reader, &vaults);
        let in_vault = bulk.in_vault();
        let (mut notes, mut line) = (Deep::default(), Line::default());
        let mut reads = FuturesUnordered::new();
        let graph = (bulk.collector == Collector::Graph)
            .then(|| GraphReader::<VmRow>::new(reader.arm, scope_of(&visible.chosen)));
        // The collector of plain lists has its VMs already.
        let mut idle = Some(Pages { listed: std::mem::take(&mut bulk.vms).into_iter(), graph });
        let mut next = None;
        loop {
            while let Some((row, wanted)) = line.next() {
                reads.push(async move {
                    let deep = wanted.read(reader, vaults).await;
                    (row, deep)
                });
            }
            if let Some(pages) = idle.take_if(|_| line.waiting < WAITING) {
                next = Some(Box::pin(pages.next()));
            }
            let came = match (&mut next, reads.is_empty()) {
                (None, true) => break,
                (None, false) => Either::Right(reads.next().await),
                (Some(page), true) => Either::Left(page.await),
                (Some(page), false) => match select(page, reads.next()).await {
                    Either::Left((page, _)) => Either::Left(page),
                    Either::Right((read, _)) => Either::Right(read),
                },
            };
            let rows = match came {
                Either::Right(None) => continue,
                Either::Right(Some((row, mut deep))) => {
                    line.done(&row);
                    notes.vms += deep.vms;
                    notes.not_read.append(&mut deep.not_read);
                    if deep.gone {
                        bulk.forget(&row.vm.id);
                    } else {
                        sink(&bulk, &index, vec![row], deep);
                    }
                    seen.read += 1;
                    if seen.read.is_multiple_of(TELL) {
                        tell(reader, watch, &mut seen);
                    }
                    continue;
                }
                Either::Left((pages, Ok(Some(mut page)))) => {
                    // Those of a list were chosen with it.
                    if pages.graph.is_some() {
                        bulk.select(&mut page, &in_vault);
                    }
                    seen.vms_left = pages.left();
                    (idle, next) = (Some(pages), None);
                    page
                }
                Either::Left((pages, Ok(None))) => {
                    if let Some(missing) = pages.incomplete() {
                        bulk.add_gap(Kind::Vms, None, "all subscriptions", &missing);
                    }
                    (next, seen.stage) = (None, Stage::Suspicious);
                    continue;
                }
                Either::Left((_, Err(error))) if !may_change => return Err(GraphFailed(error)),
                Either::Left((_, Err(error))) => {
                    tracing::info!(%error, "resource graph ended; the rest of the VMs is read from lists of ARM");
                    let mut rest = arm::vms(reader, &mut bulk, visible).await;
                    bulk.select(&mut rest, &in_vault);
                    let pages = Pages { listed: rest.into_iter(), graph: None };
                    (idle, next, seen.vms_left) = (Some(pages), None, None);
                    continue;
                }
            };
            let mut well = Vec::new();
            for row in rows {
                seen.vms += 1;
                let alone = suspicious(&bulk, &index, &row);
                if alone || untold(&bulk, &index, &row) {
                    seen.to_read += 1;
                    let begun = early.remove(row.vm.id.key());
                    line.push(Reads::of(&bulk, &index, &row).light(!alone).after(begun), row);
                } else {
                    well.push(row);
                }
            }
            sink(&bulk, &index, well, Deep::default());
            seen.stage = Stage::Vms;
            tell(reader, watch, &mut seen);
        }
        drop(reads);
        let mut rest = single_reads::rest(reader, &bulk, &index).await;
        vaults.note(&mut notes);
        rest.absorb(notes);
        rest.tidy();
        seen.stage = Stage::Suspicious;
        tell(reader, watch, &mut seen);
        Ok((bulk, index, rest))
    }
}

/// Pages of VMs: of a list that was read, or of Resource Graph.
struct Pages {
    listed: std::vec::IntoIter<VmRow>,
    graph: Option<GraphReader<VmRow>>,
}

impl Pages {
    async fn next(mut self) -> (Self, Result<Option<Vec<VmRow>>, ArmError>) {
        let listed: Vec<VmRow> = self.listed.by_ref().take(CHUNK).collect();
        let page = match &mut self.graph {
            _ if !listed.is_empty() => Ok(Some(listed)),
            Some(graph) => Box::pin(graph.next_page()).await,
            None => Ok(None),
        };
        (self, page)
    }

    fn left(&self) -> Option<u64> {
        self.graph.as_ref().map_or_else(|| u64::try_from(self.listed.len()).ok(), GraphReader::left)
    }

    fn incomplete(&self) -> Option<String> {
        self.graph.as_ref()?.incomplete().into_iter().next()
    }
}

/// Suspicious VMs that wait for their reads: one subscription after the other takes its turn, so that no quota is asked
/// again while another is full, and none holds all places.
#[derive(Default)]
struct Line {
    of: HashMap<String, Queue>,
    /// Subscriptions with waiting VMs, in turn.
    turn: VecDeque<String>,
    waiting: usize,
    out: usize,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<(VmRow, Reads)>,
    out: usize,
}

impl Line {
    fn push(&mut self, wanted: Reads, row: VmRow) {
        let subscription = row.vm.id.subscription().to_lowercase();
        let queue = self.of.entry(subscription.clone()).or_default();
        if queue.waiting.is_empty() {
            self.turn.push_back(subscription);
        }
        queue.waiting.push_back((row, wanted));
        self.waiting += 1;
    }

    /// The next one that may be read now.
    fn next(&mut self) -> Option<(VmRow, Reads)> {
        if self.out >= SINGLE {
            return None;
        }
        for _ in 0..self.turn.len() {
            let subscription = self.turn.pop_front()?;
            let Some(queue) = self.of.get_mut(&subscription) else { continue };
            let found = if queue.out < EACH { queue.waiting.pop_front() } else { None };
            if found.is_some() {
                queue.out += 1;
                self.out += 1;
                self.waiting -= 1;
            }
            if !queue.waiting.is_empty() {
                self.turn.push_back(subscription);
            }
            if found.is_some() {
                return found;
            }
        }
        None
    }

    fn done(&mut self, row: &VmRow) {
        self.out = self.out.saturating_sub(1);
        if let Some(queue) = self.of.get_mut(&row.vm.id.subscription().to_lowercase()) {
            queue.out = queue.out.saturating_sub(1);
        }
    }
}

fn tell(reader: &Reader<'_>, watch: &dyn Watch, seen: &mut Seen) {
    (seen.calls, seen.waited) = (reader.arm.calls(), reader.arm.waited().as_secs());
    watch.seen(reader.now(), seen);
}

async fn lists(
    reader: &Reader<'_>,
    visible: &Visible,
    selection: &Selection,
    wanted: Option<Collector>,
    jobs: Jobs,
) -> Result<Bulk, GraphFailed> {
    let refused: ArmError = match wanted {
        Some(Collector::Arm) => return Ok(Box::pin(arm::read(reader, visible, selection, jobs)).await),
        _ => match Box::pin(graph::read(reader, visible, selection, jobs)).await {
            Ok(bulk) => return Ok(bulk),
            Err(error) if wanted.is_some() => return Err(GraphFailed(error)),
            Err(error) => error,
        },
    };
    tracing::info!(refusal = ?GraphRefusal::of(&refused), "resource graph does not answer; lists of ARM are read");
    Ok(Box::pin(arm::read(reader, visible, selection, jobs)).await)
}

//! A bulk reading as a stream: VMs come page by page, are looked at, and are let go.
//!
//! Duty: [`Scan::open`] reads what every VM may need (items, policies, jobs, collections, extensions that are not well,
//! groups, locks); [`Scan::run`] reads the VMs and hands them on, those that look suspicious with what was read of them
//! alone. Invariants: each VM is handed on once; at the end every VM of the scope is known by its key; single reads are
//! spread over the subscriptions, for each has a quota of its own, and a bounded number is out at once. Kept is what cannot
//! be let go before the last VM: one row for each collection and item, and the suspicious VMs that wait for their reads.

use std::collections::HashMap;

use futures::stream::{self, StreamExt};

use super::deep::{self, Vaults, suspicious};
use super::graph::scope_of;
use super::watch::{Seen, Stage, Watch};
use super::{Bulk, CONCURRENCY, Collector, Deep, GraphFailed, Index, Jobs, Kind, Selection, arm, graph, read_locks};
use crate::arm::{Arm, ArmError, GraphRefusal};
use crate::estate::graph::{GraphReader, VmRow};
use crate::estate::inventory::Visible;
use crate::estate::read::Reader;

/// VMs that are handed on together.
const CHUNK: usize = 1000;
/// How many suspicious VMs may wait for their reads.
const WAITING: usize = 10_000;
/// How many VMs are read by themselves at once.
const SINGLE: usize = 32;
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
        let mut lists = Box::pin(lists(&reader, visible, selection, wanted, jobs));
        // Told whenever an answer moves it on.
        let read = std::future::poll_fn(|context| {
            let polled = lists.as_mut().poll(context);
            tell(&reader, watch, &mut seen);
            polled
        });
        let mut bulk = read.await?;
        drop(lists);
        for line in &visible.malformed {
            for kind in [Kind::Vms, Kind::Vaults] {
                bulk.add_gap(kind, None, "a subscription", line);
            }
        }
        read_locks(&reader, &mut bulk, visible).await;
        bulk.sort();
        let index = Index::of(&bulk);
        Ok(Self { reader, visible, watch, bulk, index, may_change: wanted.is_none(), seen, vaults: Vaults::default() })
    }

    /// What was read so far.
    #[must_use]
    pub const fn bulk(&self) -> &Bulk {
        &self.bulk
    }

    /// Reads the VMs and hands them on; at the end comes what belongs to none of them.
    ///
    /// # Errors
    /// As [`Scan::open`].
    pub async fn run(mut self, sink: &mut Sink<'_>) -> Result<(Bulk, Index, Deep), GraphFailed> {
        self.seen.stage = Stage::Vms;
        let in_vault = self.bulk.in_vault();
        let mut notes = Deep::default();
        let mut waiting = Vec::new();
        // The collector of plain lists has its VMs already.
        let listed = std::mem::take(&mut self.bulk.vms);
        self.hand_on(listed, sink, &mut waiting, &mut notes).await;
        if self.bulk.collector == Collector::Graph {
            let mut pages = GraphReader::<VmRow>::new(self.reader.arm, scope_of(&self.visible.chosen));
            loop {
                let mut page = match Box::pin(pages.next_page()).await {
                    Ok(Some(page)) => page,
                    Ok(None) => break,
                    Err(error) => {
                        if !self.may_change {
                            return Err(GraphFailed(error));
                        }
                        tracing::info!(%error, "resource graph ended; the rest of the VMs is read from lists of ARM");
                        let mut rest = arm::vms(&self.reader, &mut self.bulk, self.visible).await;
                        self.bulk.select(&mut rest, &in_vault);
                        self.hand_on(rest, sink, &mut waiting, &mut notes).await;
                        break;
                    }
                };
                self.bulk.select(&mut page, &in_vault);
                self.seen.vms_left = pages.left();
                self.hand_on(page, sink, &mut waiting, &mut notes).await;
            }
            if let Some(missing) = pages.incomplete().first() {
                self.bulk.add_gap(Kind::Vms, None, "all subscriptions", missing);
            }
        }
        self.read_waiting(&mut waiting, sink, &mut notes).await;
        let mut rest = deep::rest(&self.reader, &self.bulk, &self.index).await;
        self.vaults.note(&mut notes);
        rest.absorb(notes);
        rest.tidy();
        tell(&self.reader, self.watch, &mut self.seen);
        Ok((self.bulk, self.index, rest))
    }

    /// Hands VMs on that look well; the others wait.
    async fn hand_on(&mut self, rows: Vec<VmRow>, sink: &mut Sink<'_>, waiting: &mut Vec<VmRow>, notes: &mut Deep) {
        let mut rows = rows.into_iter().peekable();
        while rows.peek().is_some() {
            let mut well = Vec::new();
            for row in rows.by_ref().take(CHUNK) {
                self.seen.vms += 1;
                match suspicious(&self.bulk, &self.index, &row) {
                    true => waiting.push(row),
                    false => well.push(row),
                }
            }
            sink(&self.bulk, &self.index, well, Deep::default());
            self.seen.to_read = self.seen.read + waiting.len();
            tell(&self.reader, self.watch, &mut self.seen);
            if waiting.len() >= WAITING {
                self.read_waiting(waiting, sink, notes).await;
            }
        }
    }

    async fn read_waiting(&mut self, waiting: &mut Vec<VmRow>, sink: &mut Sink<'_>, notes: &mut Deep) {
        self.seen.stage = Stage::Suspicious;
        let rows = spread(std::mem::take(waiting));
        let (reader, bulk, index, vaults) = (&self.reader, &self.bulk, &self.index, &self.vaults);
        let calls = rows.into_iter().map(|row| async move {
            let deep = deep::one(reader, bulk, index, vaults, &row).await;
            (row, deep)
        });
        let mut reads = std::pin::pin!(stream::iter(calls).buffer_unordered(SINGLE));
        while let Some((row, mut deep)) = reads.next().await {
            notes.vms += deep.vms;
            notes.not_read.append(&mut deep.not_read);
            sink(bulk, index, vec![row], deep);
            self.seen.read += 1;
            if self.seen.read.is_multiple_of(TELL) {
                tell(reader, self.watch, &mut self.seen);
            }
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

/// One of each subscription, then the next of each: no quota is asked for twice while another is full.
fn spread(rows: Vec<VmRow>) -> Vec<VmRow> {
    let mut count: HashMap<String, usize> = HashMap::new();
    let mut placed: Vec<(usize, VmRow)> = rows
        .into_iter()
        .map(|row| {
            let round = count.entry(row.vm.id.subscription().to_lowercase()).or_default();
            *round += 1;
            (*round, row)
        })
        .collect();
    placed.sort_by_key(|(round, _)| *round);
    placed.into_iter().map(|(_, row)| row).collect()
}

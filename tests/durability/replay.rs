//! A file system as a disk sees it: what is durable, and what is written but not synced, of which a loss
//! of power keeps any part.
//!
//! Files: of each 512-byte sector the durable content, or that after any write since. Directories: of the
//! changes of each directory since its last sync a part from the first on, as a file system with a journal
//! does it; those of other directories have no part in that.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{Rng, RngExt};

const SECTOR: usize = 512;

/// A file or directory.
pub(crate) type Node = usize;
/// The directory that all is in.
pub(crate) const ROOT: Node = 0;

/// Something that happened to the file system.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    Create { node: Node, dir: Node, name: String, is_dir: bool },
    Remove { dir: Node, name: String },
    Rename { node: Node, from: (Node, String), to: (Node, String) },
    Write { node: Node, offset: u64, bytes: Arc<[u8]> },
    Length { node: Node, bytes: u64 },
    Sync { node: Node },
    SyncDirectory { dir: Node },
}

/// Which part of what was not synced a loss of power keeps.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kept {
    Nothing,
    All,
    /// All until a moment.
    Prefix,
    Any,
}

#[derive(Debug, Default, Clone)]
struct FileNode {
    durable: Vec<u8>,
    live: Vec<u8>,
    /// By sector: its content after each write since the last sync, and when that was.
    unsynced: BTreeMap<usize, Vec<(u64, [u8; SECTOR])>>,
    /// Lengths since the last sync.
    lengths: Vec<(u64, usize)>,
}

#[derive(Debug, Clone)]
struct DirOp {
    at: u64,
    node: Node,
    /// Where it was; not if it was made.
    from: Option<(Node, String)>,
    /// Where it is; not if it was removed.
    to: Option<(Node, String)>,
}

impl DirOp {
    /// The directory whose changes it is one of.
    fn dir(&self) -> Node {
        self.to.as_ref().or(self.from.as_ref()).map_or(ROOT, |(dir, _)| *dir)
    }
}

/// The durable state of a file system, and what is written but not synced.
#[derive(Debug, Clone, Default)]
pub(crate) struct Replay {
    files: BTreeMap<Node, FileNode>,
    /// By directory: up to when its changes are durable.
    dirs: BTreeMap<Node, u64>,
    dir_ops: Vec<DirOp>,
    /// The entries as a process sees them.
    entries: BTreeMap<(Node, String), Node>,
    now: u64,
    /// A mutant: syncs of files do nothing.
    pub(crate) ignores_sync: bool,
}

fn sector_of(content: &[u8], sector: usize) -> [u8; SECTOR] {
    let mut bytes = [0; SECTOR];
    let part = &content[(sector * SECTOR).min(content.len())..((sector + 1) * SECTOR).min(content.len())];
    bytes[..part.len()].copy_from_slice(part);
    bytes
}

fn put_sector(content: &mut Vec<u8>, sector: usize, bytes: &[u8; SECTOR]) {
    if content.len() < (sector + 1) * SECTOR {
        content.resize((sector + 1) * SECTOR, 0);
    }
    content[sector * SECTOR..(sector + 1) * SECTOR].copy_from_slice(bytes);
}

impl FileNode {
    fn write(&mut self, at: u64, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        if self.live.len() < end {
            self.live.resize(end, 0);
            self.lengths.push((at, end));
        }
        self.live[offset..end].copy_from_slice(bytes);
        for sector in offset / SECTOR..end.div_ceil(SECTOR) {
            let content = sector_of(&self.live, sector);
            self.unsynced.entry(sector).or_default().push((at, content));
        }
    }

    fn sync(&mut self) {
        self.durable.resize(self.live.len(), 0);
        for sector in std::mem::take(&mut self.unsynced).into_keys() {
            let (start, end) = (sector * SECTOR, ((sector + 1) * SECTOR).min(self.live.len()));
            self.durable[start..end].copy_from_slice(&self.live[start..end]);
        }
        self.lengths.clear();
    }

    /// What may be left of it.
    fn remains(&self, kept: Kept, moment: u64, random: &mut StdRng) -> Vec<u8> {
        let pick = |count: usize, times: &mut dyn Iterator<Item = u64>, random: &mut StdRng| match kept {
            Kept::Nothing => 0,
            Kept::All => count,
            Kept::Prefix => times.take_while(|at| *at < moment).count(),
            Kept::Any => random.random_range(0..=count),
        };
        let mut content = self.durable.clone();
        let mut written = 0;
        for (sector, versions) in &self.unsynced {
            let version = pick(versions.len(), &mut versions.iter().map(|(at, _)| *at), random);
            if version > 0 {
                put_sector(&mut content, *sector, &versions[version - 1].1);
                written = ((sector + 1) * SECTOR).min(self.live.len());
            }
        }
        let length = pick(self.lengths.len(), &mut self.lengths.iter().map(|(at, _)| *at), random);
        let length = if length > 0 { self.lengths[length - 1].1 } else { self.durable.len() };
        content.resize(length.max(written).max(self.durable.len()), 0);
        content
    }
}

impl Replay {
    /// What is in a directory, all of it durable.
    pub(crate) fn of(root: &Path) -> (Self, BTreeMap<Node, BTreeMap<String, Node>>) {
        let mut replay = Self { dirs: BTreeMap::from([(ROOT, 0)]), ..Self::default() };
        let mut tree = BTreeMap::from([(ROOT, BTreeMap::new())]);
        let mut next = ROOT + 1;
        replay.read(root, ROOT, &mut next, &mut tree);
        (replay, tree)
    }

    fn read(
        &mut self,
        path: &Path,
        dir: Node,
        next: &mut Node,
        tree: &mut BTreeMap<Node, BTreeMap<String, Node>>,
    ) {
        let mut entries: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        for path in entries {
            let (node, name) = (*next, path.file_name().unwrap().to_str().unwrap().to_owned());
            *next += 1;
            tree.get_mut(&dir).unwrap().insert(name.clone(), node);
            self.entries.insert((dir, name.clone()), node);
            self.dir_ops.push(DirOp { at: 0, node, from: None, to: Some((dir, name)) });
            if path.is_dir() {
                self.dirs.insert(node, 0);
                tree.insert(node, BTreeMap::new());
                self.read(&path, node, next, tree);
            } else {
                let content = fs::read(&path).unwrap();
                let file = FileNode { durable: content.clone(), live: content, ..FileNode::default() };
                self.files.insert(node, file);
            }
        }
        self.now = 1;
        self.dirs.values_mut().for_each(|durable| *durable = 1);
    }

    /// Does what happened next.
    pub(crate) fn apply(&mut self, event: &Event) {
        let at = self.now;
        self.now += 1;
        match event {
            Event::Create { node, dir, name, is_dir } => {
                self.change_entries(*node, None, Some((*dir, name.clone())));
                if *is_dir {
                    self.dirs.insert(*node, 0);
                } else {
                    self.files.insert(*node, FileNode::default());
                }
            }
            Event::Remove { dir, name } => {
                let from = (*dir, name.clone());
                let node = self.entries[&from];
                self.change_entries(node, Some(from), None);
            }
            Event::Rename { node, from, to } => {
                self.change_entries(*node, Some(from.clone()), Some(to.clone()));
            }
            Event::Write { node, offset, bytes } => {
                self.files.get_mut(node).unwrap().write(at, *offset as usize, bytes);
            }
            Event::Length { node, bytes } => {
                let file = self.files.get_mut(node).unwrap();
                if file.live.len() < *bytes as usize {
                    file.live.resize(*bytes as usize, 0);
                    file.lengths.push((at, *bytes as usize));
                }
            }
            Event::Sync { node } if !self.ignores_sync => self.files.get_mut(node).unwrap().sync(),
            Event::Sync { .. } => {}
            Event::SyncDirectory { dir } => {
                self.dirs.insert(*dir, at);
            }
        }
    }

    fn change_entries(&mut self, node: Node, from: Option<(Node, String)>, to: Option<(Node, String)>) {
        if let Some(from) = &from {
            self.entries.remove(from);
        }
        if let Some(to) = &to {
            self.entries.insert(to.clone(), node);
        }
        self.dir_ops.push(DirOp { at: self.now - 1, node, from, to });
    }

    /// Makes a directory of what a loss of power now may leave.
    pub(crate) fn lose_power(&self, into: &Path, kept: Kept, random: &mut StdRng) {
        let moment = random.random_range(0..=self.now);
        let cut_of = |dir: Node, random: &mut StdRng| {
            let durable = self.dirs.get(&dir).copied().unwrap_or(0);
            match kept {
                Kept::Nothing => durable,
                Kept::All => self.now,
                Kept::Prefix => durable.max(moment),
                Kept::Any => {
                    let unsynced = self.dir_ops.iter().filter(|op| op.dir() == dir && op.at >= durable);
                    let cuts: Vec<u64> = unsynced.map(|op| op.at + 1).chain([durable]).collect();
                    cuts[random.random_range(0..cuts.len())]
                }
            }
        };
        let cuts: BTreeMap<Node, u64> = self.dirs.keys().map(|dir| (*dir, cut_of(*dir, random))).collect();
        let mut tree: BTreeMap<(Node, &str), Node> = BTreeMap::new();
        // A rename out of a directory is durable with either directory.
        let left = |op: &DirOp| {
            op.from.as_ref().is_some_and(|(dir, _)| op.at < self.dirs.get(dir).copied().unwrap_or(0))
        };
        for op in self.dir_ops.iter().filter(|op| op.at < cuts[&op.dir()] || left(op)) {
            if let Some((dir, name)) = &op.from
                && tree.get(&(*dir, name.as_str())) == Some(&op.node)
            {
                tree.remove(&(*dir, name.as_str()));
            }
            if let Some((dir, name)) = &op.to {
                tree.insert((*dir, name.as_str()), op.node);
            }
        }
        fs::create_dir_all(into).unwrap();
        self.write_out(ROOT, into, &tree, kept, moment, random);
    }

    fn write_out(
        &self,
        dir: Node,
        into: &Path,
        tree: &BTreeMap<(Node, &str), Node>,
        kept: Kept,
        moment: u64,
        random: &mut StdRng,
    ) {
        for ((_, name), node) in tree.range((dir, "")..(dir + 1, "")) {
            let path = into.join(name);
            if let Some(file) = self.files.get(node) {
                write_sparse(&path, &file.remains(kept, moment, random));
            } else {
                fs::create_dir(&path).unwrap();
                self.write_out(*node, &path, tree, kept, moment, random);
            }
        }
    }
}

/// Writes a file without its pages of zeros.
pub(crate) fn write_sparse(path: &Path, content: &[u8]) {
    const PAGE: usize = 4096;
    let file = fs::File::create(path).unwrap();
    file.set_len(content.len() as u64).unwrap();
    for (index, page) in content.chunks(PAGE).enumerate() {
        if page.iter().any(|byte| *byte != 0) {
            file.write_all_at(page, (index * PAGE) as u64).unwrap();
        }
    }
}

/// One of the ways to lose power.
pub(crate) fn any_kept(random: &mut StdRng) -> Kept {
    match random.next_u32() % 8 {
        0 => Kept::Nothing,
        1 => Kept::All,
        2 | 3 => Kept::Prefix,
        _ => Kept::Any,
    }
}

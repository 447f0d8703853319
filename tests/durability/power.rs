//! A disk that remembers all that happens to it in order, so that power can be lost at any place.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use allotd::disk::device::{Access, Disk, RealDisk};

use super::replay::{Event, Node, ROOT, Replay};

#[derive(Debug)]
struct State {
    tree: BTreeMap<Node, BTreeMap<String, Node>>,
    next: Node,
    /// The nodes of open files, by their inode.
    inodes: HashMap<u64, Node>,
    /// By descriptor: whether writes are durable when they return.
    synced_writes: HashMap<RawFd, bool>,
    events: Vec<Event>,
    is_off: bool,
    /// After how many events the power goes off.
    off_at: Option<usize>,
}

/// A disk over a real directory in memory.
#[derive(Debug)]
pub(crate) struct PowerDisk {
    root: PathBuf,
    start: Replay,
    state: Mutex<State>,
}

impl PowerDisk {
    /// A disk whose content of now is durable.
    pub(crate) fn over(root: &Path) -> Self {
        let (start, tree) = Replay::of(root);
        let next = tree.values().map(BTreeMap::len).sum::<usize>() + 1;
        let state = State {
            tree,
            next,
            inodes: HashMap::new(),
            synced_writes: HashMap::new(),
            events: Vec::new(),
            is_off: false,
            off_at: None,
        };
        Self { root: root.to_owned(), start, state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many events there were.
    pub(crate) fn position(&self) -> u64 {
        self.lock().events.len() as u64
    }

    /// Makes all calls fail from now on, as for a process that ends here; or work again, for the next.
    pub(crate) fn set_off(&self, is_off: bool) {
        let mut state = self.lock();
        (state.is_off, state.off_at) = (is_off, None);
    }

    /// Makes all calls fail after `events` more events.
    pub(crate) fn set_off_after(&self, events: usize) {
        let mut state = self.lock();
        state.off_at = Some(state.events.len() + events);
    }

    /// What the disk held at the beginning, and all that happened.
    pub(crate) fn trace(&self) -> (Replay, Vec<Event>) {
        (self.start.clone(), self.lock().events.clone())
    }

    fn begin(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.lock();
        if state.is_off || state.off_at.is_some_and(|at| state.events.len() >= at) {
            Err(io::Error::other("the power is off"))
        } else {
            Ok(state)
        }
    }

    fn names(&self, path: &Path) -> Vec<String> {
        let inside = path.strip_prefix(&self.root).expect("inside the data directory");
        let name = |part: Component<'_>| part.as_os_str().to_str().expect("a plain name").to_owned();
        inside.components().map(name).collect()
    }

    fn node_of(&self, state: &State, path: &Path) -> Option<Node> {
        self.names(path).iter().try_fold(ROOT, |dir, name| state.tree.get(&dir)?.get(name).copied())
    }

    fn place_of(&self, state: &State, path: &Path) -> (Node, String) {
        let parent = self.node_of(state, path.parent().unwrap()).expect("a known directory");
        (parent, path.file_name().unwrap().to_str().unwrap().to_owned())
    }

    fn add(&self, state: &mut State, path: &Path, is_dir: bool) -> Node {
        let (dir, name) = self.place_of(state, path);
        let node = state.next;
        state.next += 1;
        state.tree.get_mut(&dir).unwrap().insert(name.clone(), node);
        if is_dir {
            state.tree.insert(node, BTreeMap::new());
        }
        state.events.push(Event::Create { node, dir, name, is_dir });
        node
    }

    fn remove(&self, state: &mut State, path: &Path) {
        let (dir, name) = self.place_of(state, path);
        state.tree.get_mut(&dir).unwrap().remove(&name);
        state.events.push(Event::Remove { dir, name });
    }

    fn remove_all(&self, state: &mut State, path: &Path) {
        let names: Vec<String> = self
            .node_of(state, path)
            .and_then(|node| state.tree.get(&node))
            .map(|entries| entries.keys().cloned().collect())
            .unwrap_or_default();
        for name in names {
            self.remove_all(state, &path.join(name));
        }
        self.remove(state, path);
    }
}

fn inode(file: &File) -> u64 {
    file.metadata().unwrap().ino()
}

impl Disk for PowerDisk {
    fn create(&self, path: &Path) -> io::Result<File> {
        let mut state = self.begin()?;
        let file = RealDisk.create(path)?;
        let node = self.add(&mut state, path, false);
        state.inodes.insert(inode(&file), node);
        state.synced_writes.insert(file.as_raw_fd(), false);
        Ok(file)
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<File> {
        let mut state = self.begin()?;
        let file = RealDisk.open(path, Access::Buffered)?;
        // The lock's file is made past the disk.
        let node = match self.node_of(&state, path) {
            Some(node) => node,
            None => self.add(&mut state, path, false),
        };
        state.inodes.insert(inode(&file), node);
        state.synced_writes.insert(file.as_raw_fd(), access == Access::DirectSynced);
        Ok(file)
    }

    fn allocate(&self, file: &File, bytes: u64) -> io::Result<()> {
        let mut state = self.begin()?;
        file.set_len(bytes)?;
        let node = state.inodes[&inode(file)];
        state.events.push(Event::Length { node, bytes });
        Ok(())
    }

    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.begin()?;
        RealDisk.write_at(file, bytes, offset)?;
        let node = state.inodes[&inode(file)];
        state.events.push(Event::Write { node, offset, bytes: bytes.into() });
        if state.synced_writes[&file.as_raw_fd()] {
            state.events.push(Event::Sync { node });
        }
        Ok(())
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        let mut state = self.begin()?;
        let node = state.inodes[&inode(file)];
        state.events.push(Event::Sync { node });
        Ok(())
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        let mut state = self.begin()?;
        if !directory.starts_with(&self.root) {
            return Ok(());
        }
        let dir = self.node_of(&state, directory).ok_or(io::ErrorKind::NotFound)?;
        state.events.push(Event::SyncDirectory { dir });
        Ok(())
    }

    fn create_directories(&self, path: &Path) -> io::Result<()> {
        let mut state = self.begin()?;
        fs::create_dir_all(path)?;
        let mut above: Vec<&Path> = path.ancestors().take_while(|above| *above != self.root).collect();
        above.reverse();
        for dir in above {
            if self.node_of(&state, dir).is_none() {
                self.add(&mut state, dir, true);
            }
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.begin()?;
        RealDisk.rename(from, to)?;
        let (old, new) = (self.place_of(&state, from), self.place_of(&state, to));
        let node = state.tree.get_mut(&old.0).unwrap().remove(&old.1).unwrap();
        state.tree.get_mut(&new.0).unwrap().insert(new.1.clone(), node);
        state.events.push(Event::Rename { node, from: old, to: new });
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.begin()?;
        RealDisk.remove_file(path)?;
        self.remove(&mut state, path);
        Ok(())
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        let mut state = self.begin()?;
        RealDisk.remove_directory(path)?;
        self.remove_all(&mut state, path);
        Ok(())
    }
}

//! Files and directories of an overlay.
//!
//! Invariants: every handle of a file shares what was written over it, also after the file was
//! renamed or removed; a path is known here only if it was changed, or while it is open.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use bytes::{Bytes, BytesMut};

use super::extents::{Extents, laid_over};
use crate::{Access, DirIdentity, Disk, Entry, EntryKind, File, IoBufs, Lock, Rank, Space};

/// Taken alone.
const NODES_RANK: Rank = Rank(245);
const EXTENTS_RANK: Rank = Rank(246);
/// Bytes compared at a time with what is there.
const COMPARED_BYTES: usize = 256 * 1024;

/// The disk of [`super::Overlay`].
pub struct OverlayDisk<D: Disk> {
    below: D,
    nodes: Arc<Lock<BTreeMap<PathBuf, Node<D::File>>>>,
}

impl<D: Disk> Clone for OverlayDisk<D> {
    fn clone(&self) -> Self {
        Self { below: self.below.clone(), nodes: Arc::clone(&self.nodes) }
    }
}

/// What is known of a path.
enum Node<F> {
    /// It is not there.
    Gone,
    /// A directory that is not there below.
    Dir,
    /// A file that is read, as it is below.
    Read(Weak<Inner<F>>),
    /// A file that may differ from what is below.
    Written(Arc<Inner<F>>),
}

/// A file.
struct Inner<F> {
    below: Option<F>,
    extents: Lock<Extents>,
}

/// A file of an [`OverlayDisk`].
pub struct OverlayFile<D: Disk> {
    inner: Arc<Inner<D::File>>,
    /// Where it was opened, if for writing.
    written_at: Option<(OverlayDisk<D>, Arc<Path>)>,
}

impl<D: Disk> Clone for OverlayFile<D> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), written_at: self.written_at.clone() }
    }
}

/// What a path leads to.
enum Found<F> {
    Nothing,
    Dir,
    File(Arc<Inner<F>>),
    /// As below.
    Below,
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl<D: Disk> OverlayDisk<D> {
    pub(super) fn new(below: D) -> Self {
        Self { below, nodes: Arc::new(Lock::new(NODES_RANK, BTreeMap::new())) }
    }

    fn find(&self, path: &Path) -> Found<D::File> {
        match self.nodes.lock().get(path) {
            Some(Node::Gone) => Found::Nothing,
            Some(Node::Dir) => Found::Dir,
            Some(Node::Written(inner)) => Found::File(Arc::clone(inner)),
            Some(Node::Read(inner)) => inner.upgrade().map_or(Found::Below, Found::File),
            None => Found::Below,
        }
    }

    /// The file that is there, opened below if need be.
    async fn file(&self, path: &Path) -> io::Result<Arc<Inner<D::File>>> {
        match self.find(path) {
            Found::File(inner) => Ok(inner),
            Found::Nothing => Err(missing()),
            Found::Dir => Err(io::ErrorKind::IsADirectory.into()),
            Found::Below => {
                let file = self.below.open(path, Access::Read).await?;
                let len = file.len().await?;
                let extents = Lock::new(EXTENTS_RANK, Extents::over(len));
                let inner = Arc::new(Inner { below: Some(file), extents });
                self.set(path, Node::Read(Arc::downgrade(&inner)));
                Ok(inner)
            },
        }
    }

    fn set(&self, path: &Path, node: Node<D::File>) {
        self.nodes.lock().insert(path.to_owned(), node);
    }

    async fn is_dir(&self, path: &Path) -> io::Result<bool> {
        match self.find(path) {
            Found::Dir => Ok(true),
            Found::Nothing | Found::File(_) => Ok(false),
            Found::Below => match self.below.list(path).await {
                Ok(_) => Ok(true),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
                Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(false),
                Err(error) => Err(error),
            },
        }
    }

    /// A new, empty file.
    async fn make(&self, path: &Path) -> io::Result<Arc<Inner<D::File>>> {
        if let Some(folder) = path.parent()
            && !folder.as_os_str().is_empty()
            && !self.is_dir(folder).await?
        {
            return Err(missing());
        }
        let extents = Lock::new(EXTENTS_RANK, Extents::default());
        let inner = Arc::new(Inner { below: None, extents });
        self.set(path, Node::Written(Arc::clone(&inner)));
        Ok(inner)
    }

    /// What is known here of the entries of a directory.
    fn known(&self, dir: &Path) -> BTreeMap<String, Option<EntryKind>> {
        let nodes = self.nodes.lock();
        let under = nodes.range(dir.to_owned()..).take_while(|(path, _)| path.starts_with(dir));
        let mut known = BTreeMap::new();
        for (path, node) in under.filter(|(path, _)| path.parent() == Some(dir)) {
            let Some(name) = path.file_name().map(|name| name.to_string_lossy().into_owned())
            else {
                continue;
            };
            match node {
                Node::Gone => drop(known.insert(name, None)),
                Node::Dir => drop(known.insert(name, Some(EntryKind::Dir))),
                Node::Written(_) => drop(known.insert(name, Some(EntryKind::File))),
                Node::Read(_) => {},
            }
        }
        known
    }
}

impl<D: Disk> Disk for OverlayDisk<D> {
    type File = OverlayFile<D>;
    type DirLock = Option<D::DirLock>;

    async fn open(&self, path: &Path, access: Access) -> io::Result<OverlayFile<D>> {
        let there = self.file(path).await;
        let inner = match (there, access) {
            (Err(error), Access::CreateOrWrite | Access::CreateNew)
                if error.kind() == io::ErrorKind::NotFound =>
            {
                self.make(path).await?
            },
            (Ok(_), Access::CreateNew) => return Err(io::ErrorKind::AlreadyExists.into()),
            (there, _) => there?,
        };
        let written_at = (access != Access::Read).then(|| (self.clone(), Arc::from(path)));
        Ok(OverlayFile { inner, written_at })
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let inner = self.file(from).await?;
        self.set(to, Node::Written(inner));
        self.set(from, Node::Gone);
        Ok(())
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        self.file(path).await?;
        self.set(path, Node::Gone);
        Ok(())
    }

    async fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut wanted: Vec<&Path> = path.ancestors().collect();
        wanted.retain(|folder| !folder.as_os_str().is_empty());
        let mut made = Vec::new();
        for folder in wanted {
            if self.is_dir(folder).await? {
                break;
            }
            if self.file(folder).await.is_ok() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            made.push(folder);
        }
        made.into_iter().rev().for_each(|folder| self.set(folder, Node::Dir));
        Ok(())
    }

    async fn remove_dir(&self, path: &Path) -> io::Result<()> {
        if !self.list(path).await?.is_empty() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        self.set(path, Node::Gone);
        Ok(())
    }

    async fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let below = match self.find(dir) {
            Found::Nothing => return Err(missing()),
            Found::File(_) => return Err(io::ErrorKind::NotADirectory.into()),
            Found::Dir => Vec::new(),
            Found::Below => self.below.list(dir).await?,
        };
        let mut entries: BTreeMap<String, EntryKind> =
            below.into_iter().map(|entry| (entry.name, entry.kind)).collect();
        for (name, kind) in self.known(dir) {
            match kind {
                Some(kind) => drop(entries.insert(name, kind)),
                None => drop(entries.remove(&name)),
            }
        }
        Ok(entries.into_iter().map(|(name, kind)| Entry { name, kind }).collect())
    }

    async fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        if self.is_dir(dir).await? { Ok(()) } else { Err(missing()) }
    }

    async fn sync_fs(&self, dir: &Path) -> io::Result<()> {
        self.sync_dir(dir).await
    }

    /// The lock below if its file is there, so that nothing has to be made for it; whoever has used
    /// the directory has left it. Who may not open it for writing goes without.
    async fn lock_dir(&self, path: &Path) -> io::Result<Self::DirLock> {
        match self.below.open(path, Access::Read).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return match path.parent() {
                    Some(folder) if !self.is_dir(folder).await? => Err(error),
                    Some(_) | None => Ok(None),
                };
            },
            file => drop(file?),
        }
        match self.below.lock_dir(path).await {
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
                ) =>
            {
                Ok(None)
            },
            lock => lock.map(Some),
        }
    }

    /// That of a directory which is not there below is made up, on the device of the nearest that is.
    async fn space(&self, dir: &Path) -> io::Result<Space> {
        self.below.space(dir).await
    }

    async fn identity(&self, dir: &Path) -> io::Result<DirIdentity> {
        match self.find(dir) {
            Found::Nothing => Err(missing()),
            Found::File(_) => Err(io::ErrorKind::NotADirectory.into()),
            Found::Below => self.below.identity(dir).await,
            Found::Dir => {
                let outer = dir.ancestors().find(|outer| !matches!(self.find(outer), Found::Dir));
                let outer = outer.filter(|outer| !outer.as_os_str().is_empty());
                let on = self.below.identity(outer.unwrap_or(Path::new("."))).await?;
                Ok(DirIdentity { inode: 0, birth_ns: 0, ..on })
            },
        }
    }
}

impl<D: Disk> OverlayFile<D> {
    /// Whether it was opened for writing.
    fn check(&self) -> io::Result<()> {
        if self.written_at.is_some() { Ok(()) } else { Err(io::ErrorKind::PermissionDenied.into()) }
    }

    /// From its first change on it is kept, and with it the file below open; not before, for there may
    /// be many that are opened for writing and stay as they are.
    fn keep(&self) {
        let Some((disk, path)) = &self.written_at else { return };
        if let Some(node) = disk.nodes.lock().get_mut(&**path)
            && matches!(node, Node::Read(inner) if inner.ptr_eq(&Arc::downgrade(&self.inner)))
        {
            *node = Node::Written(Arc::clone(&self.inner));
        }
    }

    /// Whether `bytes` at `at` are what shows through there already.
    async fn is_there(&self, mut at: u64, bytes: &Bytes) -> io::Result<bool> {
        let Some(below) = &self.inner.below else { return Ok(false) };
        let end = at.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        {
            let extents = self.inner.extents.lock();
            if end > extents.shown || !extents.within(at, end).is_empty() {
                return Ok(false);
            }
        }
        for part in bytes.chunks(COMPARED_BYTES) {
            if below.read_at(at, part.len()).await? != part {
                return Ok(false);
            }
            at = at.saturating_add(u64::try_from(part.len()).unwrap_or(u64::MAX));
        }
        Ok(true)
    }
}

impl<D: Disk> File for OverlayFile<D> {
    async fn append(&self, at: u64, bufs: IoBufs) -> io::Result<()> {
        self.check()?;
        let mut whole = BytesMut::with_capacity(bufs.iter().map(Bytes::len).sum());
        bufs.iter().for_each(|buf| whole.extend_from_slice(buf));
        let whole = whole.freeze();
        if !self.is_there(at, &whole).await.unwrap_or(false) {
            self.keep();
            self.inner.extents.lock().write(at, whole);
        }
        Ok(())
    }

    async fn read_at(&self, at: u64, len: usize) -> io::Result<Bytes> {
        let (len, shown, written) = {
            let extents = self.inner.extents.lock();
            let wanted = u64::try_from(len).unwrap_or(u64::MAX);
            let end = at.saturating_add(wanted).min(extents.len);
            let len = usize::try_from(end.saturating_sub(at)).unwrap_or(0);
            let shown = end.min(extents.shown).saturating_sub(at);
            (len, usize::try_from(shown).unwrap_or(0), extents.within(at, end.max(at)))
        };
        let below = match &self.inner.below {
            Some(below) if shown > 0 => below.read_at(at, shown).await?,
            Some(_) | None => Bytes::new(),
        };
        if written.is_empty() && below.len() == len {
            return Ok(below);
        }
        Ok(laid_over(at, len, &below, &written))
    }

    async fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    async fn set_len(&self, len: u64) -> io::Result<()> {
        self.check()?;
        self.keep();
        self.inner.extents.lock().set_len(len);
        Ok(())
    }

    async fn len(&self) -> io::Result<u64> {
        Ok(self.inner.extents.lock().len)
    }

    async fn preallocate(&self, _len: u64) -> io::Result<()> {
        Ok(())
    }
}

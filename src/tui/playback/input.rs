//! The bytes of a journal, with random access.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// The most bytes kept from a pipe.
const MAX_PIPED_BYTES: u64 = 1 << 30;

/// A journal with random access. Cheap to clone; clones do not share a position.
#[derive(Clone, Debug)]
pub enum Input {
    /// A file; each read seeks first.
    File(Arc<Mutex<File>>),
    /// The content of a pipe.
    Memory(Bytes),
}

impl Input {
    /// Reads from a file. A pipe is read to its end.
    pub fn from_file(file: File) -> io::Result<Self> {
        if file.metadata()?.is_file() {
            return Ok(Self::File(Arc::new(Mutex::new(file))));
        }
        let mut kept = Vec::new();
        file.take(MAX_PIPED_BYTES + 1).read_to_end(&mut kept)?;
        if kept.len() as u64 > MAX_PIPED_BYTES {
            let message = "more than 1 GiB from a pipe: write the journal to a file and replay that";
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
        }
        Ok(Self::Memory(kept.into()))
    }

    /// The length in bytes; 0 if unknown.
    pub fn len(&self) -> u64 {
        match self {
            Self::File(file) => {
                let file = file.lock().unwrap_or_else(PoisonError::into_inner);
                file.metadata().map_or(0, |known| known.len())
            }
            Self::Memory(bytes) => bytes.len() as u64,
        }
    }

    /// Returns true if it is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns a reader from the beginning.
    pub(super) fn reader(&self) -> Reader {
        Reader {
            input: self.clone(),
            offset: 0,
        }
    }

    /// Returns `count` bytes at `offset`.
    pub(super) fn bytes(&self, offset: u64, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.read_at(offset + filled as u64, rest) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(bytes)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => {
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                file.seek(SeekFrom::Start(offset))?;
                file.read(into)
            }
            Self::Memory(bytes) => {
                let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                bytes.slice(from..).as_ref().read(into)
            }
        }
    }
}

/// Reads an input from its beginning to its end.
#[derive(Debug)]
pub(super) struct Reader {
    input: Input,
    offset: u64,
}

impl Read for Reader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read_at(self.offset, into)?;
        self.offset += count as u64;
        Ok(count)
    }
}

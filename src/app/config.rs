//! Configuration that only the program needs: API keys, headers, server URLs, certificates and the paths of label files.

mod ca;
mod header;
mod key;
mod labels;
mod server;

pub(crate) use ca::ca_file;
pub(crate) use header::headers;
pub(crate) use key::{api_key, check_private, embedder_key};
pub(crate) use labels::{add_labels, labels_file};
pub(crate) use server::{embedder, exposure, upstream};

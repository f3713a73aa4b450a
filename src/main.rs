//! The seawall program. The modes are in `seawall::app`.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// A call makes hundreds of small allocations, half of them freed on another thread: the allocator of the C library
/// takes a fifth of the gateway's time.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    seawall::app::main()
}

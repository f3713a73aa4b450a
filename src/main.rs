//! The seawall program. The modes are in `seawall::app`.

use std::process::ExitCode;

fn main() -> ExitCode {
    seawall::app::main()
}

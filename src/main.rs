//! The `dumpwalk` command.

fn main() -> dumpwalk::cli::Exit {
    dumpwalk::cli::main(std::env::args_os())
}

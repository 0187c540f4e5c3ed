//! The `dumpwalk` command.

#[cfg(all(feature = "mimalloc", not(windows)))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> dumpwalk::cli::Exit {
    dumpwalk::cli::main(std::env::args_os())
}

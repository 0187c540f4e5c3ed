//! The `dumpwalk` command.

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> dumpwalk::cli::Exit {
    dumpwalk::cli::main(std::env::args_os())
}

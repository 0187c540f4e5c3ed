#!/usr/bin/env python3
"""Whole runs on one dump, beside those of other tools on the same file: wall time, rows, peak private memory, ratios.

    whole.py --dumpwalk BIN --symbols DIR DUMP [--threads N] [--rounds N] [--only NAME,...]
             [--vol VENV/bin/vol --isf DIR] [--memprocfs VENV] [--vmi BIN]

Prints tables in Markdown. Every time is the least of the rounds (Volatility's of one), with the file in memory and symbols
cached, the output read from a pipe. On a machine that does other things the ratio of processor times is the one to trust. Private
memory is the peak of RssAnon in a run of its own, for looking at it costs the run: pages of the mapped dump are the system's cache and not counted.
"""
import argparse, glob, json, os, subprocess, sys, tempfile, threading, time

# What both tools answer. Volatility's plugin is given where there is one.
ANALYSES = [
    ("info", "windows.info.Info"),
    ("pslist", "windows.pslist.PsList"),
    ("pstree", "windows.pstree.PsTree"),
    ("modules", "windows.modules.Modules"),
    ("cmdline", "windows.cmdline.CmdLine"),
    ("dlllist", "windows.dlllist.DllList"),
    ("envars", "windows.envars.Envars"),
    ("getsids", "windows.getsids.GetSIDs"),
    ("privileges", "windows.privileges.Privs"),
    ("threads", "windows.threads.Threads"),
    ("handles", "windows.handles.Handles"),
    ("vadinfo", "windows.vadinfo.VadInfo"),
    ("ldrmodules", "windows.ldrmodules.LdrModules"),
    ("malfind", "windows.malfind.Malfind"),
    ("psscan", "windows.psscan.PsScan"),
    ("thrdscan", "windows.thrdscan.ThrdScan"),
    ("filescan", "windows.filescan.FileScan"),
    ("mutantscan", "windows.mutantscan.MutantScan"),
    ("mappedfiles", None),
    ("workingset", None),
    ("images", None),
    ("callstacks", None),
    ("poolscan", None),
    ("report", None),
]
# Everything that is said of each process; `report` is held against the sum of what Volatility takes for these.
PER_PROCESS = ["pslist", "cmdline", "dlllist", "envars", "getsids", "privileges", "threads", "handles", "vadinfo"]


def timed(cmd, env=None, cwd=None):
    """Seconds, and processor seconds, of a run that nobody watches."""
    start = time.perf_counter()
    p = subprocess.Popen(cmd, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env, cwd=cwd)
    while os.read(p.stdout.fileno(), 1 << 20):
        pass
    _, status, used = os.wait4(p.pid, 0)
    seconds = time.perf_counter() - start
    p.returncode = os.waitstatus_to_exitcode(status)
    p.stdout.close()
    return seconds, used.ru_utime + used.ru_stime


def run(cmd, env=None, limit=3600, cwd=None):
    """Of a run that is watched: seconds, lines of output, peak private KiB, exit code (None where it took too long), processor seconds."""
    with tempfile.TemporaryFile() as out:
        start = time.perf_counter()
        p = subprocess.Popen(cmd, stdout=out, stderr=subprocess.DEVNULL, env=env, cwd=cwd)
        peak, done = [0], threading.Event()

        def watch():
            while not done.wait(0.004):
                try:
                    with open(f"/proc/{p.pid}/status") as f:
                        kib = next((int(l.split()[1]) for l in f if l.startswith("RssAnon:")), 0)
                    peak[0] = max(peak[0], kib)
                except OSError:
                    return

        watcher = threading.Thread(target=watch)
        watcher.start()
        stopper = threading.Timer(limit, p.kill)
        stopper.start()
        _, status, used = os.wait4(p.pid, 0)
        seconds = time.perf_counter() - start
        code = None if not stopper.is_alive() else os.waitstatus_to_exitcode(status)
        stopper.cancel()
        p.returncode = code or 0
        done.set()
        watcher.join()
        out.seek(0)
        lines = sum(chunk.count(b"\n") for chunk in iter(lambda: out.read(1 << 20), b""))
    return seconds, lines, peak[0], code, used.ru_utime + used.ru_stime


def least(cmd, rounds, env=None, cwd=None):
    _, lines, peak, code, _ = run(cmd, env, cwd=cwd)
    runs = [timed(cmd, env, cwd) for _ in range(rounds)]
    return min(r[0] for r in runs), lines, peak, code, min(r[1] for r in runs)


def into_memory(path):
    """Reads the file from front to back, as copying it does: the system keeps it in large pieces then. What was brought in page by page by
    other tools is forgotten first, for each such page costs a fault of its own. A file larger than memory is left as it is."""
    free = next(int(l.split()[1]) for l in open("/proc/meminfo") if l.startswith("MemAvailable"))
    if os.path.getsize(path) > free * 1024 // 2:
        return
    with open(path, "rb", buffering=0) as f:
        os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        while f.read(1 << 22):
            pass


def known(dumpwalk):
    text = subprocess.run([dumpwalk, "analyses", "-f", "csv"], capture_output=True, text=True).stdout
    return {line.split(",")[0] for line in text.splitlines()[1:]}


def ms(seconds):
    return f"{1000 * seconds:,.1f}"


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("dump")
    a.add_argument("--dumpwalk", required=True)
    a.add_argument("--symbols", required=True)
    a.add_argument("--threads", type=int, default=os.cpu_count())
    a.add_argument("--rounds", type=int, default=5)
    a.add_argument("--only", help="these analyses, separated by commas")
    a.add_argument("--vol")
    a.add_argument("--isf")
    a.add_argument("--memprocfs")
    a.add_argument("--vmi", help="the `windows-dump` example of the Rust crate vmi")
    a.add_argument("--vmi-folder", help="where --vmi runs: its own cache/ with the kernel's PDB lies there")
    a.add_argument("--limit", type=float, default=3600, help="seconds after which another tool is stopped")
    a = a.parse_args()
    there = known(a.dumpwalk)
    wanted = [(n, v) for n, v in ANALYSES if n in there and (not a.only or n in a.only.split(","))]

    config, vol = tempfile.mktemp(suffix=".json"), {}
    if a.vol:
        base = [a.vol, "--offline", "-q", "-s", a.isf, "-f", a.dump]
        first = run([*base, "--save-config", config, "windows.pslist.PsList"], limit=a.limit)
        print(f"Volatility's first pslist, which searches for the kernel: {first[0]:.1f} s\n", flush=True)
        for name, plugin in wanted:
            if plugin:
                vol[name] = run([*base, "-c", config, "-r", "jsonl", plugin], limit=a.limit)
                print(f"  {plugin}: {vol[name]}", file=sys.stderr, flush=True)

    common = ["--offline", "--symbols", a.symbols, "--threads", str(a.threads), "-f", "jsonl"]
    run([a.dumpwalk, "info", a.dump, *common])  # brings the symbols into the cache
    into_memory(a.dump)
    print(f"| analysis | rows | ms, {a.threads} threads | ms, 1 thread | private MiB | Volatility s | rows | ratio | of processor time |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    own = {}
    for name, _ in wanted:
        one = least([a.dumpwalk, name, a.dump, *common[:-4], "--threads", "1", "-f", "jsonl"], a.rounds)
        all_ = least([a.dumpwalk, name, a.dump, *common], a.rounds)
        own[name], cpu = all_[0], min(one[4], all_[4])
        left = f"| {name} | {all_[1]:,} | {ms(all_[0])} | {ms(one[0])} | {max(one[2], all_[2]) / 1024:.0f}"
        if name in vol:
            seconds, lines, _, code, theirs = vol[name]
            more = "" if code is not None else "> "
            print(f"{left} | {more}{seconds:.1f} | {lines:,} | {more}{seconds / all_[0]:,.0f} × | {more}{theirs / cpu:,.0f} × |", flush=True)
        else:
            print(f"{left} | | | | |", flush=True)
    if vol:
        of_each = [n for n in PER_PROCESS if n in vol and n in own]
        theirs, ours = sum(vol[n][0] for n in of_each), sum(own[n] for n in of_each)
        print(f"\nPer process ({', '.join(of_each)}): Volatility {theirs:.1f} s; these analyses one by one {ours:.3f} s, {theirs / ours:,.0f} ×", end="")
        print(f"; report {own['report']:.3f} s, {theirs / own['report']:,.0f} ×" if "report" in own else "")
    if a.memprocfs:
        memprocfs(a, own)
    if a.vmi:
        seconds, lines, kib, code, _ = least([a.vmi, os.path.abspath(a.dump)], a.rounds, cwd=a.vmi_folder)
        print(f"\nvmi's windows-dump: {ms(seconds)} ms, {lines:,} lines, {kib / 1024:.0f} MiB private, code {code}", end="")
        print(f"; report is {seconds / own['report']:.1f} × as fast" if "report" in own else "")


MEMPROCFS = """
import sys, time, memprocfs
t = time.perf_counter()
vmm = memprocfs.Vmm(["-device", sys.argv[1], "-waitinitialize", "-disable-symbolserver"])
print(time.perf_counter() - t, len(vmm.process_list()))
"""


def memprocfs(a, own):
    site = glob.glob(os.path.join(a.memprocfs, "lib/python3*/site-packages"))[0]
    env = dict(os.environ, LD_LIBRARY_PATH=f"{site}/leechcorepyc:{site}/memprocfs")
    times, n = [], "?"
    for _ in range(a.rounds):
        p = subprocess.run([os.path.join(a.memprocfs, "bin/python"), "-c", MEMPROCFS, a.dump], env=env, capture_output=True, text=True)
        words = p.stdout.split()
        if len(words) >= 2:
            times.append(float(words[-2]))
            n = words[-1]
    if not times:
        print("\nMemProcFS does not start on this dump")
        return
    print(f"\nMemProcFS's start-up: {ms(min(times))} ms, {n} processes", end="")
    print(f"; pslist takes {own['pslist'] / min(times):.2f} of it" if "pslist" in own else "")


if __name__ == "__main__":
    main()

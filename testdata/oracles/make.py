#!/usr/bin/env python3
"""Runs Volatility 3 and MemProcFS on sample dumps and keeps, of what they print, the columns dumpwalk also has.

    make.py --vol VENV/bin/vol --python VENV/bin/python --isf DIR SAMPLES [NAME ...]

SAMPLES is a folder of `NAME/full.dmp` (or `bitmap.dmp`, `raw.dd`). DIR holds Volatility's symbol files (its own `pdbconv` makes them from the PDBs
under `symbols/`). Writes `NAME.volatility.tsv` and `NAME.memprocfs.tsv` beside this script: first the command of each block, then its rows,
sorted. `tests/oracles.rs` compares them with what dumpwalk says.
"""
import argparse, glob, json, os, subprocess, sys, tempfile

M48 = (1 << 48) - 1
HERE = os.path.dirname(os.path.abspath(__file__))

def text(v):
    return "-" if v is None or v == "" else str(v).replace("\t", " ")

def hexa(v):
    return "-" if v is None else hex(v & M48)

# What of each Volatility plugin is kept, by the name of dumpwalk's analysis.
VOLATILITY = {
    "pslist": ("windows.pslist.PsList", lambda r: [r["PID"], r["PPID"], r["ImageFileName"], hexa(r["Offset(V)"])]),
    "modules": ("windows.modules.Modules", lambda r: [hexa(r["Base"]), r["Size"], r["Name"], r["Path"]]),
    "handles": ("windows.handles.Handles", lambda r: [r["PID"], r["HandleValue"], r["Type"], hexa(r["GrantedAccess"]), hexa(r["Offset"])]),
    "vadinfo": ("windows.vadinfo.VadInfo", lambda r: [r["PID"], hexa(r["Start VPN"]), hexa(r["End VPN"]), r["Protection"], text(r["File"])]),
    "dlllist": ("windows.dlllist.DllList", lambda r: [r["PID"], hexa(r["Base"]), r["Size"], r["Path"]]),
    "cmdline": ("windows.cmdline.CmdLine", lambda r: [r["PID"], text(r["Args"])] if r["Args"] else None),
    "envars": ("windows.envars.Envars", lambda r: [r["PID"], r["Variable"], r["Value"]]),
    "getsids": ("windows.getsids.GetSIDs", lambda r: [r["PID"], r["SID"]]),
    "privileges": ("windows.privileges.Privs", lambda r: [r["PID"], r["Value"], "Enabled" in r["Attributes"]] if "Present" in r["Attributes"] else None),
    "threads": ("windows.threads.Threads", lambda r: [r["PID"], r["TID"], hexa(r["Offset"]), hexa(r["StartAddress"])]),
}

def write(path, blocks):
    with open(path, "w", newline="\n") as f:
        for analysis, command, rows in blocks:
            print(f"# {analysis}: {command}", file=f)
            for line in sorted({"\t".join([analysis] + [text(c) for c in row]) for row in rows}):
                print(line, file=f)

def volatility(a, name, dump):
    blocks, config = [], tempfile.mktemp()
    for analysis, (plugin, keep) in VOLATILITY.items():
        extra = ["-c", config] if os.path.exists(config) else ["--save-config", config]
        cmd = [a.vol, "--offline", "-q", "-s", a.isf, "-f", dump, "-r", "json", *extra, plugin]
        out = subprocess.run(cmd, capture_output=True, text=True).stdout
        rows = json.loads(out[out.index("["):]) if "[" in out else []
        rows = [k for k in map(keep, rows) if k]
        blocks.append((analysis, f"vol -f {os.path.basename(dump)} -r json {plugin}", rows))
    write(os.path.join(HERE, f"{name}.volatility.tsv"), blocks)

MEMPROCFS = r"""
import json, sys, memprocfs
vmm = memprocfs.Vmm(["-device", sys.argv[1], "-waitinitialize", "-disable-symbolserver"])
for p in vmm.process_list():
    row = {"pid": p.pid, "ppid": p.ppid, "name": p.name, "eprocess": p.eprocess, "dtb": p.dtb}
    for key, call in (("vads", p.maps.vad), ("handles", p.maps.handle), ("threads", p.maps.thread)):
        try:
            row[key] = call()
        except Exception:
            row[key] = []
    print(json.dumps(row, default=str))
"""

def memprocfs(a, name, dump):
    site = glob.glob(os.path.join(os.path.dirname(os.path.dirname(a.python)), "lib/python3*/site-packages"))[0]
    env = dict(os.environ, LD_LIBRARY_PATH=f"{site}/leechcorepyc:{site}/memprocfs")
    with tempfile.NamedTemporaryFile(suffix=os.path.splitext(dump)[1]) as padded:  # it refuses files under 16 MB
        padded.write(open(dump, "rb").read())
        padded.truncate(max(os.path.getsize(dump), 20 << 20))
        padded.flush()
        out = subprocess.run([a.python, "-c", MEMPROCFS, padded.name], capture_output=True, text=True, env=env).stdout
    ps = [json.loads(l) for l in out.splitlines() if l.startswith("{")]
    blocks = [
        ("pslist", "process_list()", [[p["pid"], p["ppid"], p["name"], hexa(p["eprocess"])] for p in ps]),
        ("handles", "maps.handle()", [[p["pid"], h["handle"], hexa(h["access"]), hexa(h["va-object"])] for p in ps for h in p["handles"]]),
        ("vadinfo", "maps.vad()", [[p["pid"], hexa(v["start"]), hexa(v["end"])] for p in ps for v in p["vads"]]),
        ("threads", "maps.thread()", [[p["pid"], t["tid"]] for p in ps for t in p["threads"]]),
    ]
    write(os.path.join(HERE, f"{name}.memprocfs.tsv"), blocks)

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for option in ("--vol", "--python", "--isf"):
        p.add_argument(option, required=True)
    p.add_argument("samples")
    p.add_argument("names", nargs="*")
    a = p.parse_args()
    for name in a.names or sorted(os.listdir(a.samples)):
        dump = next((d for d in ("full.dmp", "bitmap.dmp", "raw.dd") if os.path.exists(os.path.join(a.samples, name, d))), None)
        if dump:
            print(name, file=sys.stderr)
            volatility(a, name, os.path.join(a.samples, name, dump))
            memprocfs(a, name, os.path.join(a.samples, name, dump))

if __name__ == "__main__":
    main()

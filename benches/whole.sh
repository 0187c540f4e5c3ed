#!/bin/bash
# Whole runs on large forged dumps, by one command; needs a Rust toolchain and Python, and about 4 GB of disk.
#
#   benches/whole.sh [FOLDER]              the tables of benches/README.md; FOLDER (default /tmp/dumpwalk-large) keeps the dumps
#   VENV=DIR benches/whole.sh              … with Volatility 3 and MemProcFS, from a virtual environment that has both
#   VMI=BIN VMI_FOLDER=DIR benches/whole.sh  … with the `windows-dump` example of the Rust crate vmi, run in DIR, where its own
#       cache/windows/ntkrnlmp.pdb/<guid><age>/ntkrnlmp.pdb is: it asks for types and names that the PDBs of symbols/ leave out
#   PARTS="whole scan curve memory rows pdb"   only these parts (pdb needs clang and lld)
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:-/tmp/dumpwalk-large}
parts=${PARTS:-whole scan curve memory rows pdb}
cargo build -q --release -p dumpwalk -p forge -p dumpwalk-benches
bin=${CARGO_TARGET_DIR:-target}/release
store=symbols
mkdir -p "$folder"
export XDG_CACHE_HOME=$folder/cache

# forge NAME KEY=NUMBER...: a dump of its own folder, made once.
forge() {
    local name=$1; shift
    [ -f "$folder/$name/large.json" ] || "$bin/forge" large "$folder/$name" "$@" >&2
}
whole() { python3 benches/whole.py --dumpwalk "$bin/dumpwalk" --symbols "$store" "$@"; }

echo "## Machine"
echo
echo "$(nproc) threads, $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), $(awk '/MemTotal/ {printf "%.0f", $2/1048576}' /proc/meminfo) GiB, $(uname -sr), load $(cut -d' ' -f1-3 /proc/loadavg)"

if [[ $parts == *whole* ]]; then
    forge whole gib=8
    others=()
    if [ -n "${VENV:-}" ]; then
        if [ ! -d "$folder/isf" ]; then # Volatility's own converter, and the name it leaves out
            pdb=$(ls "$store"/ntkrnlmp.pdb/89284D0CA6ACC8274B9A44BD5AF9290B1/ntkrnlmp.pdb)
            "$VENV/bin/python" -m volatility3.framework.symbols.windows.pdbconv -f "$pdb" -o "$folder/x.json.xz" > /dev/null
            python3 - "$folder/x.json.xz" "$folder/isf/windows/ntkrnlmp.pdb" <<'P'
import json, lzma, os, sys
isf = json.load(lzma.open(sys.argv[1]))
pdb = isf["metadata"]["windows"]["pdb"]
pdb["database"] = "ntkrnlmp.pdb"
os.makedirs(sys.argv[2], exist_ok=True)
json.dump(isf, lzma.open(os.path.join(sys.argv[2], f"{pdb['GUID']}-{pdb['age']}.json.xz"), "wt"))
P
        fi
        others+=(--vol "$VENV/bin/vol" --isf "$folder/isf" --memprocfs "$VENV" --limit "${LIMIT:-3600}")
    fi
    [ -n "${VMI:-}" ] && others+=(--vmi "$(realpath "$VMI")" --vmi-folder "${VMI_FOLDER:-.}")
    echo; echo "## Whole runs: $(cat "$folder/whole/large.json")"; echo
    whole "$folder/whole/large.dmp" "${others[@]}"
fi
if [[ $parts == *scan* ]]; then
    forge whole gib=8
    echo; echo "## The scan against a plain read pass of the same file"; echo
    "$bin/readpass" "$folder/whole/large.dmp" 5
fi
if [[ $parts == *curve* ]]; then
    echo; echo "## By gigabytes, the same objects in them"
    for gib in 1 2 4 8 16; do
        forge "gib$gib" gib=$gib processes=100 threads=1200 handles=20000 vads=10000 modules=3000 filled=5
        echo; echo "$gib GiB"; echo
        whole "$folder/gib$gib/large.dmp" --rounds 3 --only info,pslist,handles,vadinfo,psscan,filescan
    done
fi
if [[ $parts == *rows* ]]; then
    echo; echo "## By rows, in 4 GiB"
    for n in 100 200 400 800; do
        forge "rows$n" gib=4 processes=$n threads=$((n * 10)) handles=$((n * 375)) vads=$((n * 150)) modules=$((n * 60)) filled=0
        echo; echo "$(cat "$folder/rows$n/large.json")"; echo
        whole "$folder/rows$n/large.dmp" --rounds 3 --only pslist,handles,vadinfo,threads,dlllist
    done
fi
if [[ $parts == *memory* ]]; then
    forge gib64 gib=64 filled=0
    echo; echo "## 64 GiB"; echo
    whole "$folder/gib64/large.dmp" --rounds 1
fi
if [[ $parts == *pdb* ]]; then
    echo; echo "## The first use of a kernel PDB, and the next"; echo
    big=$("$bin/forge" pdb x64-10.0.19045.2965 "$folder/big" 150000)
    echo "$(stat -c %s "$big") bytes"; echo
    for round in 1 2 3; do
        for use in first next; do
            [ $use = first ] && rm -rf "$folder/cold"
            start=$(date +%s%N)
            XDG_CACHE_HOME=$folder/cold "$bin/dumpwalk" info testdata/win10-22h2/full.dmp --offline --symbols "$folder/big" > /dev/null 2>&1
            echo "$use: $((($(date +%s%N) - start) / 1000000)) ms"
        done
    done
fi

//! What the generators planted and what the program says, both as plain facts: comparisons for several test programs.
#![allow(dead_code, reason = "each test program uses a part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use crate::program::number;
use serde_json::Value;
use std::collections::BTreeSet;

/// Addresses are compared without their sign extension.
pub const M48: u64 = (1 << 48) - 1;

pub type Facts = BTreeSet<String>;

pub fn text(v: &Value) -> String {
    v.as_str().map_or_else(|| "null".into(), str::to_owned)
}
pub fn address(v: &Value) -> String {
    number(v).map_or_else(|| "null".into(), |n| format!("{:#x}", n & M48))
}
pub fn plain(v: &Value) -> String {
    number(v).map_or_else(|| "null".into(), |n| n.to_string())
}
/// The truth's time stamps are ticks; 0 and null are none.
pub fn time(v: &Value) -> String {
    match number(v) {
        None | Some(0) => "null".into(),
        Some(ticks) => dumpwalk::time::FileTime(ticks).to_string(),
    }
}
pub fn fact(parts: &[String]) -> String {
    parts.join(" | ")
}
pub fn list<'v>(v: &'v Value, key: &str) -> impl Iterator<Item = &'v Value> {
    v[key].as_array().into_iter().flatten()
}
/// The truth's processes that are on the active list.
pub fn linked(truth: &Value) -> impl Iterator<Item = &Value> {
    list(truth, "processes").filter(|p| p["linked"] == true)
}
/// Every item of a list of every listed process.
pub fn each(truth: &Value, key: &str, make: impl Fn(&Value, &Value) -> String) -> Facts {
    linked(truth).flat_map(|p| list(p, key).map(|item| make(p, item)).collect::<Vec<_>>()).collect()
}

/// One comparison: what to make of a row, what to make of the truth.
pub struct Comparison {
    /// Whose rows.
    pub analysis: &'static str,
    /// Whether it needs pages of processes' user halves.
    pub user: bool,
    /// What a row says.
    pub of_row: fn(&Value) -> Option<String>,
    /// What all its rows should say.
    pub of_truth: fn(&Value) -> Facts,
}

pub fn short_name(v: &Value) -> String {
    // `_EPROCESS.ImageFileName` holds 15 bytes, the last of them a terminator.
    let name = text(v);
    if name.len() > 15 { name.chars().take(14).collect() } else { name }
}
/// The other generator writes a mnemonic, our forge the five bits of `_MMVAD_FLAGS.Protection`.
pub fn protection(p: &Value) -> &'static str {
    match p.as_str().unwrap_or(match p.as_u64() {
        Some(0 | 0x18) => "NOACCESS",
        Some(1) => "R",
        Some(2) => "X",
        Some(3) => "RX",
        Some(4) => "RW",
        Some(5) => "WC",
        Some(6) => "RWX",
        Some(7) => "XWC",
        _ => "?",
    }) {
        "R" => "PAGE_READONLY",
        "X" => "PAGE_EXECUTE",
        "RX" => "PAGE_EXECUTE_READ",
        "RW" => "PAGE_READWRITE",
        "WC" => "PAGE_WRITECOPY",
        "RWX" => "PAGE_EXECUTE_READWRITE",
        "XWC" => "PAGE_EXECUTE_WRITECOPY",
        "NOACCESS" => "PAGE_NOACCESS",
        other => panic!("the truth has an unknown protection {other}"),
    }
}

/// The other generator lists the loader lists by name, our forge says yes or no for each.
pub fn in_load_order(m: &Value) -> bool {
    match &m["lists"] {
        Value::Array(lists) => lists.iter().any(|l| l == "load"),
        Value::Object(lists) => lists.get("load") == Some(&Value::Bool(true)),
        _ => true,
    }
}
/// The other generator writes an object, our forge pairs in order.
pub fn environment(p: &Value) -> Vec<(String, String)> {
    match &p["env"] {
        Value::Object(all) => all.iter().map(|(k, v)| (k.clone(), text(v))).collect(),
        Value::Array(all) => all.iter().map(|kv| (text(&kv[0]), text(&kv[1]))).collect(),
        _ => Vec::new(),
    }
}

/// Numbers of pages of a row or of the truth, where the database of page frames was there to count by. A process that maps nothing
/// has nothing to count, with or without it.
fn pages_of(v: &Value, columns: &[&str]) -> Option<String> {
    let any = number(&v["shared"]).zip(number(&v["unshared"])).is_some_and(|(a, b)| a + b > 0);
    any.then(|| fact(&[plain(&v["pid"]), columns.iter().map(|c| plain(&v[*c])).collect::<Vec<_>>().join("/")]))
}
fn working_sets(truth: &Value, columns: &[&str]) -> Facts {
    let of_listed = |w: &&Value| linked(truth).any(|p| p["dtb"] == w["dtb"]);
    list(truth, "working_sets").filter(of_listed).filter_map(|w| pages_of(w, columns)).collect()
}

pub const COMPARISONS: &[Comparison] = &[
    Comparison {
        analysis: "pslist",
        user: false,
        of_row: |r| {
            Some(fact(&[
                plain(&r["pid"]),
                plain(&r["ppid"]),
                text(&r["name"]),
                text(&r["create_time"]),
                text(&r["exit_time"]),
                address(&r["offset"]),
                address(&r["dtb"]),
            ]))
        },
        of_truth: |t| {
            linked(t)
                .map(|p| {
                    fact(&[
                        plain(&p["pid"]),
                        plain(&p["ppid"]),
                        short_name(&p["name"]),
                        time(&p["create"]),
                        time(&p["exit"]),
                        address(&p["eprocess"]),
                        address(&p["dtb"]),
                    ])
                })
                .collect()
        },
    },
    Comparison {
        analysis: "modules",
        user: false,
        of_row: |r| Some(fact(&[address(&r["base"]), plain(&r["size"]), text(&r["name"]), text(&r["path"])])),
        of_truth: |t| {
            list(t, "modules")
                .map(|m| fact(&[address(&m["base"]), plain(&m["size"]), text(&m["name"]), text(&m["path"])]))
                .collect()
        },
    },
    Comparison {
        analysis: "threads",
        user: false,
        of_row: |r| {
            Some(fact(&[
                plain(&r["pid"]),
                plain(&r["tid"]),
                address(&r["start_address"]),
                address(&r["win32_start_address"]),
                plain_or_zero(&r["teb"]),
            ]))
        },
        of_truth: |t| {
            linked(t)
                .flat_map(|p| list(p, "threads").map(move |h| (p, h)))
                .filter(|(_, h)| h["hidden"] != true)
                .map(|(p, h)| {
                    fact(&[
                        plain(&p["pid"]),
                        plain(&h["tid"]),
                        address(&h["start"]),
                        address(&h["win32start"]),
                        plain_or_zero(&h["teb"]),
                    ])
                })
                .collect()
        },
    },
    Comparison {
        analysis: "handles",
        user: false,
        of_row: |r| {
            Some(fact(&[
                plain(&r["pid"]),
                plain(&r["handle"]),
                text(&r["type"]),
                address(&r["object"]),
                plain(&r["granted_access"]),
            ]))
        },
        of_truth: |t| {
            each(t, "handles", |p, h| {
                fact(&[plain(&p["pid"]), plain(&h["value"]), text(&h["type"]), address(&h["obj"]), plain(&h["access"])])
            })
        },
    },
    Comparison {
        analysis: "vadinfo",
        user: false,
        of_row: |r| {
            Some(fact(&[
                plain(&r["pid"]),
                plain(&r["start"]),
                plain(&r["end"]),
                text(&r["protection"]),
                text(&r["file"]),
            ]))
        },
        of_truth: |t| {
            each(t, "vads", |p, v| {
                fact(&[
                    plain(&p["pid"]),
                    plain(&v["start"]),
                    plain(&v["end"]),
                    protection(&v["protection"]).into(),
                    text(&v["file"]),
                ])
            })
        },
    },
    Comparison {
        analysis: "getsids",
        user: false,
        of_row: |r| Some(fact(&[plain(&r["pid"]), text(&r["sid"])])),
        of_truth: |t| {
            let lists = ["sids", "restricted", "capabilities"];
            let all = |p: &Value| -> Vec<Value> {
                let token = &p["token"];
                let package = token["package"].as_str().map(Value::from);
                lists.iter().flat_map(|l| list(token, l).cloned().collect::<Vec<_>>()).chain(package).collect()
            };
            linked(t).flat_map(|p| all(p).into_iter().map(move |s| fact(&[plain(&p["pid"]), text(&s)]))).collect()
        },
    },
    Comparison {
        analysis: "privileges",
        user: false,
        of_row: |r| {
            (r["present"] == true).then(|| fact(&[plain(&r["pid"]), plain(&r["value"]), r["enabled"].to_string()]))
        },
        of_truth: |t| {
            let mut all = Facts::new();
            for p in linked(t) {
                let (present, enabled) = (number(&p["token"]["present"]), number(&p["token"]["enabled"]));
                for bit in 0..64 {
                    if present.is_some_and(|m| m >> bit & 1 == 1) {
                        let on = enabled.is_some_and(|m| m >> bit & 1 == 1);
                        all.insert(fact(&[plain(&p["pid"]), bit.to_string(), on.to_string()]));
                    }
                }
            }
            all
        },
    },
    Comparison {
        analysis: "dlllist",
        user: true,
        of_row: |r| {
            (r["in_load"] == true)
                .then(|| fact(&[plain(&r["pid"]), plain(&r["base"]), plain(&r["size"]), text(&r["path"])]))
        },
        of_truth: |t| {
            linked(t)
                .flat_map(|p| list(p, "modules").chain(list(p, "modules32")).map(move |m| (p, m)))
                .filter(|(_, m)| in_load_order(m))
                .map(|(p, m)| fact(&[plain(&p["pid"]), plain(&m["base"]), plain(&m["size"]), text(&m["path"])]))
                .collect()
        },
    },
    Comparison {
        analysis: "cmdline",
        user: true,
        of_row: |r| r["command_line"].as_str().filter(|c| !c.is_empty()).map(|c| fact(&[plain(&r["pid"]), c.into()])),
        of_truth: |t| {
            linked(t)
                .filter_map(|p| {
                    Some(fact(&[plain(&p["pid"]), p["cmdline"].as_str().filter(|c| !c.is_empty())?.into()]))
                })
                .collect()
        },
    },
    Comparison {
        analysis: "envars",
        user: true,
        of_row: |r| Some(fact(&[plain(&r["pid"]), text(&r["variable"]), text(&r["value"])])),
        of_truth: |t| {
            linked(t)
                .flat_map(|p| environment(p).into_iter().map(move |(k, v)| fact(&[plain(&p["pid"]), k, v])))
                .collect()
        },
    },
];

pub fn plain_or_zero(v: &Value) -> String {
    number(v).unwrap_or(0).to_string()
}

/// What only our own forge writes into its truth.
pub const OWN: &[Comparison] = &[
    Comparison {
        analysis: "pslist",
        user: false,
        of_row: |r| {
            Some(fact(&[
                plain(&r["pid"]),
                address(&r["offset"]),
                plain(&r["session"]),
                r["wow64"].to_string(),
                if r["exit_time"].is_null() { "runs".into() } else { plain(&r["exit_status"]) },
            ]))
        },
        of_truth: |t| {
            linked(t)
                .map(|p| {
                    let ended = number(&p["exit"]).is_some_and(|e| e != 0);
                    fact(&[
                        plain(&p["pid"]),
                        address(&p["eprocess"]),
                        plain(&p["session"]),
                        p["wow64"].to_string(),
                        if ended { plain(&p["exit_status"]) } else { "runs".into() },
                    ])
                })
                .collect()
        },
    },
    Comparison {
        analysis: "threads",
        user: false,
        of_row: |r| {
            Some(fact(&[
                plain(&r["pid"]),
                plain(&r["tid"]),
                address(&r["offset"]),
                text(&r["state"]),
                text(&r["create_time"]),
                text(&r["exit_time"]),
                text(&r["thread_name"]),
                address(&r["kernel_stack_base"]),
                address(&r["kernel_stack_limit"]),
            ]))
        },
        of_truth: |t| {
            each(t, "threads", |p, h| {
                fact(&[
                    plain(&p["pid"]),
                    plain(&h["tid"]),
                    address(&h["et"]),
                    // `_KTHREAD_STATE` of every layout table.
                    STATES[number(&h["state"]).unwrap() as usize].into(),
                    time(&h["create"]),
                    time(&h["exit"]),
                    text(&h["name"]),
                    address(&h["stack_base"]),
                    address(&h["stack_limit"]),
                ])
            })
        },
    },
    Comparison {
        analysis: "threads",
        user: true,
        of_row: |r| Some(fact(&[plain(&r["pid"]), plain(&r["tid"]), plain_or_zero(&r["wow64_teb"])])),
        of_truth: |t| {
            each(t, "threads", |p, h| fact(&[plain(&p["pid"]), plain(&h["tid"]), plain_or_zero(&h["teb32"])]))
        },
    },
    Comparison {
        analysis: "handles",
        user: false,
        of_row: |r| {
            let attributes: Vec<String> = list(r, "attributes").map(text).collect();
            Some(fact(&[plain(&r["pid"]), plain(&r["handle"]), attributes.join("+")]))
        },
        of_truth: |t| {
            each(t, "handles", |p, h| {
                let bits = number(&h["attributes"]).unwrap();
                // OBJ_PROTECT_CLOSE, OBJ_INHERIT and the audit bit of a handle table's entry.
                let names = [(1, "protect_from_close"), (2, "inherit"), (4, "audit")];
                let names: Vec<&str> = names.iter().filter(|(b, _)| bits & b != 0).map(|(_, n)| *n).collect();
                fact(&[plain(&p["pid"]), plain(&h["value"]), names.join("+")])
            })
        },
    },
    Comparison {
        analysis: "vadinfo",
        user: false,
        of_row: |r| {
            let tag = text(&r["tag"]);
            Some(fact(&[
                plain(&r["pid"]),
                plain(&r["start"]),
                address(&r["node"]),
                text(&r["type"]),
                tag.trim_end().into(),
                plain(&r["commit"]),
                text(&r["section_name"]),
            ]))
        },
        of_truth: |t| {
            each(t, "vads", |p, v| {
                fact(&[
                    plain(&p["pid"]),
                    plain(&v["start"]),
                    address(&v["va"]),
                    text(&v["kind"]).replace('-', "_"),
                    text(&v["tag"]).trim_end().into(),
                    plain(&v["commit"]),
                    text(&v["section"]),
                ])
            })
        },
    },
    Comparison {
        analysis: "tokens",
        user: false,
        of_row: |r| {
            r["tid"].is_null().then(|| {
                fact(&[
                    plain(&r["pid"]),
                    address(&r["token"]),
                    text(&r["user"]),
                    plain(&r["integrity_level"]),
                    plain(&r["session"]),
                    plain(&r["logon_id"]),
                    text(&r["app_container"]),
                ])
            })
        },
        of_truth: |t| {
            linked(t)
                .map(|p| {
                    let token = &p["token"];
                    fact(&[
                        plain(&p["pid"]),
                        address(&token["token"]),
                        text(&token["sids"][0]),
                        plain(&token["integrity"]),
                        plain(&token["session"]),
                        plain(&token["luid"]),
                        text(&token["package"]),
                    ])
                })
                .collect()
        },
    },
    Comparison {
        analysis: "getsids",
        user: false,
        of_row: |r| {
            matches!(r["kind"].as_str(), Some("user" | "group"))
                .then(|| fact(&[plain(&r["pid"]), text(&r["sid"]), plain(&r["attributes_value"])]))
        },
        of_truth: |t| {
            linked(t)
                .flat_map(|p| {
                    let token = &p["token"];
                    let both = list(token, "sids").zip(list(token, "attrs"));
                    both.map(move |(s, a)| fact(&[plain(&p["pid"]), text(s), plain(a)]))
                })
                .collect()
        },
    },
    Comparison {
        analysis: "dlllist",
        user: true,
        of_row: |r| {
            let listed = [&r["in_load"], &r["in_mem"], &r["in_init"]];
            listed.iter().any(|l| **l == true).then(|| {
                fact(&[
                    plain(&r["pid"]),
                    plain(&r["base"]),
                    r["wow64"].to_string(),
                    listed.map(Value::to_string).join("/"),
                    text(&r["load_time"]),
                ])
            })
        },
        of_truth: |t| {
            // Loaders before Windows 7 keep no load times.
            let timed = number(&t["build"]) >= Some(7600);
            let side = |p: &Value, key: &str, wow64: bool| -> Vec<String> {
                list(p, key)
                    .map(|m| {
                        let l = &m["lists"];
                        fact(&[
                            plain(&p["pid"]),
                            plain(&m["base"]),
                            wow64.to_string(),
                            [&l["load"], &l["mem"], &l["init"]].map(Value::to_string).join("/"),
                            if timed { time(&m["load_time"]) } else { "null".into() },
                        ])
                    })
                    .collect()
            };
            linked(t).flat_map(|p| [side(p, "modules", false), side(p, "modules32", true)].concat()).collect()
        },
    },
    Comparison {
        analysis: "getsids",
        user: false,
        of_row: |r| {
            let folder = r["sid_name"].as_str()?.strip_suffix(" (by the profile's folder)")?;
            Some(fact(&[plain(&r["pid"]), text(&r["sid"]), folder.into()]))
        },
        of_truth: |t| {
            let folders: std::collections::BTreeMap<String, String> = list(t, "profiles")
                .map(|p| (text(&p["sid"]), text(&p["folder"]).rsplit('\\').next().unwrap().to_owned()))
                .collect();
            let of = |p: &Value| -> Vec<String> {
                list(&p["token"], "restricted")
                    .filter_map(|sid| Some(fact(&[plain(&p["pid"]), text(sid), folders.get(&text(sid))?.clone()])))
                    .collect()
            };
            linked(t).flat_map(of).collect()
        },
    },
    Comparison {
        analysis: "unloadeddlls",
        user: true,
        of_row: |r| {
            Some(fact(&[
                plain(&r["pid"]),
                plain(&r["sequence"]),
                plain(&r["base"]),
                plain(&r["size"]),
                text(&r["module_name"]),
                plain(&r["timestamp"]),
                r["wow64"].to_string(),
            ]))
        },
        of_truth: |t| {
            each(t, "unloaded", |p, d| {
                fact(&[
                    plain(&p["pid"]),
                    plain(&d["sequence"]),
                    plain(&d["base"]),
                    plain(&d["size"]),
                    text(&d["name"]),
                    plain(&d["timestamp"]),
                    d["wow64"].to_string(),
                ])
            })
        },
    },
    Comparison {
        analysis: "stacks",
        user: true,
        of_row: |r| {
            (r["side"] == "user" && !r["guard"].is_null()).then(|| {
                fact(&[
                    plain(&r["pid"]),
                    plain(&r["tid"]),
                    plain(&r["base"]),
                    plain(&r["limit"]),
                    plain(&r["guard"]),
                    plain(&r["reserved_limit"]),
                    [&r["in_vad"], &r["pointer_inside"]].map(Value::to_string).join("/"),
                ])
            })
        },
        of_truth: |t| {
            let guarded = |p: &Value, h: &Value| -> Option<String> {
                let s = h.get("user_stack")?;
                let bounds = ["base", "limit", "guard", "reserved"].map(|k| plain(&s[k]));
                Some(fact(
                    &[vec![plain(&p["pid"]), plain(&h["tid"])], bounds.into(), vec!["true/true".into()]].concat(),
                ))
            };
            linked(t).flat_map(|p| list(p, "threads").filter_map(|h| guarded(p, h)).collect::<Vec<_>>()).collect()
        },
    },
    Comparison {
        analysis: "stacks",
        user: false,
        of_row: |r| {
            (r["side"] == "kernel").then(|| {
                fact(&[
                    plain(&r["pid"]),
                    plain(&r["tid"]),
                    address(&r["base"]),
                    address(&r["limit"]),
                    address(&r["pointer"]),
                    r["pointer_inside"].to_string(),
                ])
            })
        },
        of_truth: |t| {
            each(t, "threads", |p, h| {
                fact(&[
                    plain(&p["pid"]),
                    plain(&h["tid"]),
                    address(&h["stack_base"]),
                    address(&h["stack_limit"]),
                    address(&h["kernel_stack"]),
                    "true".into(),
                ])
            })
        },
    },
    // What the database of page frames says of the pages that the processor maps. It is kernel memory: a dump without the pages
    // themselves tells it too.
    Comparison {
        analysis: "workingset",
        user: false,
        of_row: |r| pages_of(r, &["shared", "unshared", "locked"]),
        of_truth: |t| working_sets(t, &["shared", "unshared", "locked"]),
    },
    Comparison {
        analysis: "workingset",
        user: true,
        of_row: |r| pages_of(r, &["shared", "valid"]),
        of_truth: |t| working_sets(t, &["shared", "valid"]),
    },
    Comparison {
        analysis: "heaps",
        user: true,
        of_row: |r| {
            Some(fact(&[
                plain(&r["pid"]),
                plain(&r["base"]),
                text(&r["kind"]),
                plain(&r["flags_value"]),
                plain(&r["reserved"]),
                plain(&r["committed"]),
                r["wow64"].to_string(),
            ]))
        },
        of_truth: |t| {
            let of = |key: &str, wow64: bool| {
                each(t, key, |p, h| {
                    fact(&[
                        plain(&p["pid"]),
                        plain(&h["base"]),
                        text(&h["kind"]),
                        plain(&h["flags"]),
                        plain(&h["reserved"]),
                        plain(&h["committed"]),
                        wow64.to_string(),
                    ])
                })
            };
            of("heaps", false).into_iter().chain(of("heaps32", true)).collect()
        },
    },
];

/// `_KTHREAD_STATE`, in order.
pub const STATES: [&str; 8] =
    ["Initialized", "Ready", "Running", "Standby", "Terminated", "Waiting", "Transition", "DeferredReady"];

/// Whether a fact says what another says, or nothing, value by value. (Where zero stands for none, an absent value is one.)
pub fn says_less(got: &str, want: &str) -> bool {
    let (got, want): (Vec<_>, Vec<_>) = (got.split(" | ").collect(), want.split(" | ").collect());
    got.len() == want.len() && got.iter().zip(&want).all(|(g, w)| g == w || matches!(*g, "null" | "0"))
}

//! The rules: one file each, or one for rules that look at the same thing; and their register.

mod contradiction;
mod debug_port;
mod deleted_image;
mod direct_syscall;
mod drivers;
mod ended_process;
mod handles;
mod hidden_process;
mod injected_code;
mod kernel_tables;
mod masquerade;
mod misspelt_name;
mod patched_image;
mod phantom_module;
mod protection;
mod replaced_image;
mod suspended_thread;
mod thread_outside;
mod tokens;
mod unlisted_module;
mod wiped_tag;
mod wrong_parent;
mod wrong_place;

use super::Rule;

pub use injected_code::RULE as INJECTED_CODE;

/// Every rule, by name.
pub static RULES: &[&Rule] = &[
    &kernel_tables::CALLBACKS,
    &contradiction::RULE,
    &debug_port::RULE,
    &deleted_image::RULE,
    &direct_syscall::RULE,
    &drivers::DISPATCH,
    &drivers::PLACE,
    &ended_process::RULE,
    &handles::FOREIGN,
    &hidden_process::RULE,
    &tokens::PRIVILEGE,
    &injected_code::RULE,
    &tokens::INTEGRITY,
    &handles::LSASS,
    &masquerade::RULE,
    &misspelt_name::RULE,
    &patched_image::RULE,
    &phantom_module::RULE,
    &protection::ADDED,
    &protection::REMOVED,
    &replaced_image::RULE,
    &kernel_tables::SERVICES,
    &tokens::SHARED,
    &suspended_thread::RULE,
    &tokens::SYSTEM,
    &thread_outside::RULE,
    &drivers::UNLISTED,
    &unlisted_module::RULE,
    &drivers::UNLOADED,
    &wiped_tag::RULE,
    &wrong_parent::RULE,
    &wrong_place::RULE,
];

#[cfg(test)]
mod tests {
    use super::RULES;

    #[test]
    fn every_rule_says_what_it_means() {
        let names: Vec<&str> = RULES.iter().map(|r| r.name).collect();
        let mut sorted = names.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(names, sorted, "by name, each once");
        for rule in RULES {
            assert!(rule.technique.starts_with('T'), "{}", rule.name);
            for text in [rule.about, rule.means, rule.fooled, rule.verify] {
                assert!(text.len() > 20, "{}", rule.name);
            }
            assert!(!rule.about.ends_with('.'), "{}", rule.name);
        }
    }
}

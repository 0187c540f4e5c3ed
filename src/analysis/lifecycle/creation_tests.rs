use super::*;

fn identity(user: &str, logon: u64) -> Identity {
    Identity {
        user: user.into(),
        logon,
        buddy: None,
        modified: Some(7),
        source: None,
        integrity: Some(0x2000),
        package: false,
        restricted: false,
        may_assign: false,
        may_impersonate: false,
    }
}
fn of(own: Identity, parent: Identity) -> Origin {
    Origin {
        sort: Sort::User,
        pid: Some(100),
        ppid: Some(40),
        state: Parent::Found(0),
        parent_name: Some("explorer.exe".into()),
        own: Some(own),
        parent: Some(parent),
        same_token: Vec::new(),
        more_with_token: 0,
        oldest: true,
        same_job: None,
        owner: None,
        owner_is_host: false,
        console_host: None,
        full_holders: Vec::new(),
    }
}
fn says(o: &Origin) -> (String, Confidence) {
    let first = origin(o).swap_remove(0);
    assert!(!first.evidence.is_empty());
    (first.says, first.confidence)
}

#[test]
fn a_child_with_its_parents_token() {
    let o = of(identity("alice", 1), identity("alice", 1));
    assert_eq!(says(&o), ("CreateProcess by its parent, whose token it inherited".into(), Confidence::Likely));
    assert_eq!(origin(&o)[0].actor, Some((40, Some("explorer.exe".into()))));
    assert!(origin(&o)[0].evidence.iter().any(|e| e.contains("unchanged copy")));
    let changed = Identity { modified: Some(9), ..identity("alice", 1) };
    let o = of(changed, identity("alice", 1));
    assert!(!origin(&o)[0].evidence.iter().any(|e| e.contains("unchanged copy")));
}
#[test]
fn a_sandboxed_child() {
    let low = Identity { integrity: Some(0x1000), ..identity("alice", 1) };
    assert!(says(&of(low, identity("alice", 1))).0.contains("reduced token"));
    let restricted = Identity { restricted: true, ..identity("alice", 1) };
    assert!(says(&of(restricted, identity("alice", 1))).0.contains("restricted token"));
    let package = Identity { package: true, integrity: Some(0x1000), ..identity("alice", 1) };
    assert!(says(&of(package.clone(), identity("alice", 1))).0.contains("app container"));
    // A child of a sandboxed process is an ordinary child of it.
    assert!(says(&of(package.clone(), package)).0.starts_with("CreateProcess by its parent, whose token"));
}
#[test]
fn a_split_logon_is_user_account_control() {
    let parent = Identity { buddy: Some(2), ..identity("alice", 1) };
    let own = Identity { buddy: Some(1), integrity: Some(0x3000), ..identity("alice", 2) };
    assert!(says(&of(own.clone(), parent.clone())).0.contains("User Account Control"));
    assert!(says(&of(parent, own)).0.contains("limited half"));
}
#[test]
fn anothers_token_needs_a_privilege_or_a_service() {
    let service = Identity { may_assign: true, ..identity("system", 0x3e7) };
    assert!(says(&of(identity("alice", 1), service)).0.starts_with("CreateProcessAsUser"));
    let runas = Identity { source: Some("seclogo".into()), ..identity("bob", 9) };
    let (text, confidence) = says(&of(runas, identity("alice", 1)));
    assert!(text.contains("runas") && confidence == Confidence::Likely);
    let network = Identity { may_impersonate: true, ..identity("network", 0x3e4) };
    let (text, confidence) = says(&of(identity("bob", 9), network));
    assert!(text.starts_with("CreateProcessWithTokenW") && confidence == Confidence::Possible);
    let (text, confidence) = says(&of(identity("bob", 9), identity("alice", 1)));
    assert!(text.contains("changed since") && confidence == Confidence::Possible);
}
#[test]
fn no_parent_no_conclusion() {
    for state in [Parent::Gone, Parent::Younger, Parent::Ended, Parent::Unknown] {
        let o = Origin { state, ..of(identity("alice", 1), identity("alice", 1)) };
        assert_eq!(says(&o).1, Confidence::CannotTell);
    }
}
#[test]
fn one_token_in_two_processes_was_put_there() {
    let o = of(identity("system", 0x3e7), identity("alice", 1));
    assert_eq!(replaced(&o), None);
    let thief = Origin { same_token: vec![(4, Some("System".into()))], oldest: false, ..o.clone() };
    let found = replaced(&thief).unwrap();
    assert!(found.says.contains("replaced") && found.actor == Some((4, Some("System".into()))));
    assert!(says(&thief).0.contains("cannot be told"));
    let victim = Origin { same_token: vec![(100, Some("shell.exe".into()))], oldest: true, ..o };
    assert!(replaced(&victim).unwrap().says.contains("put into another"));
    assert_eq!(replaced(&victim).unwrap().actor, None);
}
#[test]
fn a_stranger_with_full_access_is_told_and_the_parent_and_csrss_are_not() {
    let mut o = of(identity("alice", 1), identity("alice", 1));
    o.full_holders = vec![(500, Some("csrss.exe".into()), 4), (4, Some("System".into()), 8)];
    assert_eq!(origin(&o).len(), 1);
    o.full_holders.push((666, Some("evil.exe".into()), 12));
    let found = origin(&o);
    assert_eq!(found[1].actor, Some((666, Some("evil.exe".into()))));
    assert_eq!(found[1].confidence, Confidence::Possible);
    o.full_holders.push((40, Some("explorer.exe".into()), 16));
    assert_eq!(origin(&o).len(), 1);
    assert!(is_full(0x1f_ffff) && is_full(0x1f_0fff) && !is_full(0x1410));
}
#[test]
fn its_owner_is_a_console_host_or_another_creator() {
    let mut o = of(identity("alice", 1), identity("alice", 1));
    o.owner = Some((40, Some("explorer.exe".into())));
    assert_eq!(origin(&o).len(), 1);
    o.owner = Some((48, Some("other.exe".into())));
    assert_eq!(origin(&o)[1].confidence, Confidence::Possible);
    o.owner_is_host = true;
    assert!(origin(&o)[1].says.contains("console"));
}
